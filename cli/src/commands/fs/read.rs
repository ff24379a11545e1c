//! `fs cat` and `fs get`: bytes of files, to standard output or into a folder.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use forebay_client::{Client, Entry};
use forebay_types::{EntryKind, FileOffset, NamespacePath};

use super::walk::Walk;
use super::{Found, why_no_file};
use crate::commands::session::TypedPath;
use crate::failure::{Failure, UNREACHABLE};

/// Bytes asked for at once.
const CHUNK: usize = 4 << 20;
/// What a mode says of reading, writing and entering.
const PERMISSION_BITS: u32 = 0o777;
/// The owner's part of them.
const OWNER_BITS: u32 = 0o700;

/// `fs cat`: one file after the other; one that cannot be read does not hold up the others.
pub(super) async fn cat(client: &Client, paths: &[TypedPath]) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for typed in paths {
        let at = &typed.path;
        let copied = match typed.resolve(client).await {
            Ok(entry) => copy(client, at, &entry, &mut io::stdout().lock()).await,
            Err(failure) => Err(CopyError::Lookup(failure)),
        };
        match copied {
            // Whoever reads has seen enough, such as `head`.
            Err(CopyError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => {
                // It would be no better with the next file.
                let is_last = matches!(error, CopyError::Write(_));
                let failure = error.failure(at, "standard output");
                let is_last = is_last || failure.exit_code() == UNREACHABLE;
                failures.push(failure);
                if is_last {
                    break;
                }
            }
            Ok(()) => {}
        }
    }
    Failure::of_all(failures)
}

/// `fs get`: a file, or with `recursive` a directory with all below it. What is there already is replaced, each file
/// only once it is whole. What is new has the source's mode less the umask.
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
    let mut folders = Folders::default();
    let got = get_all(found, target, &mut folders).await;
    got.and(folders.close())
}

async fn get_all(found: &Found, target: &Path, folders: &mut Folders) -> Result<(), Failure> {
    let Found { client, at: source, entry } = found;
    if let Some(above) = target.parent() {
        std::fs::create_dir_all(above).map_err(|error| not_made(above, &error))?;
    }
    folders.make(target, entry)?;
    let mut walk = Walk::new(client, source.clone(), entry.inode);
    while let Some((at, entry)) = walk.next().await? {
        let below = below(source, &at);
        match entry.kind {
            EntryKind::Directory => folders.make(&target.join(below), &entry)?,
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

/// The folders that were made. Until all is in its place their owner may write into them, whatever their modes say.
#[derive(Default)]
struct Folders {
    to_close: Vec<(PathBuf, u32)>,
}

impl Folders {
    /// A folder with the mode of `entry` less the umask; one that is there keeps its own.
    fn make(&mut self, at: &Path, entry: &Entry) -> Result<(), Failure> {
        let mode = permissions(entry);
        match DirBuilder::new().mode(mode | OWNER_BITS).create(at) {
            Ok(()) if mode & OWNER_BITS != OWNER_BITS => self.to_close.push((at.to_owned(), mode)),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && at.is_dir() => {}
            Err(error) => return Err(not_made(at, &error)),
        }
        Ok(())
    }

    /// Takes from the owner what the modes do not give, the deepest folder first.
    fn close(self) -> Result<(), Failure> {
        for (at, mode) in self.to_close.into_iter().rev() {
            let close = || {
                let now = std::fs::metadata(&at)?.permissions().mode();
                // The umask was taken off when it was made.
                std::fs::set_permissions(&at, Permissions::from_mode(now & (mode | !PERMISSION_BITS)))
            };
            close().map_err(|error| not_made(&at, &error))?;
        }
        Ok(())
    }
}

fn not_made(at: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot make {}: {error}", at.display()))
}

/// Who may do what, as the under-store says; as for any new file or folder where it does not. Not the set-id bits: the
/// copy has another owner.
fn permissions(entry: &Entry) -> u32 {
    let default = if entry.kind == EntryKind::Directory { 0o777 } else { 0o666 };
    entry.mode.unwrap_or(default) & PERMISSION_BITS
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
    let mode = if before.is_some() { OWNER_BITS & 0o666 } else { permissions(entry) };
    let (mut file, partial) = partial_file(&target, mode).map_err(failed)?;
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

/// A new file with `mode` less the umask in the folder of `target`, under a short name that nothing there has.
fn partial_file(target: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let process = std::process::id();
    for number in 0_u32.. {
        let path = folder.join(format!(".forebay-{process}-{number}.partial"));
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (file, path)),
        }
    }
    Err(io::Error::other("no name is free"))
}

/// Why bytes did not arrive.
enum CopyError {
    Lookup(Failure),
    Read(forebay_client::ClientError),
    Write(io::Error),
    NoFile(String),
}

impl CopyError {
    fn failure(self, at: &NamespacePath, target: &str) -> Failure {
        match self {
            Self::Lookup(failure) => failure,
            Self::Read(error) => Failure::client(format!("read {at}"), &error),
            Self::Write(error) => Failure::new(format!("cannot write {at} to {target}: {error}")),
            Self::NoFile(why) => Failure::new(format!("cannot read {at}: {why}")),
        }
    }
}

async fn copy(
    client: &Client,
    at: &NamespacePath,
    entry: &Entry,
    sink: &mut dyn Write,
) -> Result<(), CopyError> {
    if let Some(why) = why_no_file(at, entry) {
        return Err(CopyError::NoFile(why));
    }
    let (opened, _) = client.open(entry.inode).await.map_err(CopyError::Read)?;
    let Some((version, capability)) = opened.version else {
        return Err(CopyError::NoFile("it is a file no more; look again with `forebay fs stat`".to_owned()));
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
