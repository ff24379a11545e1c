//! The file `FORMAT` beside each database: what the folder holds, and in which version of its layout.
//!
//! One line of text, such as `forebay-state 2`. It is written before the database is made, so a folder with a database
//! and without it is no folder of ours. A folder of an earlier version becomes one of this version when it is opened.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::StorageError;

const FILE: &str = "FORMAT";
const DATABASE: &str = "db";
/// More than any format file has.
const LENGTH_MAX: usize = 64;

/// A kind of folder and its layout's version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// The word that the file begins with.
    pub(crate) magic: &'static str,
    /// The version that is written, and the newest that can be read.
    pub(crate) version: u32,
}

impl Format {
    /// Checks the folder, or makes it where it is missing or empty. Gives the database's path.
    pub(crate) fn open(self, dir: &Path) -> Result<PathBuf, StorageError> {
        fs::create_dir_all(dir).map_err(StorageError::file("create", dir))?;
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                if self.check(&path, &bytes)? < self.version {
                    // Before the database is changed, so that no earlier version opens what it does not know.
                    self.write(dir)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if dir.join(DATABASE).exists() {
                    let problem =
                        "is missing beside a database: the folder is damaged or not of Forebay".to_owned();
                    return Err(StorageError::Format { path, problem });
                }
                self.write(dir)?;
            }
            Err(error) => return Err(StorageError::file("read", &path)(error)),
        }
        Ok(dir.join(DATABASE))
    }

    /// Checks the folder and leaves it as it is. Gives the database's path.
    pub(crate) fn look(self, dir: &Path) -> Result<PathBuf, StorageError> {
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => self.check(&path, &bytes).map(|_| dir.join(DATABASE)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let problem = format!("is missing: the folder is no `{}`", self.magic);
                Err(StorageError::Format { path, problem })
            }
            Err(error) => Err(StorageError::file("read", &path)(error)),
        }
    }

    /// Makes a folder that has no database yet, for a copy of one. Gives the database's path.
    pub(crate) fn create(self, dir: &Path) -> Result<PathBuf, StorageError> {
        fs::create_dir(dir).map_err(StorageError::file("create", dir))?;
        self.write(dir)?;
        Ok(dir.join(DATABASE))
    }

    /// The file appears whole or not at all, and is on disk before the database is.
    fn write(self, dir: &Path) -> Result<(), StorageError> {
        let (path, new) = (dir.join(FILE), dir.join("FORMAT.new"));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(format!("{} {}\n", self.magic, self.version).as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(StorageError::file("write", &path))
    }

    /// The version that the file says, if it can be read.
    fn check(self, path: &Path, bytes: &[u8]) -> Result<u32, StorageError> {
        let wrong = |problem: String| StorageError::Format { path: path.to_owned(), problem };
        let text = bytes.get(..bytes.len().min(LENGTH_MAX)).map(String::from_utf8_lossy).unwrap_or_default();
        let Some((magic, rest)) = text.split_once(' ') else {
            return Err(wrong("is damaged: it names no format".to_owned()));
        };
        if magic != self.magic {
            return Err(wrong(format!("says `{}`, where `{}` is needed", magic.escape_debug(), self.magic)));
        }
        let version = rest.strip_suffix('\n').and_then(|digits| digits.parse().ok());
        match version {
            Some(found) if found > self.version => {
                Err(StorageError::NewerFormat { path: path.to_owned(), found, known: self.version })
            }
            Some(found @ 1..) => Ok(found),
            _ => Err(wrong("is damaged: it has no version".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { magic: "forebay-test", version: 2 };

    #[test]
    fn a_folder_is_made_once_and_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/b");
        assert_eq!(FORMAT.open(&dir).unwrap(), dir.join("db"));
        assert_eq!(fs::read(dir.join("FORMAT")).unwrap(), b"forebay-test 2\n");
        FORMAT.open(&dir).unwrap();
    }

    #[test]
    fn older_formats_are_taken_over_and_newer_ones_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("FORMAT"), "forebay-test 1\n").unwrap();
        FORMAT.open(folder.path()).unwrap();
        assert_eq!(fs::read(folder.path().join("FORMAT")).unwrap(), b"forebay-test 2\n");
        fs::write(folder.path().join("FORMAT"), "forebay-test 3\n").unwrap();
        let refused = FORMAT.open(folder.path()).unwrap_err();
        let shown = refused.to_string();
        assert!(
            shown.contains("FORMAT says format 3; this version knows up to 2: upgrade Forebay"),
            "{shown}"
        );
    }

    #[test]
    fn a_damaged_or_foreign_format_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let texts: [&[u8]; 8] = [
            b"",
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\xff\xfe",
            b"forebay-test",
            b"forebay-test 1",
            b"forebay-test x\n",
            b"forebay-test 0\n",
            b"forebay-other 1\n",
        ];
        for text in texts {
            fs::write(folder.path().join("FORMAT"), text).unwrap();
            assert!(matches!(FORMAT.open(folder.path()), Err(StorageError::Format { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_database_without_a_format_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("db")).unwrap();
        assert!(matches!(FORMAT.open(folder.path()), Err(StorageError::Format { .. })));
        assert!(!folder.path().join("FORMAT").exists());
    }
}
