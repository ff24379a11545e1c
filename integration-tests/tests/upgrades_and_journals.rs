//! Masters of one version after the other on the same folder, damaged folders, and what people are shown of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forebay_integration_tests::{Fleet, Output, run, sha256, write_file};
use forebay_metadata::{Mutation, StateReader, Table};
use forebay_storage::StateStore;
use serde_json::Value;

fn refused(output: &Output, with: &[&str]) {
    assert_eq!(output.code, 1, "{}", output.stderr);
    for part in with {
        assert!(output.stderr.contains(part), "{} should say `{part}`", output.stderr);
    }
}

/// The files below a folder by their names, each with the SHA-256 of its content.
fn sums(root: &Path) -> BTreeMap<PathBuf, String> {
    let (mut sums, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let sum = sha256(&std::fs::read(&path).expect("readable"));
                sums.insert(path, sum);
            }
        }
    }
    sums
}

/// Writes the feature level into the state of a master that is stopped: 1 as a version from before there were levels left
/// it, more as a later version may leave it.
fn set_level(master: &Path, level: u8) {
    let state = StateStore::open(&master.join("state/1")).expect("opened");
    let mut row = state.get(Table::Counters, b"identity").expect("read").expect("there");
    // Format 1 has no level, and format 2 has it at its end.
    if row[0] == 2 {
        row.pop();
    }
    row[0] = if level == 1 { 1 } else { 2 };
    if level > 1 {
        row.push(level);
    }
    let row = Mutation { table: Table::Counters, key: b"identity".to_vec(), value: Some(row) };
    state.commit(vec![row], &[]).expect("written");
    state.sync().expect("synced");
}

struct World {
    fleet: Fleet,
    source: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let source = tempfile::tempdir().expect("a folder");
        write_file(&source.path().join("a/f"), 1, 10);
        write_file(&source.path().join("b/f"), 2, 10);
        let world = Self { fleet: Fleet::start(0), source };
        world.mount("a");
        world
    }

    fn mount(&self, name: &str) {
        let uri = format!("file://{}", self.source.path().join(name).display());
        let mounted = self.fleet.run(&["mount", &uri, &format!("/{name}")]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    }

    fn mounts(&self) -> usize {
        self.fleet.json(&["mounts"])["mounts"].as_array().expect("a list").len()
    }

    fn master(&self) -> PathBuf {
        self.fleet.dir().join("master")
    }

    fn stop(&mut self) {
        assert_eq!(self.fleet.master.stop(), 0);
    }

    /// Starts the master once, which is to be refused.
    fn refused_start(&self, with: &[&str]) {
        let dir = self.master().display().to_string();
        refused(&run(&["master", "--id", "1", "--dir", &dir, "--listen", self.fleet.address()]), with);
    }

    fn inspect(&self, dir: &Path, further: &[&str]) -> Output {
        let dir = dir.display().to_string();
        run(&[&["admin", "journal", "inspect", "--dir", &dir], further].concat())
    }
}

#[test]
fn a_cluster_of_an_older_version_goes_on_at_its_level_until_the_operator_raises_it() {
    let mut world = World::new();
    let level = |world: &World, further: &[&str]| {
        world.fleet.json(&[&["admin", "masters", "level"], further].concat())
    };
    assert_eq!(level(&world, &[])["current"], 2, "a new cluster begins at the highest level");
    world.stop();
    set_level(&world.master(), 1);
    world.fleet.restart_master();
    let old = level(&world, &[]);
    assert_eq!((&old["current"], &old["known"]), (&Value::from(1), &Value::from(2)), "{old}");
    assert_eq!(old["masters"][0]["known"], 2, "{old}");
    world.mount("b");
    let text = world.fleet.run(&["admin", "masters", "level"]).stdout;
    assert!(
        text.contains("feature level 1; the leading master knows up to 2") && text.contains("--raise"),
        "{text}"
    );

    let raised = level(&world, &["--raise"]);
    assert_eq!((&raised["before"], &raised["current"]), (&Value::from(1), &Value::from(2)), "{raised}");
    let again = world.fleet.run(&["admin", "masters", "level", "--raise"]);
    assert!(again.code == 0 && again.stdout.contains("already"), "{}", again.stdout);
    world.fleet.master.kill();
    world.fleet.restart_master();
    assert_eq!(level(&world, &[])["current"], 2);
    assert_eq!(world.mounts(), 2);
}

#[test]
fn a_master_that_is_too_old_for_its_state_refuses_and_leaves_it_to_a_newer_one() {
    let mut world = World::new();
    world.stop();
    set_level(&world.master(), 9);
    world.refused_start(&["feature level 9", "upgrade this master"]);
    world.refused_start(&["feature level 9"]);
    set_level(&world.master(), 2);
    for part in ["state/1", "log"] {
        let format = world.master().join(part).join("FORMAT");
        let before = std::fs::read_to_string(&format).expect("there");
        let (magic, _) = before.split_once(' ').expect("a version");
        std::fs::write(&format, format!("{magic} 99\n")).expect("written");
        world.refused_start(&["FORMAT says format 99", "upgrade Forebay"]);
        std::fs::write(&format, before).expect("written");
    }
    world.fleet.restart_master();
    assert_eq!(world.mounts(), 1, "nothing is lost");
}

