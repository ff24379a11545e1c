//! `fs cat` and `fs get`: bytes of files, to standard output or into a folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use forebay_client::{Client, Entry};
use forebay_types::{EntryKind, FileOffset, NamespacePath};

use super::Found;
use super::walk::Walk;
use crate::commands::session::TypedPath;
use crate::failure::Failure;

/// Bytes asked for at once.
const CHUNK: usize = 4 << 20;

/// `fs cat`: one file after the other.
pub(super) async fn cat(client: &Client, paths: &[TypedPath]) -> Result<(), Failure> {
    for typed in paths {
        let (entry, at) = (typed.resolve(client).await?, &typed.path);
        match copy(client, at, &entry, &mut io::stdout().lock()).await {
            // Whoever reads has seen enough, such as `head`.
            Err(CopyError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error.failure(at, "standard output")),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// `fs get`: a file, or with `recursive` a directory with all below it. What is there already is replaced, each file
/// only once it is whole.
pub(super) async fn get(found: &Found, target: &Path, recursive: bool) -> Result<(), Failure> {
    let Found { client, at: source, entry } = found;
    if entry.kind != EntryKind::Directory {
        let name = source.names().last().map(|name| std::ffi::OsStr::from_bytes(name.as_bytes()));
        let target = match name {
            Some(name) if target.is_dir() => target.join(name),
            _ => target.to_owned(),
        };
        return get_file(client, source, entry, &target).await;
    }
    if !recursive {
        return Err(Failure::new(format!(
            "cannot get {source}: it is a directory; say -r to get all below it"
        )));
    }
    let made = |at: &Path| {
        std::fs::create_dir_all(at)
            .map_err(|error| Failure::new(format!("cannot make {}: {error}", at.display())))
    };
    made(target)?;
    let mut walk = Walk::new(client, source.clone(), entry.inode);
    while let Some((at, entry)) = walk.next().await? {
        let below = below(source, &at);
        match entry.kind {
            EntryKind::Directory => made(&target.join(below))?,
            EntryKind::File => get_file(client, &at, &entry, &target.join(below)).await?,
            EntryKind::Symlink => {
                let link = target.join(below);
                let points_to = std::ffi::OsStr::from_bytes(&entry.symlink_target);
                std::os::unix::fs::symlink(points_to, &link).map_err(|error| {
                    Failure::new(format!("cannot make the link {}: {error}", link.display()))
                })?;
            }
        }
    }
    Ok(())
}

fn below(source: &NamespacePath, at: &NamespacePath) -> PathBuf {
    let names = at.names().iter().skip(source.names().len());
    names.map(|name| std::ffi::OsStr::from_bytes(name.as_bytes())).collect()
}

/// What is at `target` decides: a regular file is replaced once the new one is whole, and keeps its mode; a device or a
/// pipe is written into; a link is followed.
async fn get_file(client: &Client, at: &NamespacePath, entry: &Entry, target: &Path) -> Result<(), Failure> {
    let shown = target.display().to_string();
    let failed = |error: io::Error| CopyError::Write(error).failure(at, &shown);
    let target = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
    let before = std::fs::metadata(&target).ok();
    if before.as_ref().is_some_and(|before| !before.is_file() && !before.is_dir()) {
        let mut sink = OpenOptions::new().write(true).open(&target).map_err(failed)?;
        let copied = copy(client, at, entry, &mut sink).await;
        return copied.map_err(|error| error.failure(at, &shown));
    }
    let (mut file, partial) = partial_file(&target).map_err(failed)?;
    let copied = copy(client, at, entry, &mut file).await;
    let placed = copied.and_then(|()| {
        before
            .map_or(Ok(()), |before| file.set_permissions(before.permissions()))
            .map_err(CopyError::Write)?;
        std::fs::rename(&partial, &target).map_err(CopyError::Write)
    });
    placed.map_err(|error| {
        // What is left of it would only be in the way.
        let _ = std::fs::remove_file(&partial);
        error.failure(at, &shown)
    })
}

/// A new file in the folder of `target`, under a short name that nothing there has.
fn partial_file(target: &Path) -> io::Result<(File, PathBuf)> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let process = std::process::id();
    for number in 0_u32.. {
        let path = folder.join(format!(".forebay-{process}-{number}.partial"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (file, path)),
        }
    }
    Err(io::Error::other("no name is free"))
}

/// Why bytes did not arrive.
enum CopyError {
    Read(forebay_client::ClientError),
    Write(io::Error),
    NoFile,
}

impl CopyError {
    fn failure(&self, at: &NamespacePath, target: &str) -> Failure {
        match self {
            Self::Read(error) => Failure::client(format!("read {at}"), error),
            Self::Write(error) => Failure::new(format!("cannot write {at} to {target}: {error}")),
            Self::NoFile => Failure::new(format!("cannot read {at}: it is no file")),
        }
    }
}

async fn copy(
    client: &Client,
    at: &NamespacePath,
    entry: &Entry,
    sink: &mut dyn Write,
) -> Result<(), CopyError> {
    let (opened, _) = client.open(entry.inode).await.map_err(|error| match entry.kind {
        EntryKind::File => CopyError::Read(error),
        EntryKind::Directory | EntryKind::Symlink => CopyError::NoFile,
    })?;
    let Some((version, capability)) = opened.version else {
        return Err(CopyError::NoFile);
    };
    tracing::debug!(path = %at, file = %version.file, "reading");
    let length = version.length().get();
    let reader = client.reader(version, capability).renewed_by(opened.inode);
    let mut offset = 0;
    while offset < length {
        let bytes = reader.read_at(FileOffset::new(offset), CHUNK).await.map_err(CopyError::Read)?;
        sink.write_all(&bytes).map_err(CopyError::Write)?;
        offset += bytes.len() as u64;
    }
    sink.flush().map_err(CopyError::Write)
}
