//! `forebay admin backup FILE`: the cluster's state as a file.
//!
//! It is written under another name beside FILE, synced, read again from the begin to the end, and only then given its
//! name. Whatever happens, FILE is a whole backup or what it was before.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use forebay_master::backup::{BackupReader, BackupSummary};
use forebay_types::ByteCount;
use serde_json::json;

use crate::args::{BackupArguments, GlobalArguments, OutputFormat};
use crate::commands::session::Session;
use crate::failure::Failure;
use crate::output::{self, hex};

const READ_AHEAD: usize = 1 << 20;

/// A file that goes unless it is finished.
struct Unfinished {
    file: File,
    path: PathBuf,
    is_finished: bool,
}

pub(super) async fn run(global: &GlobalArguments, arguments: BackupArguments) -> Result<(), Failure> {
    let BackupArguments { file, force } = arguments;
    refuse_existing(&file, force)?;
    let session = Session::begin(global).await?;
    let failed = |error| Failure::client(format!("back up to {}", file.display()), &error);
    let mut backup = session.client.backup().await.map_err(failed)?;
    let mut written = Unfinished::beside(&file)?;
    while let Some(piece) = backup.next().await.map_err(failed)? {
        written.file.write_all(&piece).map_err(|error| cannot_write(&file, &error))?;
    }
    let summary = written.finish(&file, force)?;
    report(global, &file, &summary)
}

fn report(global: &GlobalArguments, file: &Path, summary: &BackupSummary) -> Result<(), Failure> {
    let BackupSummary { description, rows, length } = summary;
    let taken_at = jiff::Timestamp::from_nanosecond(i128::from(description.taken_at.nanos()));
    let taken_at = taken_at.map(|at| at.to_string()).unwrap_or_default();
    match global.output {
        OutputFormat::Json => output::print_json(&json!({
            "file": file.display().to_string(),
            "length_bytes": length,
            "rows": rows,
            "cluster_id": hex(description.cluster.bytes()),
            "incarnation": description.incarnation.get(),
            "log_index": description.index.get(),
            "taken_at": taken_at,
        })),
        OutputFormat::Text => output::print_line(&format!(
            "wrote {} ({}): {rows} rows of cluster {}, taken {taken_at}; keep the master's cluster.key beside it if \
             mounts have secrets",
            file.display(),
            ByteCount::new(*length),
            description.cluster,
        )),
    }
}

fn refuse_existing(file: &Path, force: bool) -> Result<(), Failure> {
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

impl Unfinished {
    /// A file of a name of its own beside `file`, for its owner alone: a backup has every name of the namespace.
    fn beside(file: &Path) -> Result<Self, Failure> {
        let name = file.file_name().ok_or_else(|| {
            Failure::usage(format!("{}: name the file that the backup is to be", file.display()))
        })?;
        let mut own: OsString = name.to_owned();
        own.push(format!(".unfinished-{}", std::process::id()));
        let path = file.with_file_name(own);
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        Ok(Self { file: opened.map_err(|error| cannot_write(file, &error))?, path, is_finished: false })
    }

    /// Checks what was written, and gives it its name.
    fn finish(mut self, file: &Path, force: bool) -> Result<BackupSummary, Failure> {
        let write_failed = |error: io::Error| cannot_write(file, &error);
        self.file.sync_all().map_err(write_failed)?;
        let read = File::open(&self.path).map_err(write_failed)?;
        let summary =
            BackupReader::open(BufReader::with_capacity(READ_AHEAD, read)).and_then(BackupReader::check);
        let summary = summary.map_err(|error| {
            Failure::new(format!(
                "cannot back up to {}: what came from the master is no backup: {error}",
                file.display()
            ))
        })?;
        if !force {
            // Unlike a rename this replaces nothing that came meanwhile. Where there are no links the rename must do.
            match fs::hard_link(&self.path, file) {
                Ok(()) => return sync_folder(file).map(|()| summary).map_err(write_failed),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(file)),
                Err(_) => {}
            }
        }
        fs::rename(&self.path, file).map_err(write_failed)?;
        self.is_finished = true;
        sync_folder(file).map_err(write_failed)?;
        Ok(summary)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            // One that cannot be removed bears a name that says what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}
