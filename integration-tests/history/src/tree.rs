//! The namespace as one tree that one operation after another reads and changes: what a history is measured against.
//!
//! Directories only. Where an operation is refused for more than one reason, any of them may be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::operation::{Answer, Inode, Mode, Operation, Outcome, ROOT, Refusal};

/// All directories but the root, by their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tree(BTreeMap<String, Directory>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Directory {
    /// `None` where its maker was not told.
    inode: Option<Inode>,
    mode: Mode,
}

impl Tree {
    /// Carries out one operation; a directory that it makes gets the id `made`, if that is known.
    ///
    /// # Errors
    /// Each reason for which it may be refused; nothing has changed then.
    pub fn apply(&mut self, operation: &Operation, made: Option<Inode>) -> Result<Answer, BTreeSet<Refusal>> {
        let refusals = self.refusals(operation);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(match operation {
            Operation::MakeDirectory { path, mode } => {
                self.0.insert(path.clone(), Directory { inode: made, mode: *mode });
                made.map_or(Answer::Done, Answer::Made)
            }
            Operation::SetMode { path, mode } => {
                if let Some(directory) = self.0.get_mut(path) {
                    directory.mode = *mode;
                }
                Answer::Done
            }
            Operation::RemoveDirectory { path } => {
                self.0.remove(path);
                Answer::Done
            }
            Operation::Rename { from, to } => {
                self.rename(from, to);
                Answer::Done
            }
            Operation::Stat { path } => {
                let Directory { inode, mode } = self.0[path];
                Answer::Seen { inode: inode.unwrap_or_default(), mode }
            }
            Operation::List { inode } => Answer::Names(self.names(*inode)),
        })
    }

    /// Whether a client that asked for `operation` of this tree may have been told `outcome`.
    #[must_use]
    pub fn explains(&self, operation: &Operation, outcome: &Outcome) -> bool {
        let is_free = |inode: &Inode| *inode != ROOT && self.path_of(*inode).is_none();
        match (operation, outcome) {
            (_, Outcome::Unknown(_)) => true,
            (_, Outcome::Refused(refusal)) => self.refusals(operation).contains(refusal),
            (Operation::MakeDirectory { .. }, Outcome::Ok(Answer::Made(inode))) => {
                self.refusals(operation).is_empty() && is_free(inode)
            }
            (
                Operation::RemoveDirectory { .. } | Operation::Rename { .. } | Operation::SetMode { .. },
                Outcome::Ok(Answer::Done),
            ) => self.refusals(operation).is_empty(),
            (Operation::Stat { path }, Outcome::Ok(Answer::Seen { inode, mode })) => {
                self.0.get(path).is_some_and(|directory| {
                    let is_it = directory.inode.map_or_else(|| is_free(inode), |known| known == *inode);
                    is_it && directory.mode == *mode
                })
            }
            (Operation::List { inode }, Outcome::Ok(Answer::Names(names))) => {
                self.refusals(operation).is_empty() && self.names(*inode) == *names
            }
            _ => false,
        }
    }

    fn refusals(&self, operation: &Operation) -> BTreeSet<Refusal> {
        let mut refusals = BTreeSet::new();
        let mut refuse = |holds: bool, refusal| holds.then(|| refusals.insert(refusal));
        match operation {
            Operation::MakeDirectory { path, .. } => {
                refuse(!self.has(parent(path)), Refusal::NotFound);
                refuse(self.has(path), Refusal::Exists);
            }
            Operation::RemoveDirectory { path } => {
                refuse(!self.has(path), Refusal::NotFound);
                refuse(self.below(path).next().is_some(), Refusal::NotEmpty);
            }
            Operation::Rename { from, to } => {
                refuse(!self.has(from) || !self.has(parent(to)), Refusal::NotFound);
                // An empty directory is replaced.
                refuse(from != to && self.below(to).next().is_some(), Refusal::NotEmpty);
                refuse(is_below(from, to), Refusal::IntoItself);
            }
            Operation::SetMode { path, .. } | Operation::Stat { path } => {
                refuse(!self.has(path), Refusal::NotFound);
            }
            Operation::List { inode } => {
                refuse(self.path_of(*inode).is_none(), Refusal::NotFound);
            }
        }
        refusals
    }

    fn rename(&mut self, from: &str, to: &str) {
        let mut moved: Vec<(String, String)> = vec![(from.to_owned(), to.to_owned())];
        moved.extend(self.below(from).map(|path| (path.to_owned(), format!("{to}{}", &path[from.len()..]))));
        for (before, after) in moved {
            let directory = self.0.remove(&before).expect("it was just there");
            self.0.insert(after, directory);
        }
    }

    fn path_of(&self, inode: Inode) -> Option<&str> {
        if inode == ROOT {
            return Some("/");
        }
        self.0.iter().find(|(_, of)| of.inode == Some(inode)).map(|(path, _)| path.as_str())
    }

    fn names(&self, inode: Inode) -> BTreeSet<String> {
        let Some(path) = self.path_of(inode) else { return BTreeSet::new() };
        let inside = self.0.keys().filter(|known| parent(known) == path);
        inside.map(|known| known.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }

    fn has(&self, path: &str) -> bool {
        path == "/" || self.0.contains_key(path)
    }

    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(move |known| is_below(path, known))
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, (path, directory)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            let inode = directory.inode.map_or_else(|| "?".to_owned(), |inode| inode.to_string());
            write!(f, "{comma}{path} {inode} {:04o}", directory.mode)?;
        }
        f.write_str("}")
    }
}

