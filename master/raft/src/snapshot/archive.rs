//! A snapshot as one stream: how it travels from master to master, and how it is installed.
//!
//! Format, numbers little-endian: the magic `FBSNAP`, a version (u16), the length of the description (u32), the
//! description, the number of files (u32); then for each file the length of its path (u16), the path with `/` between
//! its names, its length (u64), its bytes, and the CRC32C of path and bytes (u32). Bytes are input: what does not fit is an error.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use forebay_types::crc32c;

use crate::codec;
use crate::error::RaftError;
use crate::limits::{SNAPSHOT_DESCRIPTION_LENGTH_MAX, SNAPSHOT_FILE_PATH_LENGTH_MAX, SNAPSHOT_FILES_MAX};
use crate::snapshot::{SnapshotDir, sync_dirs};
use crate::types::SnapshotMeta;

const MAGIC: [u8; 6] = *b"FBSNAP";
const VERSION: u16 = 1;
const COPY_LENGTH: usize = 1 << 20;

/// Reads a snapshot's directory as a stream.
pub(crate) struct ArchiveReader {
    /// Held so that the directory stays while it is read.
    source: Arc<SnapshotDir>,
    /// Headers and checksums that are to be given out next.
    pending: Cursor<Vec<u8>>,
    files: vec::IntoIter<(String, u64)>,
    current: Option<OpenFile>,
}

struct OpenFile {
    file: File,
    left: u64,
    checksum: u32,
}

impl ArchiveReader {
    pub(crate) fn new(source: Arc<SnapshotDir>) -> Result<Self, RaftError> {
        let files = list(&source.state())?;
        let description = codec::encode_snapshot_meta(source.meta());
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&narrow::<u32>(description.len())?.to_le_bytes());
        head.extend_from_slice(&description);
        head.extend_from_slice(&narrow::<u32>(files.len())?.to_le_bytes());
        Ok(Self { source, pending: Cursor::new(head), files: files.into_iter(), current: None })
    }

    fn next_file(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut head = narrow::<u16>(name.len()).map_err(io::Error::other)?.to_le_bytes().to_vec();
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(&length.to_le_bytes());
        self.pending = Cursor::new(head);
        let file = File::open(self.source.state().join(name))?;
        self.current = Some(OpenFile { file, left: length, checksum: crc32c::crc32c(name.as_bytes()) });
        Ok(())
    }
}

impl Read for ArchiveReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.pending.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match &mut self.current {
                Some(open) if open.left > 0 => return open.read(buffer),
                Some(open) => {
                    self.pending = Cursor::new(open.checksum.to_le_bytes().to_vec());
                    self.current = None;
                }
                None => match self.files.next() {
                    Some((name, length)) => self.next_file(&name, length)?,
                    None => return Ok(0),
                },
            }
        }
    }
}

impl OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a snapshot's file became shorter"));
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &buffer[..read]);
        self.left -= read as u64;
        Ok(read)
    }
}

/// The files of a checkpoint with their lengths, in the order of their paths.
fn list(dir: &Path) -> Result<Vec<(String, u64)>, RaftError> {
    let mut files = Vec::new();
    list_below(dir, "", &mut files)?;
    files.sort_unstable();
    Ok(files)
}

fn list_below(dir: &Path, prefix: &str, files: &mut Vec<(String, u64)>) -> Result<(), RaftError> {
    let failed = |error| RaftError::io("list", dir, error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        match entry.file_name().into_string() {
            Ok(name) if metadata.is_file() => files.push((format!("{prefix}{name}"), metadata.len())),
            Ok(name) if metadata.is_dir() => list_below(&entry.path(), &format!("{prefix}{name}/"), files)?,
            _ => return Err(RaftError::corrupt(dir.display(), "it holds what is no file of a snapshot")),
        }
    }
    Ok(())
}

