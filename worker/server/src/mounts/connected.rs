//! A mount whose under-store can be asked. Its connection is made anew when a value that a reference names has changed;
//! the mount and its counters stay.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use forebay_proto::v1;
use forebay_types::{Admission, MountId};
use forebay_under_store::{UnderStore, UnderStoreCounts, UnderStoreStatistics};
use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::Broken;
use super::origin::{Origin, Values};
use crate::disk::DiskPool;
use crate::error::ReadError;
use crate::limits::REFERENCES_PATIENCE;

/// A mount with its connection and counters.
pub(crate) struct ConnectedMount {
    pub(crate) id: MountId,
    /// The URI.
    pub(crate) uri: String,
    /// The same as the store's identities have it: with the server, where the URI does not name it. Two servers may have
    /// buckets of one name.
    pub(crate) place: String,
    origin: Origin,
    connection: RwLock<Connection>,
    /// Held while values are read, by the reading itself, which may hang where a file system does; with what was wrong
    /// with them the last time.
    renewing: Arc<Mutex<Option<Broken>>>,
    /// Nobody may ask the under-store; what is cached is served.
    is_in_maintenance: AtomicBool,
    /// What of it is cached.
    admission: RwLock<Arc<Admission>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Connection {
    under_store: Arc<dyn UnderStore>,
    values: Values,
    /// Of the under-store before this one, which streams that it began are counted in still.
    previous: Option<Arc<UnderStoreStatistics>>,
    /// What all those before counted.
    earlier: Asked,
}

/// What an under-store was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    requests: u64,
    read_bytes: u64,
    pub(crate) errors: u64,
    pub(crate) retries: u64,
}

impl ConnectedMount {
    /// Sets up the connection. Reads the files that references name, so it blocks. Needs a runtime.
    pub(super) fn connect(id: MountId, origin: &Origin) -> Result<Self, Broken> {
        let values = origin.values()?;
        let under_store = origin.connect(&values)?;
        Ok(Self::new(id, origin.clone(), values, under_store))
    }

    fn new(id: MountId, origin: Origin, values: Values, under_store: Arc<dyn UnderStore>) -> Self {
        let uri = under_store.uri().to_string();
        Self {
            id,
            place: origin.server(&values).map_or_else(|| uri.clone(), |server| format!("{server} {uri}")),
            uri,
            origin,
            connection: RwLock::new(Connection {
                under_store,
                values,
                previous: None,
                earlier: Asked::default(),
            }),
            renewing: Arc::default(),
            is_in_maintenance: AtomicBool::new(false),
            admission: RwLock::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// A mount of an under-store that a test made.
    #[cfg(test)]
    pub(crate) fn over(id: MountId, under_store: Arc<dyn UnderStore>) -> Self {
        let uri = under_store.uri().to_string();
        let origin = Origin { uri, options: std::collections::BTreeMap::new(), environment: Arc::default() };
        Self::new(id, origin, Values::new(), under_store)
    }

    /// Puts the mount into maintenance or ends that; whether it was in it before.
    pub(super) fn set_maintenance(&self, is_in_maintenance: bool) -> bool {
        self.is_in_maintenance.swap(is_in_maintenance, Ordering::Relaxed)
    }

    /// Says what of the mount is cached; whether that is something else than before. What is cached already stays.
    pub(super) fn set_admission(&self, admission: Admission) -> bool {
        let mut current = self.admission.write();
        let is_news = **current != admission;
        *current = Arc::new(admission);
        is_news
    }

    /// What of the mount is cached.
    pub(crate) fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.admission.read())
    }

    /// Whether the under-store may be asked. What was asked before goes on.
    ///
    /// # Errors
    /// [`ReadError::InMaintenance`].
    pub(crate) fn may_ask(&self) -> Result<(), ReadError> {
        match self.is_in_maintenance.load(Ordering::Relaxed) {
            true => Err(ReadError::InMaintenance { mount: self.id, uri: self.uri.as_str().into() }),
            false => Ok(()),
        }
    }

    /// What to ask now.
    pub(crate) fn under_store(&self) -> Arc<dyn UnderStore> {
        Arc::clone(&self.connection.read().under_store)
    }

