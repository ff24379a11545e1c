//! The catalogue of a folder: what a start would find out of its files one by one, in one file.
//!
//! ```text
//! 0   magic "FOREBAYL"
//! 8   format, u32: 1
//! 12  the folder, u32
//! 16  cluster id
//! 32  length of segments, u64
//! 40  number N of entries, u32
//! 44  zeroes
//! 60  CRC32C of all before, u32
//! 64  N entries of 60 bytes in the order of their keys; after each 1024 of them, and the last, their CRC32C, which goes
//!     on from that of the header
//! ```
//!
//! An entry: counter, generation, identity digest, length of the version, bytes that the data file takes, its change time
//! in nanoseconds, each 8 bytes; incarnation, the segment's number and one or 0, and where the records begin, each 4. Only
//! what was complete is listed.
//!
//! It is a hint. Nothing here is synced, and anything may have happened to the files since; so it may be missing, torn,
//! foreign or old, and whoever believes it compares with the files before it serves of them.

use forebay_types::{ByteCount, ClusterId, FileId, Incarnation, Timestamp, crc32c};

use super::{BLOCKS_FOLDER, Generation, GenerationKey, folder, u32_at};
use crate::limits::{CATALOGUE_ENTRIES_MAX, HEADER_LENGTH_MAX};
use crate::source::IdentityDigest;
use crate::unit::UnitId;

const MAGIC: &[u8; 8] = b"FOREBAYL";
const FORMAT: u32 = 1;
const HEADER_LENGTH: usize = 64;
const CHECKSUM_OFFSET: usize = HEADER_LENGTH - CHECKSUM_LENGTH;
const CHECKSUM_LENGTH: usize = 4;
const ENTRY_LENGTH: usize = 60;
/// Entries that share a checksum.
const ENTRIES_PER_FRAME: usize = 1024;
const FRAME_LENGTH: usize = ENTRIES_PER_FRAME * ENTRY_LENGTH + CHECKSUM_LENGTH;

/// The longest catalogue.
pub(crate) const CATALOGUE_LENGTH_MAX: usize =
    HEADER_LENGTH + CATALOGUE_ENTRIES_MAX.div_ceil(ENTRIES_PER_FRAME) * FRAME_LENGTH;
/// The folder of the catalogues. It lies where earlier releases do not look, and goes when the cache is formatted.
pub(crate) const CATALOGUE_FOLDER: &str = "catalogue";

/// Whose catalogue it is, and of which folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CatalogueHeader {
    pub(crate) cluster: ClusterId,
    pub(crate) folder: u32,
    /// Where the writer cut what it did not keep whole.
    pub(crate) segment_length: ByteCount,
}

/// What is said of a complete unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CatalogueEntry {
    pub(crate) key: GenerationKey,
    pub(crate) identity: IdentityDigest,
    pub(crate) version_length: ByteCount,
    /// Where the records begin in the index file.
    pub(crate) records: u32,
    /// What the data file takes on its file system, or a little more.
    pub(crate) allocated: u64,
    /// Change time of the data file when it was known last.
    pub(crate) changed: Timestamp,
}

/// The path of a folder's catalogue below the tier's directory.
pub(crate) fn catalogue_path(folder: u32) -> String {
    format!("{BLOCKS_FOLDER}/{CATALOGUE_FOLDER}/{folder:02x}")
}

/// What becomes the catalogue once it is written.
pub(crate) fn new_catalogue_path(folder: u32) -> String {
    format!("{BLOCKS_FOLDER}/{CATALOGUE_FOLDER}/{folder:02x}.new")
}

