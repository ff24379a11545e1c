//! The master's state is backed up, restored and formatted under workers and mounts that live on: what is read is what
//! the source has, and what was cached and is the same is not fetched again.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use forebay_integration_tests::{
    Fleet, KEY_ID, Output, Process, READ_MODES, Rclone, SECRET_KEY, content, drop_page_cache, run, sha256,
    wait_until, write_file,
};
use serde_json::Value;

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(30);

/// The files below a folder by their names, each with the SHA-256 of its content.
fn sums(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut sums = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let sum = sha256(&std::fs::read(&path).expect("readable"));
            sums.insert(path.strip_prefix(root).expect("below").to_owned(), sum);
        }
    }
    sums
}

/// Replaces a file by one of the same length and time, as `rename` does.
fn replace(path: &Path, seed: u64, length: usize) {
    let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("there");
    let new = path.with_file_name("replacement");
    write_file(&new, seed, length);
    set_modified(&new, modified);
    std::fs::rename(&new, path).expect("renamed");
}

fn set_modified(path: &Path, to: SystemTime) {
    std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(to)).expect("set");
}

fn done(output: &Output) {
    assert_eq!(output.code, 0, "{}", output.stderr);
}

fn refused(output: &Output, with: &[&str]) {
    assert_eq!(output.code, 1, "{}", output.stderr);
    for part in with {
        assert!(output.stderr.contains(part), "{} should say `{part}`", output.stderr);
    }
}

/// A fleet and what its tests ask of it.
struct World {
    fleet: Fleet,
    source: tempfile::TempDir,
}

impl World {
    fn new(workers: usize) -> Self {
        let source = tempfile::tempdir().expect("a folder");
        for (name, seed, length) in [
            ("kept/small", 1, 110_000),
            ("kept/pages", 2, 3 * MIB + 5),
            ("kept/empty", 3, 0),
            ("replaced", 4, 2 * MIB),
            ("removed", 5, 70_000),
        ] {
            write_file(&source.path().join(name), seed, length);
        }
        let world = Self { fleet: Fleet::start(workers), source };
        done(&world.mount(world.source.path(), "/data"));
        world
    }

    fn mount(&self, folder: &Path, at: &str) -> Output {
        self.fleet.run(&["mount", &format!("file://{}", folder.display()), at, "--freshness", "0s"])
    }

    fn path(&self, name: &str) -> String {
        self.fleet.dir().join(name).display().to_string()
    }

    fn backup(&self, name: &str) -> String {
        let file = self.path(name);
        done(&self.fleet.run(&["admin", "backup", &file]));
        file
    }

    /// Stops the master and starts another at its address, in the folder `dir` and with further arguments.
    fn change_master(&mut self, dir: &str, further: &[&str]) {
        assert_eq!(self.fleet.master.stop(), 0);
        let dir = self.path(dir);
        let mut arguments = vec!["master", "--id", "1", "--dir", &dir, "--listen", self.fleet.address()];
        arguments.extend(further);
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        self.fleet.master = Process::start("master", &arguments, &[], self.fleet.dir()).0;
        self.wait_for_workers();
    }

    fn wait_for_workers(&self) {
        wait_until("the workers have registered", SOON, || {
            let workers = self.fleet.json(&["admin", "report"])["workers"].clone();
            workers.as_array().is_some_and(|workers| workers.len() == self.fleet.workers.len())
        });
    }

    /// Compares what `fs get` brings with a folder.
    fn expect(&self, at: &str, folder: &Path) {
        let target = tempfile::tempdir().expect("a folder");
        let target = target.path().join("got");
        done(&self.fleet.run(&["fs", "get", "-r", at, &target.display().to_string(), "--host-id", "away"]));
        assert_eq!(sums(&target), sums(folder), "{at}");
    }

    /// What the workers fetched for the mount at `at` since its master began, all that was fetched before this call.
    fn fetched(&self, at: &str) -> u64 {
        self.wait_for_word_of_all_workers();
        self.fleet.json(&["admin", "report"])["mounts"]
            .as_array()
            .and_then(|mounts| mounts.iter().find(|mount| mount["path"] == at))
            .and_then(|mount| mount["under_store_read_bytes"].as_u64())
            .expect("the mount is there")
    }

