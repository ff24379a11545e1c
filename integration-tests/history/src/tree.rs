//! The namespace as one tree that one operation after another reads and changes: what a history is measured against.
//!
//! Directories only. Where an operation is refused for more than one reason, any of them may be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::operation::{Answer, Mode, Operation, Outcome, Refusal};

/// All directories but the root, with their permission bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tree(BTreeMap<String, Mode>);

impl Tree {
    /// Carries out one operation.
    ///
    /// # Errors
    /// Each reason for which it may be refused; nothing has changed then.
    pub fn apply(&mut self, operation: &Operation) -> Result<Answer, BTreeSet<Refusal>> {
        let refusals = self.refusals(operation);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(match operation {
            Operation::MakeDirectory { path, mode } | Operation::SetMode { path, mode } => {
                self.0.insert(path.clone(), *mode);
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
            Operation::Stat { path } => Answer::Mode(self.0.get(path).copied().unwrap_or_default()),
            Operation::List { path } => Answer::Names(self.names(path)),
        })
    }

    /// Whether a client that asked for `operation` of this tree may have been told `outcome`.
    #[must_use]
    pub fn explains(&self, operation: &Operation, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Unknown(_) => true,
            Outcome::Refused(refusal) => self.refusals(operation).contains(refusal),
            Outcome::Ok(answer) if operation.is_mutation() => {
                *answer == Answer::Done && self.refusals(operation).is_empty()
            }
            // Reads change nothing.
            Outcome::Ok(answer) => self.clone().apply(operation).as_ref() == Ok(answer),
        }
    }

    /// The paths of all directories, the root's not among them.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
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
            Operation::SetMode { path, .. } | Operation::Stat { path } | Operation::List { path } => {
                refuse(!self.has(path), Refusal::NotFound);
            }
        }
        refusals
    }

    fn rename(&mut self, from: &str, to: &str) {
        let mut moved: Vec<(String, String)> = vec![(from.to_owned(), to.to_owned())];
        moved.extend(self.below(from).map(|path| (path.to_owned(), format!("{to}{}", &path[from.len()..]))));
        for (before, after) in moved {
            let mode = self.0.remove(&before).expect("it was just there");
            self.0.insert(after, mode);
        }
    }

    fn names(&self, path: &str) -> BTreeSet<String> {
        let inside = self.0.keys().filter(|known| parent(known) == path);
        inside.map(|known| known.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }

    fn has(&self, path: &str) -> bool {
        path == "/" || self.0.contains_key(path)
    }

    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        self.paths().filter(move |known| is_below(path, known))
    }
}

impl FromIterator<(String, Mode)> for Tree {
    fn from_iter<T: IntoIterator<Item = (String, Mode)>>(directories: T) -> Self {
        Self(directories.into_iter().collect())
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, (path, mode)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{path} {mode:04o}")?;
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

fn is_below(directory: &str, path: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(directories: &[(&str, Mode)]) -> Tree {
        directories.iter().map(|(path, mode)| ((*path).to_owned(), *mode)).collect()
    }

    fn rename(from: &str, to: &str) -> Operation {
        Operation::Rename { from: from.into(), to: to.into() }
    }

    #[test]
    fn a_directory_moves_with_all_that_is_in_it_and_nothing_beside_it_does() {
        let mut tree = tree(&[("/a", 1), ("/a/x", 2), ("/a/x/y", 3), ("/a/xx", 4), ("/b", 5)]);
        assert_eq!(tree.apply(&rename("/a/x", "/b/z")), Ok(Answer::Done));
        assert_eq!(tree.to_string(), "{/a 0001, /a/xx 0004, /b 0005, /b/z 0002, /b/z/y 0003}");
    }

    #[test]
    fn an_empty_directory_is_replaced_and_a_move_to_where_it_is_does_nothing() {
        let mut tree = tree(&[("/a", 1), ("/a/x", 2), ("/b", 3)]);
        assert_eq!(tree.apply(&rename("/a/x", "/b")), Ok(Answer::Done));
        assert_eq!(tree.apply(&rename("/b", "/b")), Ok(Answer::Done));
        assert_eq!(tree.to_string(), "{/a 0001, /b 0002}");
    }

    #[test]
    fn each_reason_for_a_refusal_is_given_and_nothing_changes() {
        let before = tree(&[("/a", 1), ("/a/x", 2)]);
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
            (Operation::Stat { path: "/a/x/y".into() }, vec![Refusal::NotFound]),
        ] {
            let expected: BTreeSet<_> = refusals.into_iter().collect();
            assert_eq!(tree.apply(&operation), Err(expected.clone()), "{operation}");
            assert!(Refusal::ALL.iter().all(|refusal| {
                tree.explains(&operation, &Outcome::Refused(*refusal)) == expected.contains(refusal)
            }));
            assert!(!tree.explains(&operation, &Outcome::Ok(Answer::Done)), "{operation}");
        }
        assert_eq!(tree, before);
    }

    #[test]
    fn reads_tell_the_bits_and_the_names_that_are_there() {
        let tree = tree(&[("/a", 1), ("/a/x", 2), ("/a/x/y", 3), ("/b", 4)]);
        let list = |path: &str| Operation::List { path: path.into() };
        let names = |names: &[&str]| {
            Outcome::Ok(Answer::Names(names.iter().map(|name| (*name).to_owned()).collect()))
        };
        assert!(tree.explains(&list("/"), &names(&["a", "b"])));
        assert!(tree.explains(&list("/a"), &names(&["x"])));
        assert!(tree.explains(&list("/b"), &names(&[])));
        assert!(!tree.explains(&list("/a"), &names(&["x", "y"])));
        let stat = Operation::Stat { path: "/a/x".into() };
        assert!(tree.explains(&stat, &Outcome::Ok(Answer::Mode(2))));
        assert!(!tree.explains(&stat, &Outcome::Ok(Answer::Mode(1))));
    }
}
