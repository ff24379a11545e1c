//! The mounts that the master told of, each with its connected under-store and its counters.
//!
//! A reference such as `env:NAME` is resolved here, on the machine that reads the under-store. A mount that cannot be
//! set up is kept with the reason, so that its reads say it, and is tried again from time to time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_proto::{OptionSource, v1};
use forebay_types::{ErrorKind, MountId, UnderStoreUri, limits::MOUNTS_MAX};
use forebay_under_store::{UnderStore, connect};
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::error::ReadError;
use crate::limits::{MOUNTS_WANTED_PAUSE, REFERENCE_FILE_MAX};

/// A mount whose under-store can be asked.
#[derive(Debug)]
pub(crate) struct ConnectedMount {
    pub(crate) id: MountId,
    pub(crate) under_store: Arc<dyn UnderStore>,
    /// The URI as the store's identities have it.
    pub(crate) uri: String,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
}

/// Why a mount cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Broken {
    kind: ErrorKind,
    reason: Arc<str>,
}

/// What the master said of a mount.
#[derive(Clone, PartialEq, Eq)]
struct Told {
    uri: String,
    options: BTreeMap<String, OptionSource>,
}

#[derive(Clone)]
struct Row {
    told: Told,
    mount: Result<Arc<ConnectedMount>, Broken>,
}

/// All mounts.
pub(crate) struct MountTable {
    rows: RwLock<HashMap<MountId, Row>>,
    environment: BTreeMap<String, String>,
    /// Somebody asked for a mount that is not in the table; the master may know of it.
    wanted: Notify,
}

impl MountTable {
    /// An empty table; `environment` is the process's, for references and for defaults of credentials.
    pub(crate) fn new(environment: BTreeMap<String, String>) -> Self {
        Self { rows: RwLock::default(), environment, wanted: Notify::new() }
    }

    /// The mount to read from.
    pub(crate) fn get(&self, id: MountId) -> Result<Arc<ConnectedMount>, ReadError> {
        let rows = self.rows.read();
        let row = rows.get(&id).ok_or_else(|| {
            self.wanted.notify_one();
            ReadError::UnknownMount(id)
        })?;
        row.mount.clone().map_err(|Broken { kind, reason }| ReadError::BrokenMount {
            mount: id,
            kind,
            reason,
        })
    }

    /// Ends when the table ought to be asked for anew, at most once in [`MOUNTS_WANTED_PAUSE`]. A mount is read within
    /// moments of its making so, and not only after the next heartbeat. Cancel safe.
    pub(crate) async fn is_wanted(&self) {
        tokio::time::sleep(MOUNTS_WANTED_PAUSE).await;
        self.wanted.notified().await;
    }

    /// The mounts that can be asked, by rising id.
    pub(crate) fn connected(&self) -> Vec<Arc<ConnectedMount>> {
        let rows = self.rows.read();
        let mut mounts: Vec<_> =
            rows.values().filter_map(|row| row.mount.as_ref().ok().map(Arc::clone)).collect();
        mounts.sort_by_key(|mount| mount.id);
        mounts
    }

    /// Takes the master's list. A mount that is unchanged keeps its connections and counters. Whether all could be
    /// set up. Reads files that references name, so it blocks for a moment.
    pub(crate) fn replace(&self, mounts: Vec<v1::MountCredentials>) -> bool {
        // The old table serves until the new one is whole.
        let mut old = self.rows.read().clone();
        let mut all_work = true;
        let mut rows = HashMap::new();
        for message in mounts.into_iter().take(MOUNTS_MAX) {
            let id = MountId::new(message.mount);
            let before = old.remove(&id);
            let row = self.row(id, message, before);
            all_work &= row.mount.is_ok();
            rows.insert(id, row);
        }
        *self.rows.write() = rows;
        all_work
    }

    fn row(&self, id: MountId, message: v1::MountCredentials, before: Option<Row>) -> Row {
        let mut broken = None;
        let mut told = Told { uri: message.uri, options: BTreeMap::new() };
        for (name, value) in message.options {
            match OptionSource::try_from(value) {
                Ok(source) => drop(told.options.insert(name, source)),
                Err(defect) => broken = Some(Broken::new(ErrorKind::InvalidArgument, &defect)),
            }
        }
        if let Some(before) = before.as_ref().filter(|row| row.told == told && broken.is_none())
            && let Ok(mount) = &before.mount
        {
            return Row { mount: Ok(Arc::clone(mount)), told };
        }
        let mount = broken.map_or_else(|| self.connect(id, &told), Err);
        match (&mount, before.and_then(|row| row.mount.err())) {
            (Err(now), Some(before)) if *now == before => {}
            (Err(now), _) => tracing::warn!(mount = %id, reason = %now.reason, "a mount cannot be read here"),
            (Ok(mount), _) => tracing::info!(mount = %id, uri = %mount.uri, "a mount can be read"),
        }
        Row { told, mount }
    }

