//! The checksums of a tree of files, and the check that another place shows just these bytes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::{sha256, write_file};

/// Names below a folder, each with the SHA-256 of its content.
#[derive(Clone, Debug, Default)]
pub struct Sums(BTreeMap<String, String>);

impl Sums {
    /// Writes files of these names and lengths, the seeds of their contents counted from 1, and notes their sums.
    ///
    /// # Panics
    /// When one cannot be written.
    #[must_use]
    pub fn write<N: Into<String>>(root: &Path, files: impl IntoIterator<Item = (N, usize)>) -> Self {
        let mut sums = Self::default();
        for ((name, length), seed) in files.into_iter().zip(1..) {
            let name = name.into();
            let sum = sha256(&write_file(&root.join(&name), seed, length));
            sums.0.insert(name, sum);
        }
        sums
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether these bytes are the ones that were noted under a name.
    #[must_use]
    pub fn are_of(&self, name: &str, bytes: &[u8]) -> bool {
        self.0.get(name).is_some_and(|sum| *sum == sha256(bytes))
    }

    /// The names whose content, as `read` gives it, is another than the one that was noted, or cannot be had.
    #[must_use]
    pub fn wrong_by(&self, mut read: impl FnMut(&str) -> std::io::Result<Vec<u8>>) -> Vec<String> {
        let mut is_wrong = |name: &str| read(name).map_or(true, |bytes| !self.are_of(name, &bytes));
        self.names().filter(|name| is_wrong(name)).map(str::to_owned).collect()
    }

    /// The same of the files below a folder.
    #[must_use]
    pub fn wrong_in(&self, root: &Path) -> Vec<String> {
        self.wrong_by(|name| std::fs::read(root.join(name)))
    }

    /// Checks that a folder shows just these contents.
    ///
    /// # Panics
    /// When one is another, with the names.
    pub fn expect_in(&self, root: &Path) {
        let wrong = self.wrong_in(root);
        assert!(wrong.is_empty(), "{} does not show the bytes of the source: {wrong:?}", root.display());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Sums;

    #[test]
    fn a_byte_too_many_too_few_or_another_and_a_swap_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let files = [("a", 5000), ("b", 5000), ("c", 5000), ("d/e", 0), ("f", 1), ("g", 3)];
        let sums = Sums::write(folder.path(), files);
        sums.expect_in(folder.path());
        assert_eq!(sums.names().count(), 6);
        assert!(sums.are_of("d/e", b"") && !sums.are_of("d/e", b"x") && !sums.are_of("other", b""));

        let mut flipped = fs::read(at("c")).expect("there");
        flipped[4999] ^= 1;
        fs::write(at("c"), &flipped).expect("written");
        fs::write(at("d/e"), b"x").expect("written");
        fs::write(at("f"), b"").expect("written");
        fs::remove_file(at("g")).expect("removed");
        assert_eq!(sums.wrong_in(folder.path()), ["c", "d/e", "f", "g"]);

        fs::rename(at("a"), at("x")).expect("moved");
        fs::rename(at("b"), at("a")).expect("moved");
        fs::rename(at("x"), at("b")).expect("moved");
        assert_eq!(sums.wrong_in(folder.path()), ["a", "b", "c", "d/e", "f", "g"]);
    }
}
