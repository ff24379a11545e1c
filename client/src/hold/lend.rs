//! Lends: the files of a version that is here in part, or that may not be held, read past the worker.
//!
//! The files change while they are lent: pages come and go. So nothing is believed of them: a granule is given only if
//! it has the checksum that its page's record in the index file has, and that record its own. Whatever happens to a page
//! between the reading of its record and of its bytes, the bytes are the version's or are not given.

use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use forebay_types::{
    ByteCount, GRANULE_LENGTH, GRANULES_PER_PAGE, PAGE_LENGTH, PageRecord, RECORD_LENGTH, RecordSeed,
    VersionDescriptor, crc32c,
};
use parking_lot::Mutex;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::sync::OwnedSemaphorePermit;

use super::Release;
use super::buffers::Buffers;
use crate::limits::{INLINE_READ_MAX, LENT_PIECE, LENT_RECORDS_PIECE};

/// The files of a version as far as it is cached on this machine. Dropping it gives them back.
#[derive(Debug)]
pub struct Lend {
    files: Arc<Slot>,
    length: u64,
    /// The pages that were here when it was lent, a bit each.
    first: Box<[u64]>,
    /// The granule that was read last and not wholly used.
    kept: Mutex<Kept>,
    /// Where damage was found last: one read may come there twice, and it is one damage.
    damaged: AtomicU64,
    buffers: Arc<Buffers>,
}

/// Where the files are until the worker wants them back.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Option<Arc<Files>>>);

/// Both files, open, and what it takes to read the index file. Dropping them gives the lend back.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) data: OwnedFd,
    pub(super) index: OwnedFd,
    pub(super) records: u64,
    pub(super) seed: RecordSeed,
    /// Given back after the files are closed: the fields go in this order.
    pub(super) release: Release,
    pub(super) _places: OwnedSemaphorePermit,
}

/// Verified bytes of one granule.
#[derive(Debug, Default)]
struct Kept {
    /// Where they begin in the version.
    offset: u64,
    bytes: Vec<u8>,
}

/// Why bytes are not given.
#[derive(Debug)]
pub(crate) enum Gap {
    /// A page of them is not here, or the files were given back.
    Absent,
    /// A disk would have to be waited for.
    Slow,
    /// They have not their checksums.
    Damaged {
        /// Where.
        offset: u64,
    },
    /// What the kernel said.
    Io(io::Error),
}

/// One attempt to read.
struct Attempt<'a> {
    files: &'a Files,
    length: u64,
    /// Whether a disk may be waited for.
    may_wait: bool,
    /// The record of the page that was looked at last.
    record: Option<(u32, [u32; GRANULES_PER_PAGE])>,
}

impl Slot {
    pub(super) fn put(&self, files: Files) {
        *self.0.lock() = Some(Arc::new(files));
    }

    /// Closes the files and gives the lend back, once nobody reads them. Not to be called under a connection's lock.
    pub(super) fn give_back(&self) {
        let files = self.0.lock().take();
        drop(files);
    }

    fn get(&self) -> Option<Arc<Files>> {
        self.0.lock().clone()
    }
}

impl Lend {
    /// The lend, if its files can be the version's.
    pub(super) async fn checked(
        files: Arc<Slot>,
        version: &VersionDescriptor,
        buffers: &Arc<Buffers>,
    ) -> Result<Option<Self>, io::Error> {
        let Some(open) = files.get() else { return Ok(None) };
        let length = version.length().get();
        if u64::try_from(rustix::fs::fstat(&open.data)?.st_size).ok() != Some(length) {
            return Ok(None);
        }
        let first = match open.present(length, false) {
            Err(Gap::Slow) => tokio::task::spawn_blocking(move || open.present(length, true)).await?,
            present => present,
        };
        let first = match first {
            Ok(first) => first,
            Err(Gap::Io(error)) => return Err(error),
            Err(gap) => return Err(io::Error::other(format!("{gap:?}"))),
        };
        let (kept, damaged) = (Mutex::default(), AtomicU64::new(u64::MAX));
        Ok(Some(Self { files, length, first, kept, damaged, buffers: Arc::clone(buffers) }))
    }