    /// Waits for two heartbeats of each worker: the first may have been made before.
    fn wait_for_word_of_all_workers(&self) {
        let silences = || -> Vec<f64> {
            let workers = self.fleet.json(&["admin", "report"])["workers"].clone();
            let workers = workers.as_array().expect("workers").iter();
            workers.map(|worker| worker["last_contact_seconds"].as_f64().expect("a figure")).collect()
        };
        let (mut last, mut heard) = (silences(), vec![0; self.fleet.workers.len()]);
        wait_until("each worker has told what it did", SOON, || {
            let now = silences();
            for (heard, (now, last)) in heard.iter_mut().zip(now.iter().zip(&last)) {
                *heard += u32::from(now < last);
            }
            last = now;
            heard.iter().all(|heard| *heard >= 2)
        });
    }

    /// What changes in the source after the backup.
    fn change_source(&self) {
        replace(&self.source.path().join("replaced"), 40, 2 * MIB);
        std::fs::remove_file(self.source.path().join("removed")).expect("removed");
        write_file(&self.source.path().join("later/new"), 6, 90_000);
    }
}

/// A file of each life, and a mount that the backup does not know of.
fn restore_under(world: &mut World, is_worker_stopped: bool) {
    let at = world.fleet.mount("host-0", "freshness=0s").join("data");
    world.expect("/data", world.source.path());
    assert_eq!(sums(&at), sums(world.source.path()));
    let file = world.backup("backup");

    let through = [at.clone(), world.fleet.mount("host-0", "passthrough=off").join("data")];
    let mut open = through.map(|at| std::fs::File::open(at.join("kept/pages")).expect("open"));
    open.iter_mut().for_each(|file| file.read_exact(&mut [0; 10]).expect("read"));

    world.change_source();
    let unknown = tempfile::tempdir().expect("a folder");
    write_file(&unknown.path().join("f"), 7, 50_000);
    done(&world.mount(unknown.path(), "/unknown"));
    world.expect("/data", world.source.path());
    world.expect("/unknown", unknown.path());

    if is_worker_stopped {
        assert_eq!(world.fleet.workers[0].stop(), 0);
        let stopped = world.fleet.workers.remove(0);
        world.change_master("restored", &["--restore", &file]);
        drop(stopped);
        let worker = world.fleet.start_worker(0);
        world.fleet.workers.push(worker);
        world.wait_for_workers();
    } else {
        world.change_master("restored", &["--restore", &file]);
    }
    assert_eq!(world.fleet.run(&["fs", "stat", "/unknown"]).code, 1, "the backup is older");
    drop_page_cache();
    for mut file in open {
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).expect("an open file goes on being read");
        assert!(rest == content(2, 3 * MIB + 5)[10..], "its bytes are what they were");
    }
    // Another folder under the number and the name that the lost mount had: same names, lengths and times.
    let other = tempfile::tempdir().expect("a folder");
    write_file(&other.path().join("f"), 8, 50_000);
    set_modified(
        &other.path().join("f"),
        unknown.path().join("f").metadata().and_then(|f| f.modified()).expect("set"),
    );
    done(&world.mount(other.path(), "/unknown"));
    world.expect("/data", world.source.path());
    world.expect("/unknown", other.path());
    assert_eq!(sums(&at), sums(world.source.path()), "through the mount that saw it all");
    let fresh = world.fleet.mount("host-0", "");
    assert_eq!(sums(&fresh.join("data")), sums(world.source.path()));
    assert_eq!(sums(&fresh.join("unknown")), sums(other.path()));
    assert_eq!(world.fetched("/unknown"), 50_000);
    assert_eq!(world.fetched("/data"), 0, "all of it was cached, under ids of one life or the other");

    write_file(&world.source.path().join("later/newest"), 9, 80_000);
    replace(&world.source.path().join("replaced"), 41, 2 * MIB);
    world.expect("/data", world.source.path());
    assert_eq!(sums(&at), sums(world.source.path()));
    world.change_master("restored", &[]);
    world.expect("/data", world.source.path());
    world.expect("/unknown", other.path());
}

#[test]
fn a_restore_under_running_workers_and_mounts_shows_what_the_source_has() {
    restore_under(&mut World::new(1), false);
}

