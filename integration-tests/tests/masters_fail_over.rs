//! The leader of three masters dies or stands still while a cluster of two workers is used in every way: whoever waits sees a
//! pause and no error, a load is finished by the next leader, which knows from its first moment what is cached where.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_integration_tests::{Fleet, Output, content, run, wait_until, write_file};
use rustix::process::Signal;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;
const CACHED: usize = 24 * MIB;
const COLD: (usize, usize) = (400, 300_000);
/// Longest pause that the product promises, and as much again and more for a busy machine.
const FAIL_OVER_WITHIN: Duration = Duration::from_secs(3 + 9);
const WITHIN: Duration = Duration::from_secs(60);
/// Rounds of each who uses the cluster that must follow a fail-over.
const ROUNDS_AFTER: u64 = 3;

/// Three masters, two workers, and a folder of files of which one is cached.
struct Scene {
    fleet: Fleet,
    root: PathBuf,
}

impl Scene {
    /// In `source` there is also a folder that is not mounted.
    fn new(source: &Path) -> Self {
        let data = source.join("data");
        write_file(&data.join("cached"), 1, CACHED);
        (0..COLD.0).for_each(|file| drop(write_file(&data.join(cold(file)), seed(file), COLD.1)));
        fs::create_dir(source.join("other")).expect("made");
        let mut fleet = Fleet::start_with_masters(3, 2);
        succeeds(&fleet.run(&["mount", &uri(&data), "/data"]));
        let root = fleet.mount("host-0", "").join("data");
        assert!(fs::read(root.join("cached")).expect("read") == content(1, CACHED));
        wait_until("it is known to be cached", WITHIN, || {
            stat(&fleet, "/data/cached")["cached_bytes"] == json!(CACHED)
        });
        Self { fleet, root }
    }
}

fn cold(file: usize) -> String {
    format!("cold/{file}")
}

const fn seed(file: usize) -> u64 {
    1000 + file as u64
}