    /// Whether the worker lets the files be read on.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.files.get().is_some_and(|files| files.release.connection.is_live())
    }

    /// Length of the version.
    #[must_use]
    pub const fn length(&self) -> ByteCount {
        ByteCount::new(self.length)
    }

    /// The part of the version that was here when it was lent.
    #[must_use]
    pub fn cached(&self) -> ByteCount {
        let pages = self.first.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
        ByteCount::new((pages * PAGE_LENGTH).min(self.length))
    }

    /// Takes note of damage; whether it is another one than before.
    pub(crate) fn is_new_damage(&self, offset: u64) -> bool {
        self.damaged.swap(offset, Ordering::Relaxed) != offset
    }

    /// How many bytes of a range were here when it was lent.
    pub(crate) fn cached_of(&self, range: &Range<u64>) -> u64 {
        let mut cached = 0;
        let mut at = range.start;
        while at < range.end {
            let page = at / PAGE_LENGTH;
            let end = ((page + 1) * PAGE_LENGTH).min(range.end);
            let word = usize::try_from(page / 64).ok().and_then(|word| self.first.get(word));
            if word.is_some_and(|word| word >> (page % 64) & 1 == 1) {
                cached += end - at;
            }
            at = end;
        }
        cached
    }

    /// Fills the buffer with the version's bytes from `offset` on, which are within it.
    pub(crate) fn read_into(&self, offset: u64, buffer: &mut [u8], may_wait: bool) -> Result<(), Gap> {
        let files = self.files.get().ok_or(Gap::Absent)?;
        let mut attempt = Attempt { files: &files, length: self.length, may_wait, record: None };
        let end = offset + buffer.len() as u64;
        let mut at = offset;
        while at < end {
            let rest = &mut buffer[usize_of(at - offset)..];
            let granule = at - at % GRANULE_LENGTH;
            let granule_end = (granule + GRANULE_LENGTH).min(self.length);
            at = if at == granule && granule_end <= end {
                attempt.whole_granules(at, rest)?
            } else {
                let until = granule_end.min(end);
                self.part_of_granule(&mut attempt, granule, at..until, rest)?;
                until
            };
        }
        Ok(())
    }

    /// Gives a part of one granule, from what was kept of it if that is so.
    fn part_of_granule(
        &self,
        attempt: &mut Attempt<'_>,
        granule: u64,
        wanted: Range<u64>,
        buffer: &mut [u8],
    ) -> Result<(), Gap> {
        let part = usize_of(wanted.start - granule)..usize_of(wanted.end - granule);
        let buffer = &mut buffer[..part.len()];
        {
            let kept = self.kept.lock();
            if kept.offset == granule && !kept.bytes.is_empty() {
                buffer.copy_from_slice(&kept.bytes[part]);
                return Ok(());
            }
        }
        let mut bytes = vec![0; usize_of(GRANULE_LENGTH.min(self.length - granule))];
        attempt.whole_granules(granule, &mut bytes)?;
        buffer.copy_from_slice(&bytes[part]);
        *self.kept.lock() = Kept { offset: granule, bytes };
        Ok(())
    }

    /// The bytes of a range within the version without blocking the task: at once where they are in memory, else on a
    /// thread for it.
    pub(crate) async fn read(self: &Arc<Self>, range: &Range<u64>) -> Result<Bytes, Gap> {
        let length = usize_of(range.end - range.start);
        if length <= INLINE_READ_MAX {
            match self.bytes(range.start, length, false) {
                Err(Gap::Slow) => {}
                read => return read,
            }
        }
        let (lend, start) = (Arc::clone(self), range.start);
        tokio::task::spawn_blocking(move || lend.bytes(start, length, true))
            .await
            .map_err(|error| Gap::Io(io::Error::other(error)))?
    }

    fn bytes(&self, offset: u64, length: usize, may_wait: bool) -> Result<Bytes, Gap> {
        self.buffers.filled(length, |buffer| self.read_into(offset, buffer, may_wait))
    }

    /// How much of a range is here from its begin on, as far as that can be said at once.
    pub(crate) fn run_present(&self, range: &Range<u64>) -> u64 {
        let Some(files) = self.files.get() else { return 0 };
        let mut attempt = Attempt { files: &files, length: self.length, may_wait: false, record: None };
        let mut at = range.start;
        while at < range.end && attempt.checksums(at / PAGE_LENGTH).is_ok() {
            at = ((at / PAGE_LENGTH + 1) * PAGE_LENGTH).min(range.end);
        }
        at - range.start
    }
}

