//! The keys that are changed, and the directories that they make.

use std::collections::{BTreeMap, BTreeSet};

/// A key of the bucket, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub usize);

/// Some keys and their tree.
#[derive(Clone, Debug)]
pub struct Names {
    keys: Vec<String>,
    /// By path, the root as an empty one.
    directories: BTreeMap<String, Directory>,
}

/// What may be listed in a directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    /// Objects, by their last part.
    pub(crate) files: BTreeMap<String, Key>,
    /// Directories in it, each with the keys below it: it is there while one of these is.
    pub(crate) directories: BTreeMap<String, BTreeSet<Key>>,
    /// The keys below it.
    pub(crate) below: BTreeSet<Key>,
}

impl Names {
    /// The tree of these keys, none of which is a directory of another.
    #[must_use]
    pub fn new(keys: Vec<String>) -> Self {
        let mut directories = BTreeMap::from([(String::new(), Directory::default())]);
        for (number, key) in keys.iter().enumerate() {
            let (number, mut path) = (Key(number), String::new());
            for part in key.split_inclusive('/') {
                let here = directories.entry(path.clone()).or_default();
                here.below.insert(number);
                match part.strip_suffix('/') {
                    None => drop(here.files.insert(part.to_owned(), number)),
                    Some(name) => {
                        here.directories.entry(name.to_owned()).or_default().insert(number);
                        path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                    }
                }
            }
        }
        Self { keys, directories }
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        (0..self.keys.len()).map(Key)
    }

    /// The text of a key.
    ///
    /// # Panics
    /// When it is none of these.
    #[must_use]
    pub fn text(&self, key: Key) -> &str {
        &self.keys[key.0]
    }

    /// The directories' paths, the root's empty one among them.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        self.directories.keys().map(String::as_str)
    }

    pub(crate) fn directory(&self, path: &str) -> &Directory {
        &self.directories[path]
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Names};

    #[test]
    fn keys_make_directories() {
        let names = Names::new(["f", "a/f", "a/b/f"].map(str::to_owned).to_vec());
        assert_eq!(names.directories().collect::<Vec<_>>(), ["", "a", "a/b"]);
        let (root, deepest) = (names.directory(""), names.directory("a/b"));
        assert_eq!(root.files, [("f".to_owned(), Key(0))].into());
        assert_eq!(root.directories, [("a".to_owned(), [Key(1), Key(2)].into())].into());
        assert_eq!(root.below.len(), 3);
        assert_eq!(deepest.files, [("f".to_owned(), Key(2))].into());
        assert!(deepest.directories.is_empty());
    }
}
