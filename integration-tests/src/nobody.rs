//! The binary as a user without rights runs it, in a folder that this user owns.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::binary::{clean, forebay};

/// The user `nobody`, and the group of each Debian that has no rights.
const ID: u32 = 65_534;

/// What a program of the machine tells that user of a path.
///
/// # Panics
/// When not run by root.
#[must_use]
pub fn by_nobody(program: &str, path: &Path) -> Output {
    as_nobody(Command::new("setpriv"))
        .arg(program)
        .arg(path)
        .output()
        .expect("setpriv is part of each Debian")
}

/// A folder of that user with a copy of the binary, which may lie where only root can look.
#[derive(Debug)]
pub struct Nobody {
    dir: TempDir,
}

impl Nobody {
    /// Makes the folder.
    ///
    /// # Panics
    /// When not run by root.
    #[must_use]
    pub fn new() -> Self {
        let nobody = Self { dir: tempfile::tempdir().expect("a folder") };
        std::fs::set_permissions(nobody.dir(), Permissions::from_mode(0o755)).expect("our own folder");
        std::fs::copy(forebay(), nobody.binary()).expect("copied");
        chown(nobody.dir(), Some(ID), Some(ID)).expect("only root may give a folder away");
        nobody
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The binary as this user; arguments are to be added.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = as_nobody(clean(Command::new("setpriv")));
        command.arg(self.binary());
        command
    }

    fn binary(&self) -> PathBuf {
        self.dir().join("forebay")
    }
}

fn as_nobody(mut setpriv: Command) -> Command {
    setpriv.args([format!("--reuid={ID}"), format!("--regid={ID}"), "--clear-groups".to_owned()]);
    setpriv
}

impl Default for Nobody {
    fn default() -> Self {
        Self::new()
    }
}
