//! The mounts that the master told of, each with its connected under-store and its counters.
//!
//! A mount that cannot be set up is kept with the reason, so that its reads say it, and is tried again from time to
//! time.

mod connected;
mod origin;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_proto::{OptionSource, v1};
use forebay_types::{Admission, ErrorKind, MountId, limits::MOUNTS_MAX};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::disk::DiskPool;
use crate::error::ReadError;
use crate::limits::{MOUNTS_WANTED_PAUSE, REFERENCES_INTERVAL, UNKNOWN_MOUNT_PATIENCE};

pub(crate) use connected::ConnectedMount;
use origin::Origin;

/// Why a mount cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Broken {
    kind: ErrorKind,
    reason: Arc<str>,
}

#[derive(Clone)]
struct Row {
    origin: Origin,
    mount: Result<Arc<ConnectedMount>, Broken>,
}

/// All mounts.
pub(crate) struct MountTable {
    rows: RwLock<HashMap<MountId, Row>>,
    /// Counts the lives of the master's state. A list of an earlier one is not taken in. Changed under the lock of `rows`.
    life: AtomicU64,
    environment: Arc<BTreeMap<String, String>>,
    /// Somebody asked for a mount that is not in the table; the master may know of it.
    wanted: Notify,
    /// When each mount that is not in the table was first asked for, of at most [`MOUNTS_MAX`]. Taken after `rows`.
    missed: Mutex<BTreeMap<MountId, Instant>>,
}

impl MountTable {
    /// An empty table; `environment` is the process's, for references and for defaults of credentials.
    pub(crate) fn new(environment: BTreeMap<String, String>) -> Self {
        Self {
            rows: RwLock::default(),
            life: AtomicU64::new(0),
            environment: Arc::new(environment),
            wanted: Notify::new(),
            missed: Mutex::default(),
        }
    }

    /// The mount to read from.
    pub(crate) fn get(&self, id: MountId) -> Result<Arc<ConnectedMount>, ReadError> {
        let rows = self.rows.read();
        let row = rows.get(&id).ok_or_else(|| {
            self.want();
            self.miss(id)
        })?;
        row.mount.clone().map_err(|Broken { kind, reason }| ReadError::BrokenMount {
            mount: id,
            kind,
            reason,
        })
    }

