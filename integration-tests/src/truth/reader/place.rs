//! A mount of the bucket, and the looks that keep nothing open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::looks::absent_or_error;
use super::{Observation, Seen, Way};
use crate::binary::run;
use crate::truth::checker::Wrong;
use crate::truth::contents::{Contents, contents_of};
use crate::truth::names::Key;
use crate::truth::witness::Witness;

/// Where a bucket is seen.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
    /// Where commands find the master.
    master: String,
    /// The path that the bucket is attached at.
    attached: String,
    /// The number that was read through each inode, and the length.
    inodes: Mutex<BTreeMap<u64, (u32, u64)>>,
}

impl Place {
    /// A folder that shows the bucket which the cluster of a master has attached at a path.
    #[must_use]
    pub fn new(root: PathBuf, master: &str, attached: &str) -> Self {
        Self { root, master: master.to_owned(), attached: attached.to_owned(), inodes: Mutex::default() }
    }

    pub(super) fn path_of(&self, witness: &Witness, key: Key) -> PathBuf {
        self.root.join(witness.names().text(key))
    }

    pub(super) fn stat(&self, witness: &Witness, key: Key) {
        let asked = witness.now();
        let status = fs::symlink_metadata(self.path_of(witness, key));
        let answered = witness.now();
        let seen = match status {
            Ok(status) if !status.is_file() => Seen::Error(format!("a {:?}", status.file_type())),
            // The version that is known by its inode says more than a length.
            Ok(status) => match self.inodes.lock().get(&status.ino()) {
                Some((number, length)) if *length == status.len() => Seen::Version(*number),
                Some(other) => Seen::Mixed(format!("an inode of {other:?} with {} bytes", status.len())),
                None => Seen::Length(status.len()),
            },
            Err(error) => absent_or_error("stat", &error),
        };
        witness.saw(Way::Stat.name(), &Observation { key, seen, asked, answered });
    }

    /// Runs `fs cat`.
    pub(super) fn cat(&self, witness: &Witness, key: Key) {
        let path = format!("{}/{}", self.attached, witness.names().text(key));
        let asked = witness.now();
        let output = run(&["fs", "cat", &path, "--masters", &self.master]);
        let answered = witness.now();
        let seen = match (output.code, &output.stderr) {
            (0, _) => seen_in(output.stdout.as_bytes()),
            (_, said) if said.contains("does not exist") || said.contains("there is no directory") => {
                Seen::Absent
            }
            (_, said) if said.contains("is no longer the content of") => Seen::Gone,
            (code, said) => Seen::Error(format!("exit code {code}: {said}")),
        };
        witness.saw(Way::Command.name(), &Observation { key, seen, asked, answered });
    }

    /// Lists a directory: what is shown is there, and what is not is not.
    pub(super) fn list(&self, witness: &Witness, path: &str) {
        let asked = witness.now();
        let listed = self.listed(path);
        let window = (asked, witness.now());
        let shown = match listed {
            Ok(shown) => shown,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return witness.condemn(Way::List.name(), Wrong::Error, format!("{path}/: {error}"));
            }
        };
        let directory = witness.names().directory(path);
        let judge = |key: &Key, seen: Seen| {
            let (asked, answered) = window;
            witness.saw(Way::List.name(), &Observation { key: *key, seen, asked, answered });
        };
        for (name, key) in &directory.files {
            judge(key, shown.get(name).map_or(Seen::Absent, seen_by_type));
        }
        for (name, below) in &directory.directories {
            if shown.contains_key(name) {
                witness.saw_directory(Way::List.name(), &format!("{path}/{name}"), below.iter(), window);
            } else {
                below.iter().for_each(|key| judge(key, Seen::Absent));
            }
        }
        let known: BTreeSet<_> = directory.files.keys().chain(directory.directories.keys()).collect();
        for name in shown.keys().filter(|name| !known.contains(name)) {
            witness.condemn(Way::List.name(), Wrong::NeverWas, format!("{path}/: {name}"));
        }
    }

    /// Names and kinds, each once.
    fn listed(&self, path: &str) -> io::Result<BTreeMap<String, FileType>> {
        let mut shown = BTreeMap::new();
        for entry in fs::read_dir(self.root.join(Path::new(path)))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(twice) = shown.insert(name, entry.file_type()?) {
                return Err(io::Error::other(format!("{:?} twice, once a {twice:?}", entry.file_name())));
            }
        }
        Ok(shown)
    }

    /// What all bytes of an open file are; from now on they are those of its inode.
    pub(super) fn seen(&self, witness: &Witness, way: Way, file: &File, bytes: &[u8]) -> Seen {
        let seen = seen_in(bytes);
        if let (Seen::Version(number), Ok(status)) = (&seen, file.metadata()) {
            let now = (*number, bytes.len() as u64);
            let known = *self.inodes.lock().entry(status.ino()).or_insert(now);
            if known != now {
                let text = format!("an inode: {} showed {known:?} and then {now:?}", status.ino());
                witness.condemn(way.name(), Wrong::Mixed, text);
            }
        }
        seen
    }
}

fn seen_in(bytes: &[u8]) -> Seen {
    match contents_of(bytes) {
        Contents::Empty => Seen::Length(0),
        Contents::Version(number) => Seen::Version(number),
        Contents::Torn(at) => {
            let record = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(32)]).into_owned();
            let there = bytes.get(at.0..).map(record);
            Seen::Mixed(format!("{at:?} of {}: {:?} and then {there:?}", bytes.len(), record(bytes)))
        }
    }
}

fn seen_by_type(kind: &FileType) -> Seen {
    if kind.is_file() { Seen::Present } else { Seen::Error(format!("a {kind:?}")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Place, Wrong};
    use crate::truth::{Key, Names, Reader, State, Way, Witness, numbered};

    #[test]
    fn what_a_folder_shows_in_error_is_found_in_every_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = ["stale", "deleted", "missing", "mixed", "right"];
        let names = Names::new(keys.map(str::to_owned).to_vec());
        let witness = Witness::new(names.clone(), Duration::ZERO);
        let old = numbered(1, 10_000);
        let states = [(2, 10_000), (0, 0), (3, 100), (4, 10_000), (1, 10_000)];
        for (key, (number, length)) in names.keys().zip(states) {
            let was = State::Version { number: 1, length: 10_000 };
            let is = if number == 0 { State::Absent } else { State::Version { number, length } };
            witness.change(key, was, || ());
            witness.change(key, is, || ());
        }
        for name in ["stale", "deleted", "right"] {
            std::fs::write(folder.path().join(name), &old).expect("written");
        }
        let mixed = [&numbered(4, 10_000)[..4096], &old[4096..]].concat();
        std::fs::write(folder.path().join("mixed"), mixed).expect("written");
        let places = [Place::new(folder.path().to_owned(), "", "")];
        let expected = [
            Some(Wrong::Stale),
            Some(Wrong::LostDeletion),
            Some(Wrong::MissingKey),
            Some(Wrong::Mixed),
            None,
        ];
        for way in [Way::Read, Way::Map, Way::Hold] {
            for (number, expected) in expected.iter().enumerate() {
                let before = witness.violations().len();
                let mut reader = Reader::new(&witness, &places, 1);
                reader.look_at(&places[0], Key(number), way);
                reader.resume_all();
                let found = witness.violations()[before..].first().map(|violation| violation.wrong);
                assert_eq!(found, *expected, "{way:?} of {}", keys[number]);
            }
        }
    }
}
