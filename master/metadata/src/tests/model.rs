//! The naive tree: what the commands mean, written as plainly as possible, with paths instead of inodes.

use std::collections::BTreeMap;

use forebay_types::{EntryKind, ErrorKind};

use crate::command::{ApplyListing, ListedEntry};
use crate::testing::uri;

mod own;

type Outcome = Result<(), ErrorKind>;

/// What the model has at a path.
pub(super) enum Seen {
    File { tag: String, version: u64 },
    Symlink,
    Directory { loaded: bool, children: Vec<String>, mode: Option<u32> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    /// The root, and what only leads to mounts.
    Bare,
    /// Somebody made it.
    Made,
    Mount(&'static str),
    Loaded,
}

enum Body {
    File { tag: String, version: u64 },
    Symlink,
    Directory(Directory),
}

struct Directory {
    origin: Origin,
    loaded: bool,
    voided_at: u64,
    /// Of a mount's directory, once it was told.
    mode: Option<u32>,
    children: BTreeMap<String, Node>,
    gone: BTreeMap<String, u64>,
}

struct Node {
    changed_at: u64,
    body: Body,
}

pub(super) struct Model {
    root: Directory,
    next_version: u64,
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

impl Directory {
    fn new(origin: Origin) -> Self {
        let (children, gone) = (BTreeMap::new(), BTreeMap::new());
        Self { origin, loaded: false, voided_at: 0, mode: None, children, gone }
    }

    fn at(&mut self, path: &[&str]) -> Option<&mut Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        match &mut self.children.get_mut(*first)?.body {
            Body::Directory(directory) => directory.at(rest),
            _ => None,
        }
    }

    fn mounts(&self, path: &str, found: &mut Vec<(String, &'static str)>) {
        if let Origin::Mount(uri) = self.origin {
            found.push((path.to_owned(), uri));
        }
        for (name, node) in &self.children {
            if let Body::Directory(directory) = &node.body {
                directory.mounts(&format!("{path}/{name}"), found);
            }
        }
    }

    const fn is_own(&self) -> bool {
        matches!(self.origin, Origin::Bare | Origin::Made)
    }

    fn leads_to_mount(&self) -> bool {
        let mut found = Vec::new();
        self.mounts("", &mut found);
        !found.is_empty()
    }

    fn walk(&self, path: &str, see: &mut impl FnMut(&str, Seen)) {
        let children = self.children.keys().cloned().collect();
        let loaded = self.loaded || self.is_own();
        see(if path.is_empty() { "/" } else { path }, Seen::Directory { loaded, children, mode: self.mode });
        for (name, node) in &self.children {
            let path = format!("{path}/{name}");
            match &node.body {
                Body::Directory(directory) => directory.walk(&path, see),
                Body::Symlink => see(&path, Seen::Symlink),
                Body::File { tag, version } => see(&path, Seen::File { tag: tag.clone(), version: *version }),
            }
        }
    }

    /// Whether the under-store may remove the name or make something else of it.
    fn is_protected(&self, name: &str) -> bool {
        match &self.children[name].body {
            Body::Directory(directory) => directory.origin != Origin::Loaded || directory.leads_to_mount(),
            _ => false,
        }
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self { root: Directory::new(Origin::Bare), next_version: 0 }
    }

    pub(super) fn walk(&self, see: &mut impl FnMut(&str, Seen)) {
        self.root.walk("", see);
    }

    pub(super) fn mounts(&self) -> Vec<(String, &'static str)> {
        let mut found = Vec::new();
        self.root.mounts("", &mut found);
        found
    }

    fn version(&mut self) -> u64 {
        self.next_version += 1;
        self.next_version
    }

    pub(super) fn mount(&mut self, at: &str, what: &'static str, index: u64) -> Outcome {
        if let Some((_, mounted)) = self.mounts().iter().find(|(path, _)| path == at) {
            return if *mounted == what { Ok(()) } else { Err(ErrorKind::AlreadyExists) };
        }
        let path = parts(at);
        let overlaps = self.mounts().iter().any(|(_, mounted)| uri(mounted).overlaps(&uri(what)));
        let Some((last, above)) = path.split_last() else { return Err(ErrorKind::InvalidArgument) };
        if overlaps {
            return Err(ErrorKind::InvalidArgument);
        }
        for end in 1..path.len() {
            let exists = self
                .root
                .at(&path[..end - 1])
                .is_some_and(|parent| parent.children.contains_key(path[end - 1]));
            if exists && self.root.at(&path[..end]).is_none() {
                return Err(ErrorKind::NotADirectory);
            }
        }
        if self.root.at(above).is_some_and(|parent| parent.children.contains_key(*last)) {
            return Err(ErrorKind::InvalidArgument);
        }
        let mut directory = &mut self.root;
        for (depth, name) in path.iter().enumerate() {
            let origin = if depth + 1 == path.len() { Origin::Mount(what) } else { Origin::Bare };
            directory.gone.remove(*name);
            let new = || Node { changed_at: index, body: Body::Directory(Directory::new(origin)) };
            match &mut directory.children.entry((*name).to_owned()).or_insert_with(new).body {
                Body::Directory(next) => directory = next,
                _ => panic!("checked above"),
            }
        }
        Ok(())
    }

    pub(super) fn unmount(&mut self, at: &str, index: u64) -> Outcome {
        let mounts = self.mounts();
        if !mounts.iter().any(|(path, _)| path == at) {
            return Err(ErrorKind::NotFound);
        }
        if mounts.iter().any(|(path, _)| path.starts_with(&format!("{at}/"))) {
            return Err(ErrorKind::Busy);
        }
        let path = parts(at);
        for end in (0..path.len()).rev() {
            let parent = self.root.at(&path[..end]).expect("the path exists");
            parent.children.remove(path[end]);
            if !parent.is_own() {
                parent.loaded = false;
                parent.voided_at = index;
                break;
            }
            if !parent.children.is_empty() || parent.origin == Origin::Made {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn describe(&mut self, at: &str, mode: u32, begun_at: u64, index: u64) -> Outcome {
        let path = parts(at);
        let Some((last, above)) = path.split_last() else { return Err(ErrorKind::InvalidArgument) };
        let parent = self.root.at(above).expect("the path exists");
        let node = parent.children.get_mut(*last).expect("the path exists");
        match &mut node.body {
            Body::Directory(directory) if matches!(directory.origin, Origin::Mount(_)) => {
                if node.changed_at <= begun_at && directory.mode != Some(mode) {
                    directory.mode = Some(mode);
                    node.changed_at = index;
                }
                Ok(())
            }
            _ => Err(ErrorKind::InvalidArgument),
        }
    }

    pub(super) fn forget(&mut self, at: &str, index: u64) -> Outcome {
        let directory = self.root.at(&parts(at)).ok_or(ErrorKind::NotADirectory)?;
        if directory.is_own() {
            return Err(ErrorKind::InvalidArgument);
        }
        directory.children.retain(|_, node| matches!(node.body, Body::Directory(_)));
        directory.loaded = false;
        directory.voided_at = index;
        directory.gone.clear();
        Ok(())
    }

    pub(super) fn supersede(&mut self, at: &str, tag: Option<&str>, index: u64) -> Outcome {
        let fresh = self.version();
        let path = parts(at);
        let Some((last, above)) = path.split_last() else { return Err(ErrorKind::InvalidArgument) };
        let parent = self.root.at(above).expect("the path exists");
        let node = parent.children.get_mut(*last).expect("the path exists");
        let Body::File { tag: known, version } = &mut node.body else {
            return Err(ErrorKind::InvalidArgument);
        };
        match tag {
            None => {
                parent.children.remove(*last);
                parent.gone.insert((*last).to_owned(), index);
            }
            Some(tag) if tag == known => {}
            Some(tag) => {
                (*known, *version) = (tag.to_owned(), fresh);
                node.changed_at = index;
            }
        }
        Ok(())
    }

    pub(super) fn list(&mut self, at: &str, listing: &ApplyListing, index: u64) -> Outcome {
        let fresh: Vec<u64> = listing.upserts.iter().map(|_| self.version()).collect();
        let begun_at = listing.begun_at.get();
        let directory = self.root.at(&parts(at)).ok_or(ErrorKind::NotADirectory)?;
        if directory.is_own() {
            return Err(ErrorKind::InvalidArgument);
        }
        if begun_at < directory.voided_at {
            return Err(ErrorKind::Stale);
        }
        for (entry, fresh) in listing.upserts.iter().zip(fresh) {
            upsert(directory, entry, begun_at, index, fresh);
        }
        for name in &listing.removals {
            let name = name.to_string();
            let Some(node) = directory.children.get(&name) else { continue };
            if node.changed_at <= begun_at && !directory.is_protected(&name) {
                directory.children.remove(&name);
                if !listing.complete {
                    directory.gone.insert(name, index);
                }
            }
        }
        if listing.complete {
            directory.loaded = true;
            directory.gone.retain(|_, gone_at| *gone_at > begun_at);
        }
        Ok(())
    }
}

fn upsert(directory: &mut Directory, entry: &ListedEntry, begun_at: u64, index: u64, fresh: u64) {
    let name = entry.name.to_string();
    let tag = entry.fingerprint.tag.clone().unwrap_or_default();
    let new = || match entry.kind {
        EntryKind::File => Body::File { tag: tag.clone(), version: fresh },
        EntryKind::Symlink => Body::Symlink,
        EntryKind::Directory => Body::Directory(Directory::new(Origin::Loaded)),
    };
    if directory.gone.get(&name).is_some_and(|gone_at| *gone_at > begun_at) {
        return;
    }
    let Some(node) = directory.children.get(&name) else {
        directory.gone.remove(&name);
        directory.children.insert(name, Node { changed_at: index, body: new() });
        return;
    };
    if node.changed_at > begun_at {
        return;
    }
    let protected = directory.is_protected(&name);
    let node = directory.children.get_mut(&name).expect("looked at above");
    match (&mut node.body, entry.kind) {
        (Body::Directory(known), EntryKind::Directory) => {
            if known.origin == Origin::Bare {
                known.origin = Origin::Loaded;
                node.changed_at = index;
            }
        }
        (Body::File { tag: known, version }, EntryKind::File) => {
            if *known != tag {
                (*known, *version) = (tag, fresh);
                node.changed_at = index;
            }
        }
        (Body::Symlink, EntryKind::Symlink) => {}
        _ if protected => {}
        _ => *node = Node { changed_at: index, body: new() },
    }
}