    /// Asks for word from the master soon.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// What is said of a mount that is not in the table: that it may come, and after a while that it is gone.
    fn miss(&self, id: MountId) -> ReadError {
        let (mut missed, now) = (self.missed.lock(), Instant::now());
        if !missed.contains_key(&id) && missed.len() >= MOUNTS_MAX {
            // Ids rise, so this is the one that was unmounted the longest ago.
            missed.pop_first();
        }
        let since = *missed.entry(id).or_insert(now);
        if now.saturating_duration_since(since) < UNKNOWN_MOUNT_PATIENCE {
            ReadError::UnknownMount(id)
        } else {
            ReadError::NoMount(id)
        }
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

    /// Forgets all mounts, whose ids may mean others from now on.
    pub(crate) fn begin_anew(&self) {
        let mut rows = self.rows.write();
        self.life.fetch_add(1, Ordering::Relaxed);
        self.missed.lock().clear();
        rows.clear();
    }

    /// Which life's list is to be taken in now.
    pub(crate) fn life(&self) -> u64 {
        self.life.load(Ordering::Relaxed)
    }

    /// Takes the master's list, unless it is of another life than this by now. A mount that is unchanged keeps its connections and counters. Whether all could be
    /// set up. Reads files that references name, so it blocks for a moment.
    pub(crate) fn replace(&self, life: u64, mounts: Vec<v1::MountCredentials>) -> bool {
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
        let mut current = self.rows.write();
        if self.life() != life {
            return true;
        }
        self.missed.lock().retain(|id, _| !rows.contains_key(id));
        *current = rows;
        drop(current);
        all_work
    }

    fn row(&self, id: MountId, mut message: v1::MountCredentials, before: Option<Row>) -> Row {
        let is_in_maintenance = message.mode() == v1::MountMode::NoAccess;
        let admission = admission(id, message.admission.take());
        let row = self.connected_row(id, message, before);
        if let Ok(mount) = &row.mount
            && mount.set_admission(admission)
        {
            tracing::info!(mount = %id, admission = ?mount.admission(), "what of a mount is cached has changed");
        }
        if let Ok(mount) = &row.mount
            && mount.set_maintenance(is_in_maintenance) != is_in_maintenance
        {
            tracing::info!(mount = %id, is_in_maintenance, "the under-store of a mount may be asked, or no more");
        }
        row
    }

    fn connected_row(&self, id: MountId, message: v1::MountCredentials, before: Option<Row>) -> Row {
        let mut broken = None;
        let mut options = BTreeMap::new();
        for (name, value) in message.options {
            match OptionSource::try_from(value) {
                Ok(source) => drop(options.insert(name, source)),
                Err(defect) => broken = Some(Broken::new(ErrorKind::InvalidArgument, &defect)),
            }
        }
        let origin = Origin { uri: message.uri, options, environment: Arc::clone(&self.environment) };
        if let Some(before) = before.as_ref().filter(|row| row.origin == origin && broken.is_none())
            && let Ok(mount) = &before.mount
        {
            return Row { mount: Ok(Arc::clone(mount)), origin };
        }
        let mount = broken.map_or_else(|| ConnectedMount::connect(id, &origin).map(Arc::new), Err);
        match (&mount, before.and_then(|row| row.mount.err())) {
            (Err(now), Some(before)) if *now == before => {}
            (Err(now), _) => tracing::warn!(mount = %id, reason = %now.reason, "a mount cannot be read here"),
            (Ok(mount), _) => tracing::info!(mount = %id, uri = %mount.uri, "a mount can be read"),
        }
        Row { origin, mount }
    }

    /// Reads the values that references name anew from time to time, so that a rotated secret is used also where the
    /// old one is taken still. Does not end. Cancel safe.
    pub(crate) async fn keep_fresh(&self, disk: &DiskPool) {
        loop {
            tokio::time::sleep(REFERENCES_INTERVAL).await;
            for mount in self.connected() {
                let seen = mount.under_store();
                mount.renew(&seen, disk).await;
            }
        }
    }
}

/// What of a mount is cached, as the master says. One that is not understood is of a later version than this worker, which
/// caches all then: reads are right in any case.
fn admission(id: MountId, message: Option<v1::Admission>) -> Admission {
    let admission = message.map(Admission::try_from).transpose().unwrap_or_else(|defect| {
        tracing::warn!(mount = %id, %defect, "what of a mount is to be cached is not understood; all of it is");
        None
    });
    admission.unwrap_or_default()
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
        f.debug_map().entries(rows.iter().map(|(id, row)| (id, &row.origin.uri))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u32, options: &[(&str, OptionSource)]) -> v1::MountCredentials {
        let options =
            options.iter().map(|(name, source)| ((*name).to_owned(), source.clone().into())).collect();
        v1::MountCredentials { mount: id, uri: "file:///data".to_owned(), options, ..Default::default() }
    }

    fn table(environment: &[(&str, &str)]) -> MountTable {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        MountTable::new(pairs.collect())
    }

    #[test]
    fn an_unchanged_mount_keeps_its_counters_and_a_removed_one_is_unknown() {
        let table = table(&[]);
        assert!(table.replace(0, vec![mount(1, &[]), mount(2, &[])]));
        let first = table.get(MountId::new(1)).expect("told");
        first.count(5, 7);
        assert!(table.replace(0, vec![mount(1, &[])]));
        let again = table.get(MountId::new(1)).expect("told");
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(again.report(0).miss_bytes, 7);
        assert!(matches!(table.get(MountId::new(2)), Err(ReadError::UnknownMount(_))));
        let changed = mount(1, &[("concurrency", OptionSource::Plain("8".into()))]);
        assert!(table.replace(0, vec![changed]));
        assert!(!Arc::ptr_eq(&first, &table.get(MountId::new(1)).expect("told")));
    }

    #[test]
    fn a_mount_in_maintenance_is_the_same_mount_and_may_not_be_asked_until_that_ends() {
        let table = table(&[]);
        let set = |mode: v1::MountMode| {
            assert!(table.replace(0, vec![v1::MountCredentials { mode: mode.into(), ..mount(1, &[]) }]));
            table.get(MountId::new(1)).expect("told")
        };
        let first = set(v1::MountMode::Unspecified);
        assert!(first.may_ask().is_ok(), "a master of before says nothing of modes");
        let closed = set(v1::MountMode::NoAccess);
        assert!(Arc::ptr_eq(&first, &closed));
        let error = closed.may_ask().expect_err("in maintenance");
        assert_eq!(error.kind(), ErrorKind::Maintenance);
        assert!(error.to_string().contains("forebay mount file:///data NS_PATH --mode normal"), "{error}");
        assert!(set(v1::MountMode::ReadOnly).may_ask().is_ok());
    }

    #[test]
    fn what_of_a_mount_is_cached_changes_and_the_mount_stays_the_same() {
        let table = table(&[]);
        let set = |admission: Option<v1::Admission>| {
            assert!(table.replace(0, vec![v1::MountCredentials { admission, ..mount(1, &[]) }]));
            table.get(MountId::new(1)).expect("told")
        };
        let first = set(None);
        assert_eq!(*first.admission(), Admission::default(), "as masters of before say");
        let small = Admission { rule: forebay_types::AdmissionRule::None, ..Admission::default() };
        let second = set(Some((&small).into()));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(*first.admission(), small);
        set(Some(v1::Admission { rule: None, ..Default::default() }));
        assert_eq!(*first.admission(), Admission::default(), "a rule of a later version");
    }

    #[test]
    fn a_list_of_an_earlier_life_is_not_taken_in() {
        let table = table(&[]);
        assert!(table.replace(0, vec![mount(1, &[])]));
        let first = table.get(MountId::new(1)).expect("told");
        table.begin_anew();
        assert!(matches!(table.get(MountId::new(1)), Err(ReadError::UnknownMount(_))));
        assert!(table.replace(0, vec![mount(1, &[])]), "one that was on its way");
        assert!(table.get(MountId::new(1)).is_err());
        assert!(table.replace(table.life(), vec![mount(1, &[])]));
        assert!(!Arc::ptr_eq(&first, &table.get(MountId::new(1)).expect("told")), "it may be another one");
    }

    #[test]
    fn references_are_read_on_this_machine_and_a_broken_one_breaks_its_mount_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("value");
        let file = || OptionSource::Reference(format!("file:{}", path.display()));
        let table = table(&[("WIDTH", "4")]);
        let of_env = mount(1, &[("concurrency", OptionSource::Reference("env:WIDTH".into()))]);
        assert!(!table.replace(0, vec![of_env.clone(), mount(2, &[("concurrency", file())])]));
        assert!(table.get(MountId::new(1)).is_ok());
        let error = table.get(MountId::new(2)).expect_err("no file");
        assert!(error.to_string().contains("value") && error.kind() == ErrorKind::InvalidArgument, "{error}");

        std::fs::write(&path, "9\n").expect("written");
        assert!(table.replace(0, vec![of_env, mount(2, &[("concurrency", file())])]));
        assert!(table.get(MountId::new(2)).is_ok());
        for wrong in ["env:NONE", "vault:x", "plain"] {
            let wrong = OptionSource::Reference(wrong.to_owned());
            assert!(!table.replace(0, vec![mount(3, &[("concurrency", wrong)])]));
        }
    }