#[test]
fn a_restore_while_the_worker_was_stopped_shows_what_the_source_has() {
    restore_under(&mut World::new(1), true);
}

#[test]
fn with_several_workers_nothing_that_the_backup_knows_is_fetched_again() {
    let mut world = World::new(3);
    world.expect("/data", world.source.path());
    let file = world.backup("backup");
    world.change_source();
    world.expect("/data", world.source.path());
    let ids = |world: &World| {
        let workers = world.fleet.json(&["admin", "report"])["workers"].clone();
        workers.as_array().expect("workers").iter().map(|worker| worker["id"].clone()).collect::<Vec<_>>()
    };
    let before = ids(&world);
    world.change_master("restored", &["--restore", &file]);
    assert_eq!(ids(&world), before);
    world.expect("/data", world.source.path());
    // What came later has another id, by which another worker may own it: then it is fetched once more.
    let later = [0, 90_000, 2 * MIB as u64, 2 * MIB as u64 + 90_000];
    let fetched = world.fetched("/data");
    assert!(later.contains(&fetched), "{fetched}");
}

#[test]
fn the_same_backup_can_be_restored_again_and_again() {
    let mut world = World::new(1);
    world.expect("/data", world.source.path());
    let file = world.backup("backup");
    for life in 1..=3_u64 {
        world.change_master(&format!("restored-{life}"), &["--restore", &file]);
        replace(&world.source.path().join("replaced"), 50 + life, 2 * MIB);
        write_file(&world.source.path().join(format!("of-life-{life}")), 60 + life, 10_000);
        world.expect("/data", world.source.path());
    }
    let incarnation = |path: &str| {
        let id = world.fleet.json(&["fs", "stat", path])["file_id"].as_str().map(str::to_owned);
        id.and_then(|id| id.split('-').next().map(str::to_owned)).expect("an id")
    };
    assert_ne!(incarnation("/data/of-life-3"), incarnation("/data/kept/small"));
}