    fn connect(&self, id: MountId, told: &Told) -> Result<Arc<ConnectedMount>, Broken> {
        let uri: UnderStoreUri =
            told.uri.parse().map_err(|error| Broken::new(ErrorKind::InvalidArgument, &error))?;
        let resolved =
            told.options.iter().map(|(name, source)| Ok((name.clone(), self.resolve(name, source)?)));
        let options = resolved.collect::<Result<_, Broken>>()?;
        let under_store =
            connect(&uri, &options, &self.environment).map_err(|error| Broken::new(error.kind(), &error))?;
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Arc::new(ConnectedMount { id, under_store, uri: uri.to_string(), hits, misses }))
    }

    /// The value that an option has on this machine.
    fn resolve(&self, name: &str, source: &OptionSource) -> Result<String, Broken> {
        let reference = match source {
            OptionSource::Plain(value) | OptionSource::Secret(value) => return Ok(value.clone()),
            OptionSource::Reference(reference) => reference,
        };
        let broken = |problem: &dyn fmt::Display| {
            Broken::new(ErrorKind::InvalidArgument, &format_args!("option `{name}`: {problem}"))
        };
        match reference.split_once(':') {
            Some(("env", variable)) => self.environment.get(variable).cloned().ok_or_else(|| {
                broken(&format_args!(
                    "the worker has no environment variable `{variable}`; set it and restart"
                ))
            }),
            Some(("file", path)) => {
                let mut text = String::new();
                let read = File::open(path)
                    .and_then(|file| file.take(REFERENCE_FILE_MAX + 1).read_to_string(&mut text));
                match read {
                    Ok(length) if length as u64 > REFERENCE_FILE_MAX => {
                        Err(broken(&format_args!("{path} is longer than {REFERENCE_FILE_MAX} bytes")))
                    }
                    // Editors and `echo` leave a line break at the end, which is no part of a secret.
                    Ok(_) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                    Err(error) => Err(broken(&format_args!("{path} cannot be read on the worker: {error}"))),
                }
            }
            _ => Err(broken(&format_args!("`{reference}` is no reference; write env:NAME or file:PATH"))),
        }
    }
}

impl ConnectedMount {
    /// Counts served bytes.
    pub(crate) fn count(&self, hit: u64, miss: u64) {
        self.hits.fetch_add(hit, Ordering::Relaxed);
        self.misses.fetch_add(miss, Ordering::Relaxed);
    }

    /// The counters for the master.
    pub(crate) fn report(&self, cached_bytes: u64) -> v1::MountCounters {
        let asked = self.under_store.statistics().counts();
        v1::MountCounters {
            mount: self.id.get(),
            hit_bytes: self.hits.load(Ordering::Relaxed),
            miss_bytes: self.misses.load(Ordering::Relaxed),
            under_store_read_bytes: asked.read_bytes,
            under_store_requests: asked.list_requests + asked.head_requests + asked.get_requests,
            cached_bytes,
        }
    }
}

impl Broken {
    fn new(kind: ErrorKind, reason: &dyn fmt::Display) -> Self {
        Self { kind, reason: reason.to_string().into() }
    }
}

impl fmt::Debug for MountTable {
    /// Shows no options, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.read();
        f.debug_map().entries(rows.iter().map(|(id, row)| (id, &row.told.uri))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u32, options: &[(&str, OptionSource)]) -> v1::MountCredentials {
        let options =
            options.iter().map(|(name, source)| ((*name).to_owned(), source.clone().into())).collect();
        v1::MountCredentials { mount: id, uri: "file:///data".to_owned(), options }
    }

    fn table(environment: &[(&str, &str)]) -> MountTable {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        MountTable::new(pairs.collect())
    }

    #[test]
    fn an_unchanged_mount_keeps_its_counters_and_a_removed_one_is_unknown() {
        let table = table(&[]);
        assert!(table.replace(vec![mount(1, &[]), mount(2, &[])]));
        let first = table.get(MountId::new(1)).expect("told");
        first.count(5, 7);
        assert!(table.replace(vec![mount(1, &[])]));
        let again = table.get(MountId::new(1)).expect("told");
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(again.report(0).miss_bytes, 7);
        assert!(matches!(table.get(MountId::new(2)), Err(ReadError::UnknownMount(_))));
        let changed = mount(1, &[("concurrency", OptionSource::Plain("8".into()))]);
        assert!(table.replace(vec![changed]));
        assert!(!Arc::ptr_eq(&first, &table.get(MountId::new(1)).expect("told")));
    }

    #[test]
    fn references_are_read_on_this_machine_and_a_broken_one_breaks_its_mount_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("value");
        let file = || OptionSource::Reference(format!("file:{}", path.display()));
        let table = table(&[("WIDTH", "4")]);
        let of_env = mount(1, &[("concurrency", OptionSource::Reference("env:WIDTH".into()))]);
        assert!(!table.replace(vec![of_env.clone(), mount(2, &[("concurrency", file())])]));
        assert!(table.get(MountId::new(1)).is_ok());
        let error = table.get(MountId::new(2)).expect_err("no file");
        assert!(error.to_string().contains("value") && error.kind() == ErrorKind::InvalidArgument, "{error}");

        std::fs::write(&path, "9\n").expect("written");
        assert!(table.replace(vec![of_env, mount(2, &[("concurrency", file())])]));
        assert!(table.get(MountId::new(2)).is_ok());
        for wrong in ["env:NONE", "vault:x", "plain"] {
            let wrong = OptionSource::Reference(wrong.to_owned());
            assert!(!table.replace(vec![mount(3, &[("concurrency", wrong)])]));
        }
    }

    #[test]
    fn a_secret_is_shown_neither_by_the_table_nor_by_an_error() {
        let table = table(&[]);
        let secret = OptionSource::Secret("hush".into());
        assert!(!table.replace(vec![mount(1, &[("concurrency", secret)])]));
        let error = table.get(MountId::new(1)).expect_err("no number");
        assert!(!format!("{table:?} {error}").contains("hush"));
    }

    #[tokio::test]
    async fn a_mount_that_is_not_known_is_wanted_once() {
        let table = MountTable::new(BTreeMap::new());
        assert!(table.get(MountId::new(7)).is_err());
        table.is_wanted().await;
        let again = tokio::time::timeout(MOUNTS_WANTED_PAUSE * 3, table.is_wanted()).await;
        assert!(again.is_err(), "nobody asked since");
    }
}
