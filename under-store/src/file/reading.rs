//! A range of one version of a local file, read in chunks, each of which is known to be of that version.
//!
//! Invariant: a chunk is given out only after a `fstat` that follows its read shows the version asked for. A writer that
//! changes the file within one tick of the kernel's clock, or through a mapping, is beyond what `fstat` can tell.

use std::ops::Range;

use bytes::Bytes;
use forebay_types::{ByteCount, EntryKind, Fingerprint};
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::{Errno, pread};

use super::place::{Place, local_error};
use super::status;
use crate::error::UnderStoreError;
use crate::limits::READ_CHUNK_LENGTH;

/// A read under way.
pub(super) struct OpenRead {
    file: OwnedFd,
    place: Place,
    expected: Fingerprint,
    begin: u64,
    rest: Range<u64>,
}

impl OpenRead {
    /// Opens the file at `place`, when it is the version `expected`.
    pub(super) fn begin(
        place: Place,
        range: Range<u64>,
        expected: Fingerprint,
    ) -> Result<Self, UnderStoreError> {
        // Not blocking, since a pipe in the file's place would wait for a writer.
        let opened = place.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, "read")?;
        let Some(file) = opened else {
            return Err(UnderStoreError::changed(place.object(), &expected, None));
        };
        let open = Self { file, place, expected, begin: range.start, rest: range };
        open.check_version()?;
        Ok(open)
    }

    pub(super) fn object(&self) -> &str {
        self.place.object()
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.start >= self.rest.end
    }

    /// The next bytes, up to the next multiple of the chunk's length; empty only at the end.
    pub(super) fn next_chunk(mut self) -> Result<(Bytes, Self), UnderStoreError> {
        let Range { start, end } = self.rest;
        let end = end.min((start / READ_CHUNK_LENGTH + 1) * READ_CHUNK_LENGTH);
        let length = usize::try_from(end.saturating_sub(start)).expect("a chunk fits in memory");
        let mut chunk = Vec::with_capacity(length);
        while chunk.len() < length {
            let at = start + chunk.len() as u64;
            match pread(&self.file, spare_capacity(&mut chunk), at) {
                Ok(0) => break,
                // A vector may have more room than was asked for.
                Ok(_) => chunk.truncate(length),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(local_error(self.object(), "read", errno)),
            }
        }
        self.check_version()?;
        if chunk.len() < length {
            return Err(self.cut_short(start + chunk.len() as u64));
        }
        self.rest.start = end;
        Ok((Bytes::from(chunk), self))
    }

    /// Whether the open file is still the version asked for. A file that lost its name to another has a new change
    /// time, so what is there now is looked up by name.
    fn check_version(&self) -> Result<(), UnderStoreError> {
        let found = fstat(&self.file).map_err(|errno| local_error(self.object(), "look at", errno))?;
        let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
        if is_file && status::fingerprint(&found).is_same_content(&self.expected) {
            return Ok(());
        }
        let found = self.place.status()?.filter(|status| status.kind == EntryKind::File);
        Err(UnderStoreError::changed(
            self.object(),
            &self.expected,
            found.and_then(|status| status.fingerprint),
        ))
    }

    fn cut_short(&self, at: u64) -> UnderStoreError {
        UnderStoreError::CutShort {
            object: self.object().to_owned(),
            expected: ByteCount::new(self.rest.end - self.begin),
            received: ByteCount::new(at - self.begin),
            reason: "the file system gave no more".to_owned(),
        }
    }
}
