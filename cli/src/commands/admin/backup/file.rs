//! A backup as a file: it appears whole or not at all.
//!
//! It is written under another name beside the file, synced, read again from the begin to the end, and only then given its
//! name. Whatever happens, the file is a whole backup or what it was before.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use forebay_master::backup::{BackupReader, BackupSummary};

use super::Unusable;
use crate::failure::Failure;

const READ_AHEAD: usize = 1 << 20;

/// A file that goes unless it is finished.
pub(super) struct Unfinished<'a> {
    file: File,
    path: PathBuf,
    is_finished: bool,
    /// What it is to become.
    target: &'a Path,
    force: bool,
}

pub(super) fn refuse_existing(file: &Path, force: bool) -> Result<(), Failure> {
    match fs::symlink_metadata(file) {
        Ok(found) if !found.is_file() => Err(Failure::new(format!(
            "cannot back up to {}: it is no regular file; choose another name",
            file.display()
        ))),
        Ok(_) if !force => Err(exists(file)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot_write(file, &error)),
    }
}

/// Sees to it that the name stays.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn exists(file: &Path) -> Failure {
    Failure::new(format!(
        "cannot back up to {}: the file exists; choose another name, or say --force to replace it",
        file.display()
    ))
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    Failure::new(format!(
        "cannot back up to {}: {error}; choose a place that can be written and has room",
        file.display()
    ))
}

impl<'a> Unfinished<'a> {
    /// A file of a name of its own beside `file`, for its owner alone: a backup has every name of the namespace.
    pub(super) fn beside(file: &'a Path, force: bool) -> Result<Self, Failure> {
        let name = file.file_name().ok_or_else(|| {
            Failure::usage(format!("{}: name the file that the backup is to be", file.display()))
        })?;
        let mut own: OsString = name.to_owned();
        own.push(format!(".unfinished-{}", std::process::id()));
        let path = file.with_file_name(own);
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let own = opened.map_err(|error| cannot_write(file, &error))?;
        Ok(Self { file: own, path, is_finished: false, target: file, force })
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.file.write_all(piece).map_err(|error| cannot_write(self.target, &error))
    }

    /// Checks what was written, and gives it its name if `accepts` takes it.
    pub(super) fn finish(
        mut self,
        accepts: impl FnOnce(&BackupSummary) -> Result<(), Unusable>,
    ) -> Result<BackupSummary, Unusable> {
        let file = self.target;
        let write_failed = |error: io::Error| Unusable::Target(cannot_write(file, &error));
        self.file.sync_all().map_err(write_failed)?;
        let read = File::open(&self.path).map_err(write_failed)?;
        let summary =
            BackupReader::open(BufReader::with_capacity(READ_AHEAD, read)).and_then(BackupReader::check);
        let summary = summary.map_err(|error| Unusable::no_backup(&error))?;
        accepts(&summary)?;
        if !self.force {
            // Unlike a rename this replaces nothing that came meanwhile. Where there are no links the rename must do.
            match fs::hard_link(&self.path, file) {
                Ok(()) => return sync_folder(file).map(|()| summary).map_err(write_failed),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Unusable::Target(exists(file)));
                }
                Err(_) => {}
            }
        }
        fs::rename(&self.path, file).map_err(write_failed)?;
        self.is_finished = true;
        sync_folder(file).map_err(write_failed)?;
        Ok(summary)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // One that cannot be removed bears a name that says what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}
