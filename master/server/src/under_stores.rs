//! The under-stores of the mounts, connected at first use, with the credentials that only masters and workers see.

mod late_store;
mod references;
mod turns;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use forebay_metadata::{MountOptions, OptionValue};
use forebay_proto::OptionSource;
use forebay_types::{ErrorKind, MountId, NamespacePath, Timestamp, UnderStoreScheme, UnderStoreUri};
use forebay_under_store::{UnderStore, is_secret};
use futures::StreamExt;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::sealing::{SealingError, SealingKey};
use late_store::LateStore;
use references::{References, Values};
pub(crate) use turns::{TooLate, Turns};

/// The under-stores that were asked.
#[derive(Debug)]
pub(crate) struct UnderStores {
    sealing: Arc<SealingKey>,
    references: Arc<References>,
    /// Told when one of them refuses what its references lead to.
    refusals: Arc<Notify>,
    /// Where this process keeps its own files.
    own_folders: Vec<PathBuf>,
    /// Held only to look up, to insert and to replace; a store connects later, when it is asked.
    connected: Mutex<HashMap<MountId, Connection>>,
    /// How often each may be asked in a second; 0 for as often as it comes.
    requests_per_second_max: u32,
}

#[derive(Debug)]
struct Connection {
    store: Arc<LateStore>,
    turns: Arc<Turns>,
    /// Requests made by the stores that this one took the place of.
    earlier_requests: u64,
    /// `None` when the last request did not fail.
    failure: Option<Failure>,
}

/// An under-store that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// When it first did, without an answer since.
    pub(crate) since: Timestamp,
    /// Why the last request failed, as far as it is kept.
    pub(crate) reason: String,
}

/// Why an under-store cannot be asked at all.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// A sealed credential.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// A local directory in which this cluster keeps its own files.
    #[error(
        "{uri} lies in {folder}, where Forebay keeps its own files; mount another directory, or move that one with --dir"
    )]
    OwnFolder {
        /// What was to be mounted.
        uri: UnderStoreUri,
        /// The folder.
        folder: String,
    },
}

impl UnderStores {
    pub(crate) fn new(
        sealing: Arc<SealingKey>,
        environment: BTreeMap<String, String>,
        own_folders: Vec<PathBuf>,
        requests_per_second_max: u32,
    ) -> Self {
        let references = Arc::new(References::new(environment));
        Self {
            sealing,
            references,
            refusals: Arc::default(),
            own_folders,
            connected: Mutex::default(),
            requests_per_second_max: requests_per_second_max.min(limits::REQUESTS_PER_SECOND_MAX),
        }
    }

    /// The options as they are logged: secrets sealed. A plain value of a secret option counts as a secret.
    pub(crate) fn seal(
        &self,
        path: &NamespacePath,
        options: BTreeMap<String, OptionSource>,
    ) -> Result<BTreeMap<String, OptionValue>, SealingError> {
        let seal = |(name, source): (String, OptionSource)| {
            let value = match source {
                OptionSource::Reference(reference) => OptionValue::Reference(reference),
                OptionSource::Plain(value) if !is_secret(&name) => OptionValue::Plain(value),
                OptionSource::Plain(value) | OptionSource::Secret(value) => {
                    OptionValue::Sealed(self.sealing.seal(path, &value)?)
                }
            };
            Ok((name, value))
        };
        options.into_iter().map(seal).collect()
    }

    /// The options as a worker gets them: secrets opened, references left for it to follow.
    pub(crate) fn for_worker(
        &self,
        path: &NamespacePath,
        options: &MountOptions,
    ) -> Result<BTreeMap<String, OptionSource>, SealingError> {
        let open = |(name, value): (&String, &OptionValue)| {
            let source = match value {
                OptionValue::Plain(value) => OptionSource::Plain(value.clone()),
                OptionValue::Reference(reference) => OptionSource::Reference(reference.clone()),
                OptionValue::Sealed(sealed) => OptionSource::Secret(self.sealing.open(path, sealed)?),
            };
            Ok((name.clone(), source))
        };
        options.options.iter().map(open).collect()
    }