fn uri(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

fn succeeds(output: &Output) {
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
}

fn stat(fleet: &Fleet, path: &str) -> Value {
    fleet.json(&["fs", "stat", path])
}

fn locate(fleet: &Fleet, path: &str) -> Value {
    fleet.json(&["fs", "locate", path])
}

fn read_cold(root: &Path, file: usize) {
    let path = root.join(cold(file));
    let read = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(read == content(seed(file), COLD.1), "{}", path.display());
}

/// Tells those who use the cluster to stop when a test ends, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Those who use the cluster until they are told to stop: what each has done, and the longest that anything took.
#[derive(Default)]
struct Users {
    is_over: AtomicBool,
    rounds: [AtomicU64; 4],
    longest_millis: AtomicU64,
}

impl Users {
    fn go_on(&self, who: usize, mut act: impl FnMut(usize)) {
        for round in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let begun = Instant::now();
            act(round);
            let took = u64::try_from(begun.elapsed().as_millis()).expect("short");
            self.longest_millis.fetch_max(took, Ordering::Relaxed);
            self.rounds[who].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs `during` while a directory is mounted and unmounted, one is asked for, a cached file is read, and files are
    /// opened that nobody has read.
    fn while_used(
        &self,
        fleet: &Fleet,
        source: &Path,
        root: &Path,
        first_cold: usize,
        during: impl FnOnce(&Self),
    ) {
        let other = uri(&source.join("other"));
        std::thread::scope(|scope| {
            let _over = Over(&self.is_over);
            scope.spawn(|| {
                self.go_on(0, |_| {
                    let masters = fleet.address();
                    succeeds(&run(&["mount", &other, "/other", "--masters", masters]));
                    succeeds(&run(&["unmount", "/other", "--masters", masters]));
                });
            });
            scope.spawn(|| self.go_on(1, |_| succeeds(&fleet.run(&["fs", "ls", "/data"]))));
            scope.spawn(|| {
                let whole = content(1, CACHED);
                self.go_on(2, |_| assert!(fs::read(root.join("cached")).expect("read") == whole));
            });
            scope.spawn(|| {
                self.go_on(3, |round| match first_cold + round {
                    file if file < COLD.0 => read_cold(root, file),
                    // All were read; they are opened again.
                    file => read_cold(root, file % COLD.0),
                });
            });
            self.wait_for_rounds(1);
            during(self);
            self.wait_for_rounds(ROUNDS_AFTER);
        });
        let longest = Duration::from_millis(self.longest_millis.load(Ordering::Relaxed));
        println!("longest wait of any user: {longest:?}");
        assert!(longest < FAIL_OVER_WITHIN, "somebody waited {longest:?}");
    }

    /// Until each has done so much more.
    fn wait_for_rounds(&self, more: u64) {
        let before = self.rounds.each_ref().map(|rounds| rounds.load(Ordering::Relaxed));
        wait_until("all go on", WITHIN, || {
            self.rounds
                .iter()
                .zip(before)
                .all(|(rounds, before)| rounds.load(Ordering::Relaxed) >= before + more)
        });
    }
}

#[test]
fn a_leader_that_is_killed_costs_those_who_use_the_cluster_a_pause_and_no_error() {
    let source = tempfile::tempdir().expect("a folder");
    let Scene { mut fleet, root } = Scene::new(source.path());
    let leader = fleet.leader();
    let (located, known) = (locate(&fleet, "/data/cached"), stat(&fleet, "/data/cached"));
    let (locations, users) = (std::cell::RefCell::new(None), Users::default());
    users.while_used(&fleet, source.path(), &root, 0, |_| {
        fleet.signal_master(leader, Signal::KILL);
        // The first answers of the next leader.
        *locations.borrow_mut() = Some((locate(&fleet, "/data/cached"), stat(&fleet, "/data/cached")));
        assert_ne!(fleet.leader(), leader);
    });
    assert_eq!(locations.take().expect("asked"), (located, known), "it knew without a word of the workers");
    // A beat of each worker ends it, which comes a second later.
    wait_until("the new leader has heard of both", WITHIN, || {
        fleet.json(&["admin", "report"])["safe_mode"]["active"] == json!(false)
    });
    fleet.restart_master_of(leader);
    wait_until("the one that was killed follows", WITHIN, || role(&fleet, leader) == "FOLLOWER");
}

#[test]
fn a_leader_that_stands_still_costs_those_who_use_the_cluster_a_pause_and_no_error() {
    let source = tempfile::tempdir().expect("a folder");
    let Scene { fleet, root } = Scene::new(source.path());
    let leader = fleet.leader();
    let located = locate(&fleet, "/data/cached");
    let users = Users::default();
    users.while_used(&fleet, source.path(), &root, 0, |_| {
        fleet.signal_master(leader, Signal::STOP);
        wait_until("another one leads", WITHIN, || fleet.leader() != leader);
        assert_eq!(locate(&fleet, "/data/cached"), located);
    });
    fleet.signal_master(leader, Signal::CONT);
    wait_until("it follows", WITHIN, || role(&fleet, leader) == "FOLLOWER");
    assert_eq!(locate(&fleet, "/data/cached"), located);
}

#[test]
fn a_load_is_finished_by_the_next_leader_with_every_byte_verified() {
    let source = tempfile::tempdir().expect("a folder");
    let Scene { fleet, .. } = Scene::new(source.path());
    let begun = fleet.json(&["load", "/data", "--detach"]);
    let job = begun["id"].to_string();
    let status = |fleet: &Fleet| fleet.json(&["job", "status", &job]);
    wait_until("it has begun", WITHIN, || status(&fleet)["files_done"].as_u64().is_some_and(|done| done > 0));
    assert_eq!(status(&fleet)["state"], json!("RUNNING"), "it is to be met in the midst");
    let leader = fleet.leader();
    fleet.signal_master(leader, Signal::KILL);
    wait_until("it is over", WITHIN, || status(&fleet)["state"] != json!("RUNNING"));
    let over = status(&fleet);
    let bytes = (CACHED + COLD.0 * COLD.1) as u64;
    assert_eq!(
        [&over["state"], &over["files_failed"], &over["files_done"], &over["bytes_done"]],
        [&json!("SUCCEEDED"), &json!(0), &json!(COLD.0 + 1), &json!(bytes)],
        "{over}"
    );
    for file in [0, COLD.0 / 2, COLD.0 - 1] {
        let stat = stat(&fleet, &format!("/data/{}", cold(file)));
        assert_eq!(stat["cached_bytes"], json!(COLD.1), "{stat}");
    }
}

#[test]
fn a_cluster_whose_workers_are_away_says_so_and_reads_wait_for_one() {
    let source = tempfile::tempdir().expect("a folder");
    write_file(&source.path().join("f"), 7, MIB);
    let mut fleet = Fleet::start_with_masters(3, 0);
    succeeds(&fleet.run(&["mount", &uri(source.path()), "/data"]));
    let safe_mode = |fleet: &Fleet| fleet.json(&["admin", "report"])["safe_mode"].clone();
    let lacking = json!({"active": true, "workers_expected": 1, "workers_live": 0});
    assert_eq!(safe_mode(&fleet), lacking);
    assert!(fleet.run(&["admin", "report"]).stdout.contains("safe mode  0 of 1 workers"));
    let read = std::thread::scope(|scope| {
        let reading = scope
            .spawn(|| fleet.run(&["fs", "get", "/data/f", &fleet.dir().join("got").display().to_string()]));
        assert!(!reading.is_finished(), "it waits");
        let worker = fleet.start_worker(0);
        (reading.join().expect("it ends"), worker)
    });
    succeeds(&read.0);
    fleet.workers.push(read.1);
    assert!(fs::read(fleet.dir().join("got")).expect("there") == content(7, MIB));
    wait_until("it lacks none", WITHIN, || safe_mode(&fleet)["active"] == json!(false));
}

fn role(fleet: &Fleet, master: usize) -> String {
    let masters = fleet.json(&["admin", "masters", "list"]);
    let row = |list: &Value| list.as_array()?.iter().find(|row| row["id"] == json!(master + 1)).cloned();
    let row = row(&masters["masters"]).unwrap_or_default();
    row["role"].as_str().unwrap_or_default().to_owned()
}