#[test]
fn what_is_immutable_or_in_maintenance_is_restored_as_the_backup_has_it() {
    let mut world = World::new(1);
    let folders = ["/immutable", "/still"].map(|at| {
        let folder = tempfile::tempdir().expect("a folder");
        write_file(&folder.path().join("f"), 1, 1000);
        let freshness = if at == "/immutable" { "immutable" } else { "0s" };
        let uri = format!("file://{}", folder.path().display());
        done(&world.fleet.run(&["mount", &uri, at, "--freshness", freshness]));
        (at, folder, uri)
    });
    let names = |world: &World, at: &str| {
        let listed = world.fleet.json(&["fs", "ls", at]);
        let entries = listed["entries"].as_array().expect("a list").iter();
        entries.map(|entry| entry["name"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    folders.iter().for_each(|(at, ..)| assert_eq!(names(&world, at), ["f"]));
    done(&world.fleet.run(&["mount", &folders[1].2, "/still", "--mode", "no-access"]));
    let file = world.backup("backup");
    folders.iter().for_each(|(_, folder, _)| drop(write_file(&folder.path().join("later"), 2, 1000)));
    world.change_master("restored", &["--restore", &file]);
    folders.iter().for_each(|(at, ..)| assert_eq!(names(&world, at), ["f"], "{at}"));
    let mounts = world.fleet.json(&["mounts"])["mounts"].clone();
    let still = mounts.as_array().and_then(|mounts| mounts.iter().find(|mount| mount["path"] == "/still"));
    assert_eq!(still.expect("restored")["mode"], "NO_ACCESS");
    refused(&world.fleet.run(&["fs", "cat", "/still/f"]), &["is in maintenance"]);
    done(&world.fleet.run(&["mount", &folders[1].2, "/still", "--mode", "normal"]));
    world.expect("/still", folders[1].1.path());
    assert_eq!(names(&world, "/immutable"), ["f"]);
}

#[test]
fn a_new_format_under_an_old_worker_serves_no_byte_of_the_old_tree() {
    let mut world = World::new(1);
    let at = world.fleet.mount("host-0", "freshness=0s").join("data");
    world.expect("/data", world.source.path());
    assert_eq!(sums(&at), sums(world.source.path()));
    // The same names, lengths and times, once in another folder and once in the same.
    let other = tempfile::tempdir().expect("a folder");
    for (name, seed, length) in
        [("kept/small", 11, 110_000), ("kept/pages", 12, 3 * MIB + 5), ("replaced", 14, 2 * MIB)]
    {
        write_file(&other.path().join(name), seed, length);
        let modified = world.source.path().join(name).metadata().and_then(|f| f.modified()).expect("there");
        set_modified(&other.path().join(name), modified);
    }
    replace(&world.source.path().join("replaced"), 42, 2 * MIB);
    let cluster = world.fleet.json(&["admin", "report"])["cluster_id"].clone();
    world.change_master("master", &["--format", "--force"]);
    assert_ne!(world.fleet.json(&["admin", "report"])["cluster_id"], cluster);
    assert_eq!(world.fleet.json(&["mounts"])["mounts"], Value::Array(Vec::new()));
    done(&world.mount(other.path(), "/data"));
    world.expect("/data", other.path());
    assert_eq!(sums(&at), sums(other.path()), "through the mount that saw it all");
    done(&world.mount(world.source.path(), "/source"));
    world.expect("/source", world.source.path());
    assert!(world.fetched("/data") >= 2 * MIB as u64);
    assert_eq!(world.fetched("/source"), 2 * MIB as u64, "what was replaced, and nothing else");

    assert_eq!(world.fleet.workers[0].stop(), 0);
    world.fleet.workers[0] = world.fleet.start_worker(0);
    world.expect("/data", other.path());
    world.expect("/source", world.source.path());
}

#[test]
fn what_is_open_of_a_tree_that_is_no_more_is_an_error_and_is_opened_again() {
    let source = tempfile::tempdir().expect("a folder");
    // Larger than what is fetched ahead of a read.
    let large = write_file(&source.path().join("large"), 1, 60 * MIB);
    for mode in READ_MODES {
        let mut world = World::new(1);
        done(&world.mount(source.path(), "/large"));
        let path = world.fleet.mount("host-0", mode).join("large/large");
        let open = std::fs::File::open(&path).expect("opened");
        open.read_exact_at(&mut vec![0; MIB], 0).expect("read");
        world.change_master("master", &["--format", "--force"]);
        done(&world.mount(source.path(), "/large"));
        let error = open.read_exact_at(&mut vec![0; MIB], 59 * MIB as u64).expect_err("nobody knows it");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{mode}: {error}");
        wait_until("it is opened again", SOON, || std::fs::read(&path).is_ok_and(|read| read == large));
    }
}

#[test]
fn a_backup_of_a_busy_cluster_is_one_moment_of_it() {
    let mut world = World::new(1);
    let many = world.source.path().join("many");
    let backups: Vec<_> = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..160_u64 {
                write_file(&many.join(format!("d{}/f{number}", number % 8)), number, 100);
                if number % 20 == 0 {
                    done(&world.fleet.run(&["fs", "refresh", "-r", "/data"]));
                }
            }
        });
        let mut backups = Vec::new();
        while !writer.is_finished() {
            backups.push(world.backup(&format!("backup-{}", backups.len())));
        }
        writer.join().expect("written");
        backups
    });
    assert!(!backups.is_empty());
    let file = backups[backups.len() / 2].clone();
    world.change_master("restored", &["--restore", &file]);
    world.expect("/data", world.source.path());
}

#[test]
fn a_backup_replaces_nothing_unasked_and_leaves_no_half_file() {
    let mut world = World::new(0);
    let file = world.backup("backup");
    let before = std::fs::read(&file).expect("there");
    refused(&world.fleet.run(&["admin", "backup", &file]), &["the file exists", "--force"]);
    assert_eq!(std::fs::read(&file).expect("there"), before);
    refused(&world.fleet.run(&["admin", "backup", &world.path("no/such/folder")]), &["cannot back up to"]);
    refused(&world.fleet.run(&["admin", "backup", &world.path("")]), &["no regular file"]);
    let report = world.fleet.json(&["admin", "backup", &file, "--force"]);
    let length = std::fs::metadata(&file).expect("there").len();
    assert_eq!(report["length_bytes"].as_u64(), Some(length));
    for key in ["file", "cluster_id", "taken_at"] {
        assert!(report[key].is_string(), "{key}: {report}");
    }
    for key in ["rows", "incarnation", "log_index"] {
        assert!(report[key].as_u64() > Some(0), "{key}: {report}");
    }
    world.fleet.master.kill();
    let unreachable = world.fleet.run(&["admin", "backup", &world.path("late"), "--timeout", "500ms"]);
    assert_eq!(unreachable.code, 3, "{}", unreachable.stderr);
    let left: Vec<_> = std::fs::read_dir(world.fleet.dir()).expect("listed").flatten().collect();
    let names = left.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let backups: Vec<_> =
        names.filter(|name| name.starts_with("backup") || name.starts_with("late")).collect();
    assert_eq!(backups, ["backup"]);
}

