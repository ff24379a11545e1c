//! A cluster of three masters is backed up by one that follows while clients change it, and restored into one master and into
//! three: all that was acknowledged before is there, and what was cached is served again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use forebay_client::{Client, ClientSettings};
use forebay_integration_tests::{
    MasterCluster, Output, Process, StallingProxy, Syncs, content, run, wait_until, write_file,
};
use forebay_types::{HostId, NamespacePath, Principal};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
/// Clients that change the tree at the same time.
const WRITERS: usize = 4;
/// Questions that each of them has under way.
const AT_ONCE: usize = 16;

fn ok(output: &Output) {
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
}

fn json(cluster: &MasterCluster, arguments: &[&str]) -> Value {
    let output = cluster.run(&[arguments, &["--output", "json"]].concat());
    ok(&output);
    serde_json::from_str(&output.stdout).expect("a document")
}

async fn client(addresses: &[String]) -> Client {
    let nobody = Principal { name: "tests".to_owned(), uid: 0, gids: vec![0] };
    let settings = ClientSettings::new(addresses.to_vec(), HostId::new("tests".to_owned()), nobody);
    Client::connect(settings).await.expect("a master answers")
}

/// Makes directories below /load, each under a name of its own, until `enough` says so of how many were acknowledged. Their
/// names are added to `acknowledged` once they are.
fn make_directories(
    addresses: &[String],
    acknowledged: &Mutex<BTreeSet<String>>,
    enough: impl Fn(usize) -> bool + Sync,
) {
    let (next, enough) = (AtomicUsize::new(acknowledged.lock().expect("whole").len()), &enough);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let writer = async || {
        let client = client(addresses).await;
        let one = async || {
            while !enough(acknowledged.lock().expect("whole").len()) {
                let name = format!("{:05}-{}", next.fetch_add(1, Ordering::Relaxed), "x".repeat(150));
                let path = NamespacePath::parse(format!("/load/{name}").as_bytes()).expect("a path");
                client.make_directory(&path, true, forebay_client::Access::default()).await.expect("made");
                acknowledged.lock().expect("whole").insert(name);
            }
        };
        futures::future::join_all((0..AT_ONCE).map(|_| one())).await;
    };
    let all = async { futures::future::join_all((0..WRITERS).map(|_| writer())).await };
    runtime.expect("threads").block_on(all);
}

/// The names below /load.
fn names(cluster: &MasterCluster) -> BTreeSet<String> {
    let listed = json(cluster, &["fs", "ls", "/load"]);
    let entries = listed["entries"].as_array().expect("a list").iter();
    entries.map(|entry| entry["name"].as_str().expect("text").to_owned()).collect()
}

/// A backup as a command makes it, and what it says.
fn backup(cluster: &MasterCluster, file: &Path, further: &[&str]) -> Value {
    let file = file.display().to_string();
    json(cluster, &[&["admin", "backup", &file], further].concat())
}

/// The rows of some tables of the state in a master's folder.
fn rows(folder: &Path) -> BTreeSet<String> {
    let dir = folder.display().to_string();
    let output = run(&["admin", "journal", "inspect", "--dir", &dir, "--state", "--output", "json"]);
    ok(&output);
    let document: Value = serde_json::from_str(&output.stdout).expect("a document");
    let rows = document["rows"].as_array().expect("rows").iter();
    let is_wanted = |row: &&Value| {
        ["sessions", "mounts", "inodes", "children"].iter().any(|table| row["table"] == *table)
    };
    rows.filter(is_wanted).map(ToString::to_string).collect()
}

fn start_worker(cluster: &MasterCluster, dir: &Path) -> Process {
    let (folder, tier) = (dir.join("worker"), format!("{}:2GiB", dir.join("tier").display()));
    let (folder, masters) = (folder.display().to_string(), cluster.addresses().join(","));
    let arguments = [
        "worker",
        "--dir",
        &folder,
        "--listen",
        "127.0.0.1:0",
        "--ram",
        "0",
        "--tier",
        &tier,
        "--masters",
        &masters,
    ];
    Process::start("worker", &arguments.map(str::to_owned), &[], dir).0
}