    #[test]
    fn a_secret_is_shown_neither_by_the_table_nor_by_an_error() {
        let table = table(&[]);
        let secret = OptionSource::Secret("hush".into());
        assert!(!table.replace(0, vec![mount(1, &[("concurrency", secret)])]));
        let error = table.get(MountId::new(1)).expect_err("no number");
        assert!(!format!("{table:?} {error}").contains("hush"));
    }

    fn disk() -> DiskPool {
        DiskPool::new(tokio_util::task::TaskTracker::new())
    }

    /// A table with a mount whose option is in a file of this folder.
    fn with_value(folder: &tempfile::TempDir, value: &str) -> (MountTable, std::path::PathBuf) {
        let path = folder.path().join("value");
        std::fs::write(&path, value).expect("written");
        let reference = OptionSource::Reference(format!("file:{}", path.display()));
        let table = table(&[]);
        assert!(table.replace(0, vec![mount(1, &[("concurrency", reference)])]));
        (table, path)
    }

    #[tokio::test]
    async fn a_value_that_changed_replaces_the_connection_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (table, path) = with_value(&folder, "4");
        let mount = table.get(MountId::new(1)).expect("told");
        mount.count(5, 7);
        let first = mount.under_store();
        assert!(!mount.renew(&first, &disk()).await, "it is the same");
        assert!(Arc::ptr_eq(&first, &mount.under_store()));
        for wrong in ["none", ""] {
            std::fs::write(&path, wrong).expect("written");
            assert!(!mount.renew(&first, &disk()).await, "what was good once is better than this");
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(!mount.renew(&first, &disk()).await);
        assert!(Arc::ptr_eq(&first, &mount.under_store()));

        std::fs::write(&path, "8\n").expect("written");
        assert!(mount.renew(&first, &disk()).await);
        let second = mount.under_store();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(mount.renew(&first, &disk()).await, "it was replaced before");
        assert!(Arc::ptr_eq(&second, &mount.under_store()));
        assert!(Arc::ptr_eq(&mount, &table.get(MountId::new(1)).expect("told")));
        assert_eq!((mount.report(0).hit_bytes, mount.report(0).miss_bytes), (5, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn values_are_read_anew_from_time_to_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let (table, path) = with_value(&folder, "4");
        let mount = table.get(MountId::new(1)).expect("told");
        let (first, disk, begun) = (mount.under_store(), disk(), tokio::time::Instant::now());
        std::fs::write(&path, "8").expect("written");
        let renewed = async {
            while Arc::ptr_eq(&first, &mount.under_store()) {
                tokio::time::sleep(REFERENCES_INTERVAL / 4).await;
            }
        };
        tokio::select! {
            () = renewed => {}
            () = table.keep_fresh(&disk) => unreachable!("it goes on for ever"),
        }
        assert!(begun.elapsed() <= REFERENCES_INTERVAL * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mount_that_stays_unknown_is_gone_until_the_master_tells_of_it() {
        let (table, id) = (table(&[]), MountId::new(7));
        let error = || table.get(id).expect_err("nobody told of it");
        assert_eq!(error().kind(), ErrorKind::Unavailable, "it may be on its way");
        tokio::time::advance(UNKNOWN_MOUNT_PATIENCE / 2).await;
        assert_eq!(error().kind(), ErrorKind::Unavailable);
        tokio::time::advance(UNKNOWN_MOUNT_PATIENCE / 2).await;
        assert_eq!(error().kind(), ErrorKind::NotFound);
        assert!(error().to_string().contains("mount:7 "), "{}", error());
        assert!(table.replace(0, vec![mount(7, &[])]));
        assert!(table.get(id).is_ok());
        assert!(table.replace(0, Vec::new()));
        assert_eq!(error().kind(), ErrorKind::Unavailable, "it was known meanwhile");
    }

    #[test]
    fn so_many_unknown_mounts_are_remembered_and_no_more() {
        let table = table(&[]);
        for id in 1..=2 * u32::try_from(MOUNTS_MAX).expect("few") {
            assert!(table.get(MountId::new(id)).is_err());
        }
        assert_eq!(table.missed.lock().len(), MOUNTS_MAX);
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