#[test]
fn what_cannot_be_restored_or_formatted_is_refused_and_changes_nothing() {
    let mut world = World::new(0);
    let file = world.backup("backup");
    assert_eq!(world.fleet.master.stop(), 0);
    let (dir, empty) = (world.path("master"), world.path("empty"));
    let master = |further: &[&str], dir: &str| {
        let mut arguments = vec!["master", "--id", "1", "--dir", dir, "--listen", world.fleet.address()];
        arguments.extend(further);
        run(&arguments)
    };
    refused(
        &master(&["--restore", &file], &dir),
        &["holds the state of a master already", "without --restore"],
    );
    refused(&master(&["--format"], &dir), &["--force"]);
    let mut bytes = std::fs::read(&file).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let damaged = world.path("damaged");
    std::fs::write(&damaged, &bytes).expect("written");
    refused(&master(&["--restore", &damaged], &empty), &[&damaged, "damaged at byte", "block"]);
    std::fs::write(&damaged, &bytes[..middle]).expect("written");
    refused(&master(&["--restore", &damaged], &empty), &["damaged at byte"]);
    refused(&master(&["--restore", "/etc/hostname"], &empty), &["/etc/hostname", "no backup of Forebay"]);
    refused(&master(&["--restore", &world.path("missing")], &empty), &["missing"]);
    for wrong in [&["--force"][..], &["--without-credentials"], &["--format", "--restore", &file]] {
        assert_eq!(master(wrong, &empty).code, 2, "{wrong:?}");
    }
    world.fleet.restart_master();
    assert_eq!(world.fleet.json(&["mounts"])["mounts"][0]["path"], "/data", "nothing has changed");
}

#[test]
fn sealed_credentials_are_restored_with_the_key_of_the_cluster_and_not_without() {
    let rclone = Rclone::start("bucket", |folder| drop(write_file(&folder.join("f"), 1, 300_000)));
    let mut world = World::new(1);
    let options = [
        format!("endpoint={}", rclone.endpoint()),
        format!("access_key_id={KEY_ID}"),
        format!("secret_access_key={SECRET_KEY}"),
    ];
    let mut mount = vec!["mount", "s3://bucket", "/s3"];
    options.iter().for_each(|option| mount.extend(["--option", option]));
    done(&world.fleet.run(&mount));
    world.expect("/s3", &rclone.folder().join("bucket"));
    let file = world.backup("backup");
    let bytes = std::fs::read(&file).expect("there");
    assert!(!bytes.windows(SECRET_KEY.len()).any(|part| part == SECRET_KEY.as_bytes()));

    assert_eq!(world.fleet.master.stop(), 0);
    let dir = world.path("restored");
    let without = ["master", "--dir", &dir, "--listen", world.fleet.address(), "--restore", &file];
    refused(&run(&without), &["the mounts /s3 of", "cluster.key", "--without-credentials"]);
    std::fs::copy(
        world.fleet.dir().join("master/cluster.key"),
        world.fleet.dir().join("restored/cluster.key"),
    )
    .expect("copied");
    world.fleet.restart_master();
    world.change_master("restored", &["--restore", &file]);
    world.expect("/s3", &rclone.folder().join("bucket"));
    assert_eq!(world.fetched("/s3"), 0);
    write_file(&rclone.folder().join("bucket/f"), 2, 300_000);
    done(&world.fleet.run(&["fs", "refresh", "/s3"]));
    world.expect("/s3", &rclone.folder().join("bucket"));

    world.change_master("keyless", &["--restore", &file, "--without-credentials"]);
    world.expect("/data", world.source.path());
}