fn get(cluster: &MasterCluster, dir: &Path) -> Vec<u8> {
    let to = dir.join("got");
    ok(&cluster.run(&["fs", "get", "/data/file", &to.display().to_string(), "--host-id", "away"]));
    std::fs::read(&to).expect("there")
}

/// A backup, the names that were acknowledged before it was asked for, and what was said of it.
type Taken = (PathBuf, BTreeSet<String>, Value);

fn back_up_while_clients_change_all(cluster: &MasterCluster, dir: &Path) -> Vec<Taken> {
    let (acknowledged, is_over) = (Mutex::default(), AtomicBool::new(false));
    let mut taken = Vec::new();
    std::thread::scope(|scope| {
        let addresses = cluster.addresses();
        let writers =
            scope.spawn(|| make_directories(addresses, &acknowledged, |_| is_over.load(Ordering::Relaxed)));
        wait_until("some are made", WITHIN, || acknowledged.lock().expect("whole").len() > 100);
        for number in 0..4 {
            let known = acknowledged.lock().expect("whole").clone();
            let file = dir.join(format!("backup-{number}"));
            let said = backup(cluster, &file, &[]);
            assert_eq!(said["master"]["role"], "FOLLOWER", "{said}");
            taken.push((file, known, said));
            assert!(!writers.is_finished(), "they go on");
        }
        is_over.store(true, Ordering::Relaxed);
        writers.join().expect("no change failed");
    });
    taken
}

#[test]
fn a_backup_that_a_follower_gives_while_clients_change_all_is_restored_into_one_and_three_masters() {
    let dir = tempfile::tempdir().expect("a folder");
    write_file(&dir.path().join("source/file"), 5, 3 << 20);
    let mut cluster = MasterCluster::start(3, Syncs::AsTheDisk);
    let worker = start_worker(&cluster, dir.path());
    let uri = format!("file://{}", dir.path().join("source").display());
    ok(&cluster.run(&["mount", &uri, "/data", "--freshness", "0s"]));
    assert!(get(&cluster, dir.path()) == content(5, 3 << 20));
    let before =
        [json(&cluster, &["mounts"]), json(&cluster, &["fs", "stat", "/data/file"])["file_id"].clone()];

    let taken = back_up_while_clients_change_all(&cluster, dir.path());
    let quiet = dir.path().join("backup-quiet");
    let said = backup(&cluster, &quiet, &[]);
    let leads = cluster.leader();
    assert_ne!(said["master"]["address"], cluster.addresses()[leads].as_str());
    // Also of the one that is named.
    let asked = backup(&cluster, &dir.path().join("backup-leader"), &["--from", &cluster.addresses()[leads]]);
    assert_eq!(asked["master"]["role"], "LEADER", "{asked}");
    let nobody =
        cluster.run(&["admin", "backup", &dir.path().join("no").display().to_string(), "--from", "7"]);
    assert!(nobody.code == 1 && nobody.stderr.contains("admin masters list"), "{}", nobody.stderr);
    let all = names(&cluster);
    (0..3).for_each(|number| assert_eq!(cluster.process(number).stop(), 0));
    std::fs::rename(cluster.folder(leads), dir.path().join("original")).expect("kept");
    cluster.wipe();
    let original = rows(&dir.path().join("original"));

    for (file, known, said) in &taken {
        cluster.restore(&[0], &file.display().to_string());
        let found = names(&cluster);
        assert!(known.is_subset(&found), "{said} lacks {:?}", known.difference(&found).next());
        assert!(found.is_subset(&all), "nothing is invented");
        cluster.wipe();
    }
    for numbers in [&[0][..], &[0, 1, 2]] {
        cluster.restore(numbers, &quiet.display().to_string());
        let votes = cluster.listed().iter().filter(|master| master.votes).count();
        assert_eq!(votes, numbers.len());
        assert_eq!(names(&cluster), all);
        wait_until("the worker is back", WITHIN, || {
            json(&cluster, &["admin", "report"])["workers"][0]["state"] == json!("LIVE")
        });
        let after =
            [json(&cluster, &["mounts"]), json(&cluster, &["fs", "stat", "/data/file"])["file_id"].clone()];
        assert_eq!(after, before, "mounts and versions are what they were");
        assert!(get(&cluster, dir.path()) == content(5, 3 << 20));
        let fetched =
            json(&cluster, &["admin", "report", "mounts"])["mounts"][0]["under_store_read_bytes"].clone();
        assert_eq!(fetched, json!(0), "what the worker had is served");
        let again = backup(&cluster, &dir.path().join("backup-again"), &["--force"]);
        assert!(again["incarnation"].as_u64() > said["incarnation"].as_u64(), "another life: {again}");
        assert_eq!(again["cluster_id"], said["cluster_id"]);
        // What was remembered of each session is there still, so that a request that is sent again is not done again.
        let restored = rows(&cluster.folder(numbers[numbers.len() - 1]));
        assert_eq!(original.difference(&restored).next(), None);
        cluster.wipe();
    }
    drop(worker);
}