    /// The sealed ones of a mount's options, sealed for another path of it.
    pub(crate) fn reseal(
        &self,
        path: &NamespacePath,
        moved: &NamespacePath,
        options: &MountOptions,
    ) -> Result<BTreeMap<String, OptionValue>, SealingError> {
        let mut resealed = BTreeMap::new();
        for (name, value) in &options.options {
            if let OptionValue::Sealed(sealed) = value {
                let anew = self.sealing.seal(moved, &self.sealing.open(path, sealed)?)?;
                resealed.insert(name.clone(), OptionValue::Sealed(anew));
            }
        }
        Ok(resealed)
    }

    /// An under-store that belongs to no mount yet, to look whether it can be mounted. It connects when it is asked.
    pub(crate) fn try_connect(
        &self,
        path: &NamespacePath,
        uri: &UnderStoreUri,
        options: &MountOptions,
    ) -> Result<Arc<dyn UnderStore>, ConnectError> {
        Ok(Arc::new(self.late_store(path, uri, options)?))
    }

    fn late_store(
        &self,
        path: &NamespacePath,
        uri: &UnderStoreUri,
        options: &MountOptions,
    ) -> Result<LateStore, SealingError> {
        let (mut fixed, mut references) = (Values::new(), Values::new());
        for (name, value) in &options.options {
            match value {
                OptionValue::Plain(value) => fixed.insert(name.clone(), value.clone()),
                OptionValue::Sealed(sealed) => fixed.insert(name.clone(), self.sealing.open(path, sealed)?),
                OptionValue::Reference(reference) => references.insert(name.clone(), reference.clone()),
            };
        }
        let (source, refusals) = (Arc::clone(&self.references), Arc::clone(&self.refusals));
        Ok(LateStore::new(uri.clone(), (fixed, references), source, refusals))
    }

    /// Refuses the folders of this process: a cache that grows with each read of it, and the cluster's key, are nobody's
    /// data. A directory above may be mounted: it is somebody's, and the rights of the files in it hold. May be slow
    /// where the directory's server is.
    pub(crate) async fn refuse_own_folder(&self, uri: &UnderStoreUri) -> Result<(), ConnectError> {
        if uri.scheme() != UnderStoreScheme::File {
            return Ok(());
        }
        let Ok(root) = tokio::fs::canonicalize(format!("/{}", uri.path())).await else { return Ok(()) };
        for own in &self.own_folders {
            if tokio::fs::canonicalize(own).await.is_ok_and(|own| root.starts_with(own)) {
                return Err(ConnectError::OwnFolder { uri: uri.clone(), folder: own.display().to_string() });
            }
        }
        Ok(())
    }

    /// The under-store of a mount. It connects when it is asked.
    pub(crate) fn of_mount(
        &self,
        mount: MountId,
        path: &NamespacePath,
        uri: &UnderStoreUri,
        options: &MountOptions,
    ) -> Result<Arc<dyn UnderStore>, ConnectError> {
        if let Some(connection) = self.connected.lock().get(&mount) {
            return Ok(Arc::clone(&connection.store) as _);
        }
        let store = Arc::new(self.late_store(path, uri, options)?);
        // What is asked of a folder of the machine is no request to anybody.
        let per_second = match uri.scheme() {
            UnderStoreScheme::File => 0,
            _ => self.requests_per_second_max,
        };
        let turns = Arc::new(Turns::new(per_second));
        let mut connected = self.connected.lock();
        let connection =
            connected.entry(mount).or_insert(Connection { store, turns, earlier_requests: 0, failure: None });
        Ok(Arc::clone(&connection.store) as _)
    }

