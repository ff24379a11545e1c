//! The files that the master knows: which directories there are, how many files each has, and their names. The same for the
//! same number of files.

use std::ops::Range;

use forebay_types::{ByteCount, EntryKind, EntryName, Fingerprint, NamespacePath, Timestamp};

use forebay_metadata::ListedEntry;

/// Where they are mounted.
pub(super) const MOUNT: &str = "/data";
/// Fewest and most files of a directory.
const FILES_MIN: u64 = 100;
const FILES_MAX: u64 = 1000;
/// Directories of files in one directory above them.
const DIRECTORIES_PER_GROUP: usize = 200;
const MODIFIED: i64 = 1_700_000_000_000_000_000;

/// Directories of files, each with the numbers of its files.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) files: u64,
    directories: Vec<Range<u64>>,
}

impl Tree {
    pub(super) fn new(files: u64) -> Self {
        let mut directories = Vec::new();
        let mut first = 0;
        while first < files {
            let count = FILES_MIN + mixed(first) % (FILES_MAX - FILES_MIN + 1);
            let end = files.min(first + count);
            directories.push(first..end);
            first = end;
        }
        Self { files, directories }
    }

    /// How many directories have files.
    pub(super) fn directories(&self) -> usize {
        self.directories.len()
    }

    /// The directories above them, each with the numbers of those below it.
    pub(super) fn groups(&self) -> impl Iterator<Item = (EntryName, Range<usize>)> {
        let firsts = (0..self.directories()).step_by(DIRECTORIES_PER_GROUP);
        firsts.map(|first| {
            let end = self.directories().min(first + DIRECTORIES_PER_GROUP);
            (name(group_name(first)), first..end)
        })
    }

    /// What is listed of a directory's files.
    pub(super) fn entries(&self, directory: usize) -> Vec<ListedEntry> {
        self.directories[directory].clone().map(file).collect()
    }

    /// A directory that any of `random` chooses, by its path.
    pub(super) fn directory_path(&self, random: u64) -> NamespacePath {
        let number = usize::try_from(random % self.directories() as u64).expect("as many as are in memory");
        path(format!("{MOUNT}/{}/{}", group_name(number), directory_name(number)))
    }

    /// A file that any of `random` chooses, by its path.
    pub(super) fn file_path(&self, random: u64) -> NamespacePath {
        let file = random % self.files;
        let directory = self.directories.partition_point(|range| range.end <= file);
        let above = format!("{MOUNT}/{}/{}", group_name(directory), directory_name(directory));
        path(format!("{above}/{}", file_name(file)))
    }
}

/// What a listing shows of a directory.
pub(super) fn directory(name: EntryName) -> ListedEntry {
    let fingerprint = Fingerprint {
        tag: None,
        version_id: None,
        length: ByteCount::ZERO,
        modified: Timestamp::from_nanos(MODIFIED),
        local: None,
    };
    let kind = EntryKind::Directory;
    ListedEntry { name, kind, key: None, fingerprint, mode: None, uid: None, gid: None, symlink_target: None }
}

pub(super) fn directory_entry_name(directory: usize) -> EntryName {
    name(directory_name(directory))
}

/// As an object store shows it: with a tag of 32 digits.
fn file(number: u64) -> ListedEntry {
    let (low, high) = (mixed(number), mixed(number ^ u64::MAX));
    let fingerprint = Fingerprint {
        tag: Some(format!("\"{low:016x}{high:016x}\"")),
        version_id: None,
        length: ByteCount::new(length(number)),
        modified: Timestamp::from_nanos(
            MODIFIED + i64::try_from(number).expect("a small number") * 1_000_000,
        ),
        local: None,
    };
    ListedEntry { kind: EntryKind::File, fingerprint, ..directory(name(file_name(number))) }
}

/// How long a file is: up to 256 KiB.
pub(super) fn length(number: u64) -> u64 {
    1 + mixed(number) % (256 << 10)
}

fn group_name(directory: usize) -> String {
    format!("train-{:04}", directory / DIRECTORIES_PER_GROUP)
}

fn directory_name(directory: usize) -> String {
    format!("part-{directory:06}")
}

fn file_name(number: u64) -> String {
    format!("sample_{number:08}_{:05x}.jpg", mixed(number) & 0xf_ffff)
}

fn name(text: String) -> EntryName {
    EntryName::new(text.into_bytes()).expect("a name")
}

fn path(text: String) -> NamespacePath {
    text.parse().expect("a path")
}

/// Numbers that look as if they were random (the finalizer of splitmix64).
pub(super) fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