impl CatalogueHeader {
    /// The catalogue; entries beyond [`CATALOGUE_ENTRIES_MAX`] are left out.
    pub(crate) fn encode(&self, entries: &[CatalogueEntry]) -> Vec<u8> {
        let entries = &entries[..entries.len().min(CATALOGUE_ENTRIES_MAX)];
        let frames = entries.len().div_ceil(ENTRIES_PER_FRAME);
        let mut bytes =
            Vec::with_capacity(HEADER_LENGTH + entries.len() * ENTRY_LENGTH + frames * CHECKSUM_LENGTH);
        let count = u32::try_from(entries.len()).expect("fewer than CATALOGUE_ENTRIES_MAX");
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.folder.to_le_bytes());
        bytes.extend_from_slice(self.cluster.bytes());
        bytes.extend_from_slice(&self.segment_length.get().to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.resize(CHECKSUM_OFFSET, 0);
        let seed = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&seed.to_le_bytes());
        for frame in entries.chunks(ENTRIES_PER_FRAME) {
            let begin = bytes.len();
            frame.iter().for_each(|entry| entry.encode_into(&mut bytes));
            let checksum = crc32c::crc32c_append(seed, &bytes[begin..]);
            bytes.extend_from_slice(&checksum.to_le_bytes());
        }
        bytes
    }

    /// The entries of this very folder's catalogue that are not damaged, and whether those are all that were written.
    pub(crate) fn decode(&self, bytes: &[u8]) -> (Vec<CatalogueEntry>, bool) {
        let Some((count, seed)) = self.check(bytes) else { return (Vec::new(), false) };
        let mut entries = Vec::with_capacity(count);
        let mut rest = &bytes[HEADER_LENGTH..];
        for first in (0..count).step_by(ENTRIES_PER_FRAME) {
            let length = ENTRIES_PER_FRAME.min(count - first) * ENTRY_LENGTH;
            let Some((frame, later)) = rest.split_at_checked(length + CHECKSUM_LENGTH) else { break };
            rest = later;
            let frame_entries = &frame[..length];
            if u32_at(frame, length) == Some(crc32c::crc32c_append(seed, frame_entries)) {
                let (encoded, _) = frame_entries.as_chunks::<ENTRY_LENGTH>();
                entries.extend(encoded.iter().filter_map(|entry| self.decode_entry(entry)));
            }
        }
        // Found by their keys from here on, so their order is not to be believed either.
        if !entries.is_sorted_by(|one, other| one.key < other.key) {
            return (Vec::new(), false);
        }
        let is_whole = entries.len() == count;
        (entries, is_whole)
    }

    /// The number of entries and the checksum of the header, if it is this one.
    fn check(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        let header = bytes.get(..HEADER_LENGTH)?;
        let checksum = crc32c::crc32c(&header[..CHECKSUM_OFFSET]);
        let is_fit = header.starts_with(MAGIC)
            && u32_at(header, CHECKSUM_OFFSET)? == checksum
            && u32_at(header, 8)? == FORMAT
            && u32_at(header, 12)? == self.folder
            && header[16..32] == *self.cluster.bytes()
            && u64_at(header, 32)? == self.segment_length.get();
        let count = usize::try_from(u32_at(header, 40)?).ok()?;
        (is_fit && count <= CATALOGUE_ENTRIES_MAX).then_some((count, checksum))
    }

    /// The entry; `None` when no file of this folder can be so.
    fn decode_entry(&self, bytes: &[u8; ENTRY_LENGTH]) -> Option<CatalogueEntry> {
        let file = FileId { incarnation: Incarnation::new(u32_at(bytes, 48)?), counter: u64_at(bytes, 0)? };
        let unit = match u32_at(bytes, 52)? {
            0 => UnitId::whole(file),
            place => UnitId::segment_of(file, place - 1)?,
        };
        let records = u32_at(bytes, 56)?;
        let is_fit = folder(unit) == self.folder && usize::try_from(records).ok()? <= HEADER_LENGTH_MAX;
        is_fit.then_some(CatalogueEntry {
            key: GenerationKey { unit, generation: Generation::new(u64_at(bytes, 8)?) },
            identity: IdentityDigest::from_number(u64_at(bytes, 16)?),
            version_length: ByteCount::new(u64_at(bytes, 24)?),
            records,
            allocated: u64_at(bytes, 32)?,
            changed: Timestamp::from_nanos(u64_at(bytes, 40)?.cast_signed()),
        })
    }
}