#[test]
fn the_journal_of_a_running_master_is_shown_and_nothing_is_changed() {
    let world = World::new();
    let before = sums(&world.master());
    let text = world.inspect(&world.master(), &[]);
    assert_eq!(text.code, 0, "{}", text.stderr);
    let mount = text.stdout.lines().find(|line| line.contains("  mount  ")).expect("the mount");
    assert!(mount.contains("file://") && mount.ends_with("Relaxed") && mount.contains("\"/a\""), "{mount}");
    let index: u64 = mount.split_whitespace().next().and_then(|index| index.parse().ok()).expect("an index");
    let one = world.inspect(&world.master(), &["--from", &index.to_string(), "--to", &index.to_string()]);
    let lines: Vec<_> = one.stdout.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, [mount]);
    let json = world.inspect(&world.master(), &["--output", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("one document");
    let entries = json["entries"].as_array().expect("a list");
    assert!(entries.iter().any(|entry| entry["commands"][0]["command"] == "mount"), "{json}");
    let state = world.inspect(&world.master(), &["--state"]);
    assert!(state.stdout.contains("mounts 00000001 "), "{}", state.stdout);
    let rows = world.inspect(&world.master(), &["--state", "--output", "json"]);
    let rows: Value = serde_json::from_str(&rows.stdout).expect("one document");
    let shown = state.stdout.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(shown));
    assert_eq!(sums(&world.master()), before);
    assert_eq!(world.mounts(), 1);
}

#[test]
fn what_is_no_masters_folder_cannot_be_inspected_and_is_left_alone() {
    let (empty, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    write_file(&other.path().join("log/db/CURRENT"), 1, 10);
    write_file(&other.path().join("FORMAT"), 2, 10);
    let world = World::new();
    for dir in [empty.path(), other.path()] {
        let before = sums(dir);
        for further in [&[][..], &["--state"]] {
            let shown = dir.display().to_string();
            refused(
                &world.inspect(dir, further),
                &["cannot look into", &shown, "nothing was changed", "--dir"],
            );
        }
        assert_eq!(sums(dir), before);
    }
    assert_eq!(run(&["admin", "journal", "inspect", "--dir", "/x", "--from", "3", "--to", "2"]).code, 2);
    assert_eq!(run(&["admin", "journal", "inspect", "--dir", "/x", "--from", "3", "--state"]).code, 2);
}

/// Cuts the longest file with this ending below a folder to a part of its length; what it was.
fn cut(folder: &Path, ending: &str) -> (PathBuf, Vec<u8>) {
    let files = sums(folder).into_keys().filter(|path| path.to_string_lossy().ends_with(ending));
    let longest = files.max_by_key(|path| path.metadata().expect("there").len()).expect("a file");
    let bytes = std::fs::read(&longest).expect("read");
    std::fs::write(&longest, &bytes[..bytes.len() * 2 / 3]).expect("written");
    (longest, bytes)
}

#[test]
fn cut_table_files_and_cut_manifests_are_refused_and_opened_again_once_they_are_whole() {
    let mut world = World::new();
    world.stop();
    // A start writes what the write-ahead logs have into table files.
    world.fleet.restart_master();
    world.stop();
    for (part, ending) in [("state", ".sst"), ("log", ".sst")] {
        let folder = world.master().join(part);
        let (file, bytes) = cut(&folder, ending);
        let before = sums(&folder.join(if part == "state" { "1/db" } else { "db" }))[&file].clone();
        world.refused_start(&["the master did not start", &folder.display().to_string()]);
        assert_eq!(sums(&folder)[&file], before, "what is damaged is left as it is");
        let shown = world.inspect(&world.master(), if part == "state" { &["--state"] } else { &[] });
        assert_eq!(shown.code, 1, "{part}: {}", shown.stdout);
        std::fs::write(&file, bytes).expect("written");
    }
    world.fleet.restart_master();
    assert_eq!(world.mounts(), 1, "nothing is lost");
}

#[test]
fn what_the_state_has_is_kept_when_the_end_of_the_log_was_cut() {
    let mut world = World::new();
    world.mount("b");
    world.fleet.master.kill();
    let (_file, _bytes) = cut(&world.master().join("log/db"), ".log");
    let shown = world.inspect(&world.master(), &[]);
    assert!(shown.stdout.contains("# node"), "{} {}", shown.stdout, shown.stderr);
    world.fleet.restart_master();
    assert_eq!(world.mounts(), 2, "both were applied");
    assert_eq!(world.fleet.run(&["unmount", "/b"]).code, 0);
    world.fleet.master.kill();
    world.fleet.restart_master();
    assert_eq!(world.mounts(), 1);
}
