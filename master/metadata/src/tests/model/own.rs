//! Directories outside of mounts in the naive tree.

use forebay_types::ErrorKind;

use super::{Body, Directory, Model, Node, Origin, Outcome, parts};

impl Model {
    /// How many parts of a path exist, all outside of mounts but for the last, which may be a mount's.
    fn own(&self, path: &[&str]) -> Result<(usize, bool), ErrorKind> {
        let mut directory = &self.root;
        for (at, name) in path.iter().enumerate() {
            let Some(node) = directory.children.get(*name) else { return Ok((at, false)) };
            let Body::Directory(next) = &node.body else { panic!("files are in mounts") };
            match (next.is_own(), at + 1 == path.len()) {
                (true, _) => directory = next,
                (false, true) => return Ok((path.len(), true)),
                (false, false) => return Err(ErrorKind::ReadOnly),
            }
        }
        Ok((path.len(), false))
    }

    /// The same of a path all of which must exist.
    fn existing(&self, path: &[&str]) -> Result<bool, ErrorKind> {
        let (found, is_mount_point) = self.own(path)?;
        if found < path.len() { Err(ErrorKind::NotFound) } else { Ok(is_mount_point) }
    }

    fn keep(&mut self, path: &[&str]) {
        let mut directory = &mut self.root;
        for name in path {
            let Some(Node { body: Body::Directory(next), .. }) = directory.children.get_mut(*name) else {
                return;
            };
            if next.origin == Origin::Bare {
                next.origin = Origin::Made;
            }
            directory = next;
        }
    }

    pub(in super::super) fn make(&mut self, at: &str, parents: bool, mode: u32, index: u64) -> Outcome {
        let path = parts(at);
        let (found, is_mount_point) = self.own(&path)?;
        if found == path.len() && !parents {
            return Err(ErrorKind::AlreadyExists);
        }
        if found + 1 < path.len() && !parents {
            return Err(ErrorKind::NotFound);
        }
        self.keep(&path[..found - usize::from(is_mount_point)]);
        for end in found..path.len() {
            let mut made = Directory::new(Origin::Made);
            made.mode = Some(mode);
            let node = Node { changed_at: index, body: Body::Directory(made) };
            let parent = self.root.at(&path[..end]).expect("made or found");
            parent.children.insert(path[end].to_owned(), node);
        }
        Ok(())
    }

    pub(in super::super) fn remove(&mut self, at: &str) -> Outcome {
        let path = parts(at);
        let is_mount_point = self.existing(&path)?;
        let Some((last, above)) = path.split_last() else { return Err(ErrorKind::InvalidArgument) };
        if is_mount_point {
            return Err(ErrorKind::Busy);
        }
        if !self.root.at(&path).expect("it exists").children.is_empty() {
            return Err(ErrorKind::NotEmpty);
        }
        self.root.at(above).expect("it exists").children.remove(*last);
        Ok(())
    }

    pub(in super::super) fn rename(&mut self, from: &str, to: &str, index: u64) -> Outcome {
        let (source, target) = (parts(from), parts(to));
        let (Some((old, from_above)), Some((new, to_above))) = (source.split_last(), target.split_last())
        else {
            return Err(ErrorKind::InvalidArgument);
        };
        if self.existing(&source)? {
            return Err(ErrorKind::Busy);
        }
        if source == target {
            return Ok(());
        }
        if target.starts_with(&source) {
            return Err(ErrorKind::InvalidArgument);
        }
        let (found, is_mount_point) = self.own(&target)?;
        if found < to_above.len() {
            return Err(ErrorKind::NotFound);
        }
        if is_mount_point {
            return Err(ErrorKind::Busy);
        }
        if found == target.len() && !self.root.at(&target).expect("it exists").children.is_empty() {
            return Err(ErrorKind::NotEmpty);
        }
        self.keep(&source);
        self.keep(to_above);
        let moved = self.root.at(from_above).expect("it exists").children.remove(*old).expect("it exists");
        let node = Node { changed_at: index, ..moved };
        self.root.at(to_above).expect("it exists").children.insert((*new).to_owned(), node);
        Ok(())
    }

    pub(in super::super) fn set_mode(&mut self, at: &str, mode: u32) -> Outcome {
        let path = parts(at);
        if self.existing(&path)? {
            return Err(ErrorKind::ReadOnly);
        }
        self.keep(&path);
        self.root.at(&path).expect("it exists").mode = Some(mode);
        Ok(())
    }
}