/// The directory that a path lies in.
pub(crate) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// Whether a path leads through a directory.
pub(crate) fn is_below(directory: &str, path: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories, each with its id and the same number as its bits.
    fn tree(directories: &[(&str, Mode)]) -> Tree {
        let of = |mode: Mode| Directory { inode: Some(Inode::from(mode)), mode };
        Tree(directories.iter().map(|(path, mode)| ((*path).to_owned(), of(*mode))).collect())
    }

    fn rename(from: &str, to: &str) -> Operation {
        Operation::Rename { from: from.into(), to: to.into() }
    }

    fn stat(path: &str) -> Operation {
        Operation::Stat { path: path.into() }
    }

    #[test]
    fn a_directory_moves_with_all_that_is_in_it_and_nothing_beside_it_does() {
        let mut tree = tree(&[("/a", 2), ("/a/x", 3), ("/a/x/y", 4), ("/a/xx", 5), ("/b", 6)]);
        assert_eq!(tree.apply(&rename("/a/x", "/b/z"), None), Ok(Answer::Done));
        assert_eq!(tree.to_string(), "{/a 2 0002, /a/xx 5 0005, /b 6 0006, /b/z 3 0003, /b/z/y 4 0004}");
    }

    #[test]
    fn an_empty_directory_is_replaced_and_a_move_to_where_it_is_does_nothing() {
        let mut tree = tree(&[("/a", 2), ("/a/x", 3), ("/b", 4)]);
        assert_eq!(tree.apply(&rename("/a/x", "/b"), None), Ok(Answer::Done));
        assert_eq!(tree.apply(&rename("/b", "/b"), None), Ok(Answer::Done));
        assert_eq!(tree.to_string(), "{/a 2 0002, /b 3 0003}");
    }

    #[test]
    fn each_reason_for_a_refusal_is_given_and_nothing_changes() {
        let before = tree(&[("/a", 2), ("/a/x", 3)]);
        let mut tree = before.clone();
        let mkdir = |path: &str| Operation::MakeDirectory { path: path.into(), mode: 7 };
        let rmdir = |path: &str| Operation::RemoveDirectory { path: path.into() };
        for (operation, refusals) in [
            (mkdir("/a/x"), vec![Refusal::Exists]),
            (mkdir("/b/x"), vec![Refusal::NotFound]),
            (rmdir("/a"), vec![Refusal::NotEmpty]),
            (rmdir("/b"), vec![Refusal::NotFound]),
            (rename("/a/y", "/a"), vec![Refusal::NotFound, Refusal::NotEmpty]),
            (rename("/a/x", "/a"), vec![Refusal::NotEmpty]),
            (rename("/a/x", "/b/x"), vec![Refusal::NotFound]),
            (rename("/a", "/a/x/y"), vec![Refusal::IntoItself]),
            (Operation::SetMode { path: "/b".into(), mode: 1 }, vec![Refusal::NotFound]),
            (stat("/a/x/y"), vec![Refusal::NotFound]),
            (Operation::List { inode: 4 }, vec![Refusal::NotFound]),
        ] {
            let expected: BTreeSet<_> = refusals.into_iter().collect();
            assert_eq!(tree.apply(&operation, None), Err(expected.clone()), "{operation}");
            assert!(Refusal::ALL.iter().all(|refusal| {
                tree.explains(&operation, &Outcome::Refused(*refusal)) == expected.contains(refusal)
            }));
            assert!(!tree.explains(&operation, &Outcome::Ok(Answer::Done)), "{operation}");
        }
        assert_eq!(tree, before);
    }

    #[test]
    fn reads_tell_the_bits_and_the_names_that_are_there() {
        let tree = tree(&[("/a", 2), ("/a/x", 3), ("/a/x/y", 4), ("/b", 5)]);
        let names = |names: &[&str]| {
            Outcome::Ok(Answer::Names(names.iter().map(|name| (*name).to_owned()).collect()))
        };
        let list = |inode| Operation::List { inode };
        assert!(tree.explains(&list(ROOT), &names(&["a", "b"])));
        assert!(tree.explains(&list(2), &names(&["x"])));
        assert!(tree.explains(&list(5), &names(&[])));
        assert!(!tree.explains(&list(2), &names(&["x", "y"])));
        let seen = |inode, mode| Outcome::Ok(Answer::Seen { inode, mode });
        assert!(tree.explains(&stat("/a/x"), &seen(3, 3)));
        assert!(!tree.explains(&stat("/a/x"), &seen(3, 4)));
        assert!(!tree.explains(&stat("/a/x"), &seen(9, 3)), "another directory");
    }

    #[test]
    fn an_id_that_nobody_was_told_may_be_any_that_is_no_other_ones() {
        let mut tree = tree(&[("/a", 2)]);
        let made = tree.apply(&Operation::MakeDirectory { path: "/b".into(), mode: 3 }, None);
        assert_eq!(made, Ok(Answer::Done));
        let seen = |inode| Outcome::Ok(Answer::Seen { inode, mode: 3 });
        assert!(tree.explains(&stat("/b"), &seen(8)) && tree.explains(&stat("/b"), &seen(9)));
        assert!(!tree.explains(&stat("/b"), &seen(2)) && !tree.explains(&stat("/b"), &seen(ROOT)));
        let mkdir = Operation::MakeDirectory { path: "/c".into(), mode: 4 };
        assert!(!tree.explains(&mkdir, &Outcome::Ok(Answer::Made(2))), "ids are never used twice");
    }
}