    /// Takes up what references lead to now, until `cancelled`: from time to time, and soon after an under-store
    /// refused what it was given.
    pub(crate) async fn keep_current(&self, cancelled: CancellationToken) {
        let mut all_at = Instant::now() + limits::REFERENCES_READ_EVERY;
        let renewing = async {
            loop {
                let only_refused = tokio::select! {
                    () = tokio::time::sleep_until(all_at) => false,
                    () = self.refusals.notified() => true,
                };
                if !only_refused {
                    all_at = Instant::now() + limits::REFERENCES_READ_EVERY;
                }
                self.renew(only_refused).await;
                tokio::time::sleep(limits::REFERENCES_READ_PAUSE).await;
            }
        };
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = renewing => {}
        }
    }

    /// Reads the references of the mounts anew, or of those alone that were refused, and connects where one leads to
    /// something else. What cannot be read changes nothing.
    async fn renew(&self, only_refused: bool) {
        let stores: Vec<_> = {
            let connected = self.connected.lock();
            let all = connected.iter().map(|(mount, connection)| (*mount, Arc::clone(&connection.store)));
            all.filter(|(_, store)| store.has_references() && (!only_refused || store.is_refused())).collect()
        };
        let renew = async |(mount, store): (MountId, Arc<LateStore>)| match tokio::time::timeout(
            limits::REFERENCES_READ_DEADLINE,
            store.renewed(),
        )
        .await
        {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(new))) => self.replace(mount, &store, new),
            Ok(Err(error)) => tracing::warn!(%mount, %error, "a mount's options cannot be read anew"),
            Err(_) => tracing::warn!(%mount, "a file that an option of a mount refers to is silent"),
        };
        futures::stream::iter(stores).for_each_concurrent(limits::REFERENCE_READS_MAX, renew).await;
    }

    fn replace(&self, mount: MountId, old: &Arc<LateStore>, new: LateStore) {
        let mut connected = self.connected.lock();
        // The mount may have gone meanwhile.
        let there = connected.get_mut(&mount).filter(|connection| Arc::ptr_eq(&connection.store, old));
        if let Some(connection) = there {
            connection.earlier_requests += requests_of(old);
            connection.store = Arc::new(new);
            drop(connected);
            tracing::info!(%mount, "connected anew, since an option refers to another value now");
        }
    }

    /// The turns of those who ask a mount's under-store; `None` before it is connected.
    pub(crate) fn turns(&self, mount: MountId) -> Option<Arc<Turns>> {
        self.connected.lock().get(&mount).map(|connection| Arc::clone(&connection.turns))
    }

    /// Remembers that a mount's under-store answered, or that nothing is known of it any more.
    pub(crate) fn note_well(&self, mount: MountId) {
        if let Some(connection) = self.connected.lock().get_mut(&mount) {
            connection.failure = None;
        }
    }

    /// Remembers why a request to a mount's under-store failed at `now`.
    pub(crate) fn note_failure(&self, mount: MountId, now: Timestamp, mut reason: String) {
        reason.truncate(reason.floor_char_boundary(limits::OUTAGE_REASON_LENGTH_MAX));
        if let Some(connection) = self.connected.lock().get_mut(&mount) {
            let since = connection.failure.as_ref().map_or(now, |before| before.since);
            connection.failure = Some(Failure { since, reason });
        }
    }

    /// Since when and why the requests to a mount's under-store fail.
    pub(crate) fn failure(&self, mount: MountId) -> Option<Failure> {
        self.connected.lock().get(&mount).and_then(|connection| connection.failure.clone())
    }

    /// Requests made to a mount's under-store by this master.
    pub(crate) fn requests(&self, mount: MountId) -> u64 {
        let connected = self.connected.lock();
        connected
            .get(&mount)
            .map_or(0, |connection| connection.earlier_requests + requests_of(&connection.store))
    }

    /// Drops the connection of a mount that is gone.
    pub(crate) fn forget(&self, mount: MountId) {
        self.connected.lock().remove(&mount);
    }
}

fn requests_of(store: &LateStore) -> u64 {
    let counts = store.statistics().counts();
    counts.list_requests + counts.head_requests + counts.get_requests
}

impl ConnectError {
    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Sealing(error) => error.kind(),
            Self::OwnFolder { .. } => ErrorKind::InvalidArgument,
        }
    }
}

#[cfg(test)]
mod tests;
