//! Restore and format over real folders: what they refuse, and that nothing is left half done.

use std::collections::BTreeMap;

use forebay_metadata::{Command, Mount, MountOptions, OptionValue, query};
use forebay_raft::backup::BackupBlocks;
use forebay_runtime::{ManualClock, Shutdown};
use tempfile::TempDir;

use super::*;
use crate::server::{Master, MasterSettings};

const NOW: i64 = 1_800_000_000;

fn clock(seconds: i64) -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(Timestamp::from_parts(seconds, 0)))
}

async fn start(dir: &Path, shutdown: &Shutdown) -> Master {
    let settings = MasterSettings {
        dir: dir.to_owned(),
        private_folders: Vec::new(),
        slot: 1,
        address: "127.0.0.1:1".to_owned(),
        peers: crate::PeerList::default(),
        election_timeout: Duration::from_secs(1),
        reads: forebay_raft::Reads::default(),
        clock: clock(NOW),
        environment: BTreeMap::new(),
        requests_per_second_max: 0,
        loaded_entries_max: 0,
        registry: prometheus::Registry::new(),
    };
    let master = Master::new(settings).expect("settings");
    master.start(shutdown).await.expect("started");
    master
}

async fn stop(master: Master, shutdown: Shutdown) {
    drop(master);
    shutdown.finish(std::time::Duration::from_secs(20)).await.expect("stops in time");
}

/// A folder with a master that has a mount with a secret, a key, and a backup of it.
struct Old {
    dir: TempDir,
    file: PathBuf,
    cluster: ClusterId,
}

impl Old {
    async fn new() -> Self {
        let (dir, shutdown) = (TempDir::new().expect("a folder"), Shutdown::new());
        let master = start(&dir.path().join("master"), &shutdown).await;
        let shared = master.shared();
        let path = "/data".parse().expect("legal");
        let key = SealingKey::open_or_create(&dir.path().join("master").join(KEY_FILE)).expect("a key");
        let sealed = OptionValue::Sealed(key.seal(&path, "hush").expect("sealed"));
        let options = [("secret_access_key".to_owned(), sealed)].into();
        let options = MountOptions { options, ..MountOptions::default() };
        let mount = Mount { path, uri: "s3://bucket".parse().expect("legal"), options };
        shared.propose(None, Command::Mount(mount)).await.expect("mounted");
        let view = shared.raft.local_view().expect("runs");
        let bytes: Vec<u8> = {
            let moment = view.moment();
            let blocks = BackupBlocks::new(&moment, Timestamp::from_nanos(5), "test").expect("readable");
            blocks.map(|block| block.expect("readable")).collect::<Vec<_>>().concat()
        };
        let cluster = query::identity(&view.moment()).expect("readable").expect("formatted").cluster;
        drop(view);
        drop(shared);
        stop(master, shutdown).await;
        let file = dir.path().join("backup");
        std::fs::write(&file, &bytes).expect("written");
        Self { dir, file, cluster }
    }

    fn settings(&self, dir: &str, seconds: i64) -> RestoreSettings {
        RestoreSettings {
            file: self.file.clone(),
            content: None,
            dir: self.dir.path().join(dir),
            slot: 1,
            address: "127.0.0.1:1".to_owned(),
            peers: crate::PeerList::default(),
            clock: clock(seconds),
            without_credentials: false,
        }
    }

    /// A folder with nothing but the cluster's key.
    fn with_key(&self, dir: &str) {
        let to = self.dir.path().join(dir);
        std::fs::create_dir(&to).expect("made");
        std::fs::copy(self.dir.path().join("master").join(KEY_FILE), to.join(KEY_FILE)).expect("copied");
    }