    /// Reads the values that references name anew, unless that was done since `seen` was in use. Whether there is
    /// another under-store than `seen` now. Cancel safe.
    pub(crate) async fn renew(self: &Arc<Self>, seen: &Arc<dyn UnderStore>, disk: &DiskPool) -> bool {
        if !self.origin.has_references() {
            return false;
        }
        let renewed = async {
            let mut problem = Arc::clone(&self.renewing).lock_owned().await;
            if !Arc::ptr_eq(seen, &self.under_store()) {
                return true;
            }
            let mount = Arc::clone(self);
            // Connecting needs the runtime, which a blocking thread of it has.
            let read = disk.run(move || mount.read_anew(&mut problem));
            read.await.unwrap_or(false)
        };
        tokio::time::timeout(REFERENCES_PATIENCE, renewed).await.unwrap_or_else(|_| {
            let seconds = REFERENCES_PATIENCE.as_secs();
            tracing::warn!(mount = %self.id, seconds, "a file that an option refers to cannot be read for so long");
            false
        })
    }

    /// Connects anew if the values are others than before. What is wrong now, as in the midst of a rotation, changes
    /// nothing; it is said once.
    fn read_anew(&self, problem: &mut Option<Broken>) -> bool {
        let connected = self.origin.values().and_then(|values| {
            if self.connection.read().values == values {
                return Ok(None);
            }
            Ok(Some((self.origin.connect(&values)?, values)))
        });
        let (under_store, values) = match connected {
            Ok(Some(changed)) => changed,
            Ok(None) => {
                *problem = None;
                return false;
            }
            Err(broken) => {
                if problem.as_ref() != Some(&broken) {
                    let reason = &broken.reason;
                    tracing::warn!(mount = %self.id, %reason, "the options of a mount cannot be read anew");
                }
                *problem = Some(broken);
                return false;
            }
        };
        *problem = None;
        let mut connection = self.connection.write();
        let earlier = connection.earlier + connection.previous.as_deref().map(Asked::of).unwrap_or_default();
        let previous = Some(Arc::clone(connection.under_store.statistics()));
        *connection = Connection { under_store, values, previous, earlier };
        drop(connection);
        tracing::info!(mount = %self.id, "a mount is read with options that have changed");
        true
    }

    /// Counts served bytes.
    pub(crate) fn count(&self, hit: u64, miss: u64) {
        self.hits.fetch_add(hit, Ordering::Relaxed);
        self.misses.fetch_add(miss, Ordering::Relaxed);
    }

    /// What was asked of the under-store, by this connection and those before it.
    pub(crate) fn asked(&self) -> Asked {
        self.connection.read().asked()
    }

    /// The counters for the master.
    pub(crate) fn report(&self, cached_bytes: u64) -> v1::MountCounters {
        let asked = self.asked();
        v1::MountCounters {
            mount: self.id.get(),
            hit_bytes: self.hits.load(Ordering::Relaxed),
            miss_bytes: self.misses.load(Ordering::Relaxed),
            under_store_read_bytes: asked.read_bytes,
            under_store_requests: asked.requests,
            cached_bytes,
        }
    }
}

impl Connection {
    fn asked(&self) -> Asked {
        let previous = self.previous.as_deref().map(Asked::of).unwrap_or_default();
        self.earlier + previous + Asked::of(self.under_store.statistics())
    }
}

impl Asked {
    fn of(statistics: &UnderStoreStatistics) -> Self {
        let counts = statistics.counts();
        let requests = counts.list_requests + counts.head_requests + counts.get_requests;
        let UnderStoreCounts { read_bytes, errors, retries, .. } = counts;
        Self { requests, read_bytes, errors, retries }
    }
}

impl std::ops::Add for Asked {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            read_bytes: self.read_bytes + other.read_bytes,
            errors: self.errors + other.errors,
            retries: self.retries + other.retries,
        }
    }
}

impl fmt::Debug for ConnectedMount {
    /// Shows no options, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectedMount").field("id", &self.id).field("uri", &self.uri).finish_non_exhaustive()
    }
}