/// Writes the files of a snapshot's stream into `dir`, which must not exist, and syncs them.
pub(crate) fn unpack(mut stream: impl Read, dir: &Path) -> Result<SnapshotMeta, RaftError> {
    let stream = &mut stream;
    let magic: [u8; 6] = take(stream)?;
    if magic != MAGIC {
        return Err(corrupt("it does not begin with its magic"));
    }
    let version = u16::from_le_bytes(take(stream)?);
    if version != VERSION {
        return Err(corrupt(format_args!("its version is {version}; this version knows {VERSION}")));
    }
    let length = bounded(u32::from_le_bytes(take(stream)?), SNAPSHOT_DESCRIPTION_LENGTH_MAX, "description")?;
    let meta = codec::decode_snapshot_meta(&take_vec(stream, length)?)?;
    let files = bounded(u32::from_le_bytes(take(stream)?), SNAPSHOT_FILES_MAX, "number of files")?;
    fs::create_dir(dir).map_err(|error| RaftError::io("create", dir, error))?;
    for _ in 0..files {
        unpack_file(stream, dir)?;
    }
    if stream.read(&mut [0]).map_err(unreadable)? != 0 {
        return Err(corrupt("bytes follow its end"));
    }
    sync_dirs(dir)?;
    Ok(meta)
}

fn unpack_file(stream: &mut impl Read, dir: &Path) -> Result<(), RaftError> {
    let length = u32::from(u16::from_le_bytes(take(stream)?));
    let length = bounded(length, SNAPSHOT_FILE_PATH_LENGTH_MAX, "path of a file")?;
    let name =
        String::from_utf8(take_vec(stream, length)?).map_err(|_| corrupt("a file's path is no text"))?;
    let path = path_within(dir, &name)?;
    let mut file = File::create_new(&path).map_err(|error| RaftError::io("create", &path, error))?;
    let mut checksum = crc32c::crc32c(name.as_bytes());
    let mut left = u64::from_le_bytes(take(stream)?);
    let mut buffer = vec![0; COPY_LENGTH];
    while left > 0 {
        let most = usize::try_from(left).map_or(COPY_LENGTH, |left| left.min(COPY_LENGTH));
        let part = &mut buffer[..most];
        stream.read_exact(part).map_err(unreadable)?;
        checksum = crc32c::crc32c_append(checksum, part);
        file.write_all(part).map_err(|error| RaftError::io("write", &path, error))?;
        left -= most as u64;
    }
    if checksum != u32::from_le_bytes(take(stream)?) {
        return Err(corrupt(format_args!("the checksum of `{name}` does not fit its bytes")));
    }
    file.sync_all().map_err(|error| RaftError::io("sync", &path, error))
}

/// Where a file goes, with its directories made. A path that would lead anywhere else is refused.
fn path_within(dir: &Path, name: &str) -> Result<PathBuf, RaftError> {
    let mut path = dir.to_owned();
    for (position, part) in name.split('/').enumerate() {
        if part.is_empty() || part == "." || part == ".." || part.contains('\0') {
            return Err(corrupt(format_args!("`{}` is no path of a file", name.escape_debug())));
        }
        if position > 0 && !path.is_dir() {
            fs::create_dir(&path).map_err(|error| RaftError::io("create", &path, error))?;
        }
        path.push(part);
    }
    Ok(path)
}

fn take<const N: usize>(stream: &mut impl Read) -> Result<[u8; N], RaftError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn take_vec(stream: &mut impl Read, length: usize) -> Result<Vec<u8>, RaftError> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn bounded(found: u32, max: usize, what: &str) -> Result<usize, RaftError> {
    match usize::try_from(found) {
        Ok(found) if found <= max => Ok(found),
        _ => Err(corrupt(format_args!("its {what} is {found}, over the limit of {max}"))),
    }
}

fn narrow<T: TryFrom<usize>>(length: usize) -> Result<T, RaftError> {
    T::try_from(length).map_err(|_| corrupt(format_args!("{length} is more than it can say")))
}

fn unreadable(error: io::Error) -> RaftError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return corrupt("it ends too early");
    }
    RaftError::io("read", "the stream of a snapshot", error)
}

fn corrupt(problem: impl std::fmt::Display) -> RaftError {
    RaftError::corrupt("a snapshot", problem)
}