    async fn identity(&self, dir: &str) -> (ClusterId, Incarnation, usize) {
        let shutdown = Shutdown::new();
        let master = start(&self.dir.path().join(dir), &shutdown).await;
        let view = master.shared().raft.local_view().expect("runs");
        let identity = query::identity(&view.moment()).expect("readable").expect("formatted");
        let mounts = query::mounts(&view.moment()).expect("readable");
        let options = mounts.first().map_or(0, |mount| mount.options.options.len());
        drop(view);
        stop(master, shutdown).await;
        (identity.cluster, identity.incarnation, options)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_master_is_the_same_cluster_in_a_later_life() {
    let old = Old::new().await;
    old.with_key("new");
    let restored = restore(old.settings("new", NOW + 60)).await.expect("restored");
    let incarnation = Incarnation::new(1_800_000_060);
    assert_eq!((restored.cluster, restored.incarnation), (old.cluster, incarnation));
    assert_eq!(old.identity("new").await, (old.cluster, incarnation, 1));
    assert_eq!(old.identity("new").await, (old.cluster, incarnation, 1), "a second start goes on");
    let error = restore(old.settings("new", NOW + 60)).await.expect_err("there is a state");
    assert!(
        error.to_string().contains("holds the state of a master already; start without --restore"),
        "{error}"
    );
    // A clock that stands in the past must not make a life that was there.
    old.with_key("late");
    // Of a life before this folder was emptied, but for it.
    let member = old.settings("late", 7).dir.join("member");
    std::fs::write(&member, "left over").expect("written");
    let restored = restore(old.settings("late", 7)).await.expect("restored");
    assert_eq!(restored.incarnation, Incarnation::new(1_800_000_001));
    assert!(!member.exists(), "it would give the new life an id of the old one");
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_credentials_need_their_key_or_are_left_out() {
    let old = Old::new().await;
    let error = restore(old.settings("new", NOW + 1)).await.expect_err("no key");
    let said = error.to_string();
    assert!(said.contains("the mounts /data of") && said.contains("cluster.key"), "{said}");
    let other = old.dir.path().join("other");
    std::fs::create_dir(&other).expect("made");
    SealingKey::open_or_create(&other.join(KEY_FILE)).expect("another key");
    assert!(matches!(restore(old.settings("other", NOW + 1)).await, Err(BeginError::Key { .. })));
    let settings = RestoreSettings { without_credentials: true, ..old.settings("other", NOW + 1) };
    restore(settings).await.expect("restored");
    assert_eq!(old.identity("other").await.2, 0, "the secret is gone, the mount is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_damaged_foreign_or_missing_is_named() {
    let old = Old::new().await;
    old.with_key("new");
    let mut bytes = std::fs::read(&old.file).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&old.file, &bytes).expect("written");
    let error = restore(old.settings("new", NOW + 1)).await.expect_err("damaged").to_string();
    assert!(error.contains(&old.file.display().to_string()) && error.contains("damaged at byte"), "{error}");
    std::fs::write(&old.file, "[master]\nid = 1\n").expect("written");
    let error = restore(old.settings("new", NOW + 1)).await.expect_err("foreign").to_string();
    assert!(error.contains("no backup of Forebay"), "{error}");
    std::fs::remove_file(&old.file).expect("removed");
    assert!(matches!(restore(old.settings("new", NOW + 1)).await, Err(BeginError::Backup { .. })));
    assert!(!has_state(&old.dir.path().join("new")).expect("readable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn format_deletes_a_state_only_by_force_and_keeps_the_key() {
    let old = Old::new().await;
    let dir = old.dir.path().join("master");
    let error = format(dir.clone(), false).await.expect_err("there is a state");
    assert!(error.to_string().contains("say --force as well"), "{error}");
    assert_eq!(old.identity("master").await.0, old.cluster, "nothing was deleted");
    let key = std::fs::read(dir.join(KEY_FILE)).expect("there");
    let seconds = || std::time::UNIX_EPOCH.elapsed().expect("past 1970").as_secs();
    let before = seconds();
    assert_eq!(format(dir.clone(), true).await.expect("deleted"), Some(old.cluster));
    assert!(seconds() > before, "the next life must not begin in a second in which this one may have begun");
    assert_eq!(std::fs::read(dir.join(KEY_FILE)).expect("kept"), key);
    assert_ne!(old.identity("master").await.0, old.cluster);
    assert_eq!(format(old.dir.path().join("empty"), false).await.expect("nothing to do"), None);
}