#[test]
fn a_follower_that_dies_in_the_midst_of_a_backup_gives_way_to_another_master() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = MasterCluster::prepare(3, Syncs::AsTheDisk);
    // The others and clients find the first one behind this.
    let way = StallingProxy::to(&cluster.addresses()[0]);
    let peers = format!("1={},2={},3={}", way.address(), cluster.addresses()[1], cluster.addresses()[2]);
    cluster.start_all(&[0, 1, 2], &peers);
    let acknowledged = Mutex::default();
    make_directories(&cluster.addresses()[1..], &acknowledged, |made| made >= 4000);
    ok(&cluster.run(&["admin", "masters", "transfer-leader", "3"]));
    wait_until("all have all", WITHIN, || {
        let masters = json(&cluster, &["admin", "masters", "list"])["masters"].clone();
        let masters = masters.as_array().expect("a list").clone();
        masters.iter().all(|master| master["last_applied"] == masters[0]["last_applied"])
    });
    way.stall_after(300 << 10);
    let file = dir.path().join("backup");
    let masters = cluster.addresses()[1..].join(",");
    let path = file.display().to_string();
    let output = std::thread::scope(|scope| {
        let arguments = ["admin", "backup", &path, "--masters", &masters, "--output", "json"];
        let taking = scope.spawn(move || run(&arguments));
        wait_until("it is under way", WITHIN, || way.has_stalled());
        assert!(!file.exists(), "nothing bears its name before it is whole");
        cluster.kill(0);
        taking.join().expect("it ends")
    });
    ok(&output);
    let said: Value = serde_json::from_str(&output.stdout).expect("a document");
    assert_eq!(said["master"], json!({"id": 2, "address": cluster.addresses()[1], "role": "FOLLOWER"}));
    let note = format!("the master at {} gave no backup", way.address());
    assert!(output.stderr.contains(&note), "{}", output.stderr);
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).expect("listed").flatten().map(|of| of.file_name()).collect();
    assert_eq!(left, ["backup"], "nothing else is left");
    cluster.wipe();
    cluster.restore(&[0], &file.display().to_string());
    assert_eq!(names(&cluster), *acknowledged.lock().expect("whole"));
}

#[test]
fn a_follower_that_stands_still_is_passed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = MasterCluster::start(3, Syncs::AsTheDisk);
    ok(&cluster.run(&["fs", "mkdir", "/kept"]));
    let leader = cluster.leader();
    let [still, other] = [1, 2].map(|step| (leader + step) % 3);
    cluster.process(still).signal(rustix::process::Signal::STOP);
    let said = backup(&cluster, &dir.path().join("backup"), &[]);
    assert_eq!(said["master"]["address"], cluster.addresses()[other].as_str());
    cluster.process(still).signal(rustix::process::Signal::CONT);
}