impl CatalogueEntry {
    fn encode_into(&self, bytes: &mut Vec<u8>) {
        let GenerationKey { unit, generation } = self.key;
        let numbers = [
            unit.file().counter,
            generation.get(),
            self.identity.number(),
            self.version_length.get(),
            self.allocated,
            self.changed.nanos().cast_unsigned(),
        ];
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        let place = unit.segment().map_or(0, |number| number + 1);
        for number in [unit.file().incarnation.get(), place, self.records] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// The eight bytes at `offset` as a number; `None` beyond the end.
fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: CatalogueHeader = CatalogueHeader {
        cluster: ClusterId::new([7; 16]),
        folder: 3,
        segment_length: ByteCount::new(1 << 30),
    };

    /// The first `count` units of the folder, whole versions and segments.
    fn entries(count: usize) -> Vec<CatalogueEntry> {
        let file = |counter| FileId { incarnation: Incarnation::new(2), counter };
        let units = (0..).flat_map(|counter| {
            let segment = UnitId::segment_of(file(counter), 5).unwrap();
            [UnitId::whole(file(counter)), segment]
        });
        let entry = |unit: UnitId| CatalogueEntry {
            key: GenerationKey { unit, generation: Generation::new(unit.file().counter + 9) },
            identity: IdentityDigest::from_number(unit.file().counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            version_length: ByteCount::new(6 << 30),
            records: 192,
            allocated: 4096,
            changed: Timestamp::from_nanos(-5),
        };
        units.filter(|unit| folder(*unit) == HEADER.folder).map(entry).take(count).collect()
    }

    #[test]
    fn what_is_written_is_read_whatever_its_length() {
        for count in [0, 1, 1023, 1024, 1025, 2048, 3000] {
            let entries = entries(count);
            let bytes = HEADER.encode(&entries);
            assert!(bytes.len() <= CATALOGUE_LENGTH_MAX);
            assert_eq!(HEADER.decode(&bytes), (entries, true), "{count}");
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_loses_entries_and_never_gives_others() {
        let entries = entries(3);
        let bytes = HEADER.encode(&entries);
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0x10;
            assert_eq!(HEADER.decode(&flipped), (Vec::new(), false), "byte {position}");
            assert_eq!(HEADER.decode(&bytes[..position]), (Vec::new(), false));
        }
    }

    #[test]
    fn damage_costs_the_entries_that_share_its_checksum() {
        let entries = entries(2500);
        let bytes = HEADER.encode(&entries);
        let mut flipped = bytes.clone();
        flipped[HEADER_LENGTH + FRAME_LENGTH] ^= 1;
        let kept = [&entries[..1024], &entries[2048..]].concat();
        assert_eq!(HEADER.decode(&flipped), (kept, false));
        assert_eq!(HEADER.decode(&bytes[..bytes.len() - 1]), (entries[..2048].to_vec(), false));
    }

    #[test]
    fn another_clusters_folders_cuts_or_formats_catalogue_is_none() {
        let bytes = HEADER.encode(&entries(3));
        let others = [
            CatalogueHeader { cluster: ClusterId::new([8; 16]), ..HEADER },
            CatalogueHeader { folder: 4, ..HEADER },
            CatalogueHeader { segment_length: ByteCount::new(1 << 20), ..HEADER },
        ];
        others.iter().for_each(|other| assert_eq!(other.decode(&bytes), (Vec::new(), false)));
        let mut later = bytes;
        later[8] = 2;
        let checksum = crc32c::crc32c(&later[..CHECKSUM_OFFSET]);
        later[CHECKSUM_OFFSET..HEADER_LENGTH].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(HEADER.decode(&later), (Vec::new(), false));
    }
}