impl Attempt<'_> {
    /// Reads and verifies the next whole granules, the last one of the version counting as whole, of one page; as many
    /// as fit the buffer and the caches of a processor. Gives where they end.
    fn whole_granules(&mut self, at: u64, buffer: &mut [u8]) -> Result<u64, Gap> {
        let page = at / PAGE_LENGTH;
        let checksums = self.checksums(page)?;
        let page_end = ((page + 1) * PAGE_LENGTH).min(self.length);
        let end = page_end.min(at + (buffer.len() as u64).min(LENT_PIECE));
        let end = if end == self.length { end } else { end - end % GRANULE_LENGTH };
        let piece = &mut buffer[..usize_of(end - at)];
        self.read_exactly(at, piece)?;
        let first = usize_of(at % PAGE_LENGTH / GRANULE_LENGTH);
        for (number, granule) in piece.chunks(usize_of(GRANULE_LENGTH)).enumerate() {
            if crc32c::crc32c(granule) != checksums[first + number] {
                return Err(Gap::Damaged { offset: at + number as u64 * GRANULE_LENGTH });
            }
        }
        Ok(end)
    }

    /// The checksums of the granules of a page that is here.
    fn checksums(&mut self, page: u64) -> Result<[u32; GRANULES_PER_PAGE], Gap> {
        let number = u32::try_from(page).map_err(|_| Gap::Absent)?;
        if let Some((known, checksums)) = self.record
            && known == number
        {
            return Ok(checksums);
        }
        let mut bytes = [0; RECORD_LENGTH];
        let had = read_some(&self.files.index, self.files.record_offset(page), &mut bytes, self.may_wait)?;
        let page_length = PAGE_LENGTH.min(self.length.saturating_sub(page * PAGE_LENGTH));
        let granules = usize_of(page_length.div_ceil(GRANULE_LENGTH));
        match PageRecord::decode(&bytes[..had], self.files.seed, number, granules) {
            PageRecord::Present(checksums) => {
                self.record = Some((number, checksums));
                Ok(checksums)
            }
            // One that is just being written looks damaged.
            PageRecord::Absent | PageRecord::Damaged => Err(Gap::Absent),
        }
    }

    fn read_exactly(&self, at: u64, buffer: &mut [u8]) -> Result<(), Gap> {
        let had = read_some(&self.files.data, at, buffer, self.may_wait)?;
        if had == buffer.len() { Ok(()) } else { Err(Gap::Damaged { offset: at + had as u64 }) }
    }
}

impl Files {
    fn record_offset(&self, page: u64) -> u64 {
        self.records.saturating_add(page * RECORD_LENGTH as u64)
    }

    /// Which pages the index file says are here, a bit each. A count, not a promise: records are not verified.
    fn present(&self, length: u64, may_wait: bool) -> Result<Box<[u64]>, Gap> {
        let pages = usize_of(length.div_ceil(PAGE_LENGTH));
        let mut present = vec![0_u64; pages.div_ceil(64)];
        let mut piece = vec![0; pages.min(LENT_RECORDS_PIECE) * RECORD_LENGTH];
        for first in (0..pages).step_by(LENT_RECORDS_PIECE) {
            let had = read_some(&self.index, self.record_offset(first as u64), &mut piece, may_wait)?;
            for (page, record) in (first..pages).zip(piece[..had].chunks_exact(RECORD_LENGTH)) {
                if record[0] != PageRecord::ABSENT[0] {
                    present[page / 64] |= 1 << (page % 64);
                }
            }
        }
        Ok(present.into())
    }
}

/// Reads up to the end of the buffer or the file.
fn read_some(file: &OwnedFd, at: u64, buffer: &mut [u8], may_wait: bool) -> Result<usize, Gap> {
    let flags = if may_wait { ReadWriteFlags::empty() } else { ReadWriteFlags::NOWAIT };
    let mut had = 0;
    while had < buffer.len() {
        let mut parts = [IoSliceMut::new(&mut buffer[had..])];
        match rustix::io::preadv2(file, &mut parts, at.saturating_add(had as u64), flags) {
            Ok(0) => break,
            Ok(more) => had += more,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::OPNOTSUPP) if !may_wait => return Err(Gap::Slow),
            Err(error) => return Err(Gap::Io(error.into())),
        }
    }
    Ok(had)
}

/// Places within a buffer or a page.
fn usize_of(length: u64) -> usize {
    usize::try_from(length).expect("within one read")
}
