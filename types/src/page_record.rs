//! The record of a page in an index file: whether the page is in the data file, and its checksums.
//!
//! The block store writes it; a process that a worker lent the files of a version reads it. The bytes are a format:
//!
//! ```text
//! 0   state, u8: 0 absent, 1 present
//! 1   how many granules the page has, u8
//! 2   zero, u16
//! 4   CRC32C of each granule, 16 x u32; zero beyond the last
//! 68  CRC32C of bytes 0 to 68, begun with a seed of unit, generation and page
//! ```
//!
//! All zeroes, as a sparse file has them, mean absent. The seed makes a record of another page or file, as a disk
//! may give back after a power loss, a damaged one.

use crate::{FileId, GRANULE_LENGTH, PAGE_LENGTH, crc32c};

/// Most granules of a page.
pub const GRANULES_PER_PAGE: usize = (PAGE_LENGTH / GRANULE_LENGTH) as usize;
/// Length of a record in bytes.
pub const RECORD_LENGTH: usize = 72;
const CHECKSUM_OFFSET: usize = RECORD_LENGTH - 4;
const STATE_PRESENT: u8 = 1;

/// What an index file says of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRecord {
    /// The page is not in the data file.
    Absent,
    /// It is, and its granules have these checksums; zero beyond the last granule.
    Present([u32; GRANULES_PER_PAGE]),
    /// The record does not have its own checksum, or fits another page.
    Damaged,
}

/// What the checksums of the records of one index file begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSeed(u32);

impl RecordSeed {
    /// That of the index file of one of a version's pairs of files: of the version's generation if it is kept whole, else of a
    /// segment's.
    #[must_use]
    pub fn of(file: FileId, segment: Option<u32>, generation: u64) -> Self {
        let mut seed = crc32c::crc32c(&file.incarnation.get().to_le_bytes());
        seed = crc32c::crc32c_append(seed, &file.counter.to_le_bytes());
        if let Some(segment) = segment {
            seed = crc32c::crc32c_append(seed, &segment.to_le_bytes());
        }
        Self(crc32c::crc32c_append(seed, &generation.to_le_bytes()))
    }

    /// The one that was sent as a number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// As a number, to be sent.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    fn checksum(self, page: u32, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &page.to_le_bytes()), bytes)
    }
}

impl PageRecord {
    /// The bytes that say "absent".
    pub const ABSENT: [u8; RECORD_LENGTH] = [0; RECORD_LENGTH];

    /// The record of a present page, by its number in the unit, whose granules have `checksums`.
    ///
    /// # Panics
    /// When these are more than [`GRANULES_PER_PAGE`].
    #[must_use]
    pub fn encode_present(seed: RecordSeed, page: u32, checksums: &[u32]) -> [u8; RECORD_LENGTH] {
        assert!(checksums.len() <= GRANULES_PER_PAGE);
        let mut bytes = Self::ABSENT;
        bytes[0] = STATE_PRESENT;
        bytes[1] = u8::try_from(checksums.len()).expect("at most 16 granules");
        for (place, checksum) in bytes[4..CHECKSUM_OFFSET].chunks_exact_mut(4).zip(checksums) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        let checksum = seed.checksum(page, &bytes[..CHECKSUM_OFFSET]);
        bytes[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// What `bytes` say of `page`, which has `granules` granules. Fewer than [`RECORD_LENGTH`] bytes are damaged, none
    /// at all are absent: the file ends before.
    #[must_use]
    pub fn decode(bytes: &[u8], seed: RecordSeed, page: u32, granules: usize) -> Self {
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Absent;
        }
        if bytes.len() != RECORD_LENGTH
            || u32_at(bytes, CHECKSUM_OFFSET) != Some(seed.checksum(page, &bytes[..CHECKSUM_OFFSET]))
            || bytes[0] != STATE_PRESENT
            || usize::from(bytes[1]) != granules
        {
            return Self::Damaged;
        }
        let mut checksums = [0; GRANULES_PER_PAGE];
        for (checksum, place) in checksums.iter_mut().zip(bytes[4..CHECKSUM_OFFSET].chunks_exact(4)) {
            *checksum = u32_at(place, 0).unwrap_or(0);
        }
        Self::Present(checksums)
    }
}

/// The four bytes at `offset` as a number; `None` beyond the end.
fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use crate::Incarnation;

    use super::*;

    fn file(counter: u64) -> FileId {
        FileId { incarnation: Incarnation::new(1), counter }
    }

    fn seed(counter: u64, generation: u64) -> RecordSeed {
        RecordSeed::of(file(counter), None, generation)
    }

    fn seed_of_segment(number: u32) -> RecordSeed {
        RecordSeed::of(file(1), Some(number), 1)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = PageRecord::encode_present(seed(1, 1), 3, &[5, 6]);
        let mut checksums = [0; GRANULES_PER_PAGE];
        checksums[..2].copy_from_slice(&[5, 6]);
        let read = PageRecord::decode(&bytes, seed(1, 1), 3, 2);
        assert_eq!(read, PageRecord::Present(checksums));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let page = 0;
        let bytes = PageRecord::encode_present(seed(1, 1), page, &[5; 16]);
        for bit in 0..RECORD_LENGTH * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(PageRecord::decode(&flipped, seed(1, 1), page, 16), PageRecord::Damaged, "bit {bit}");
        }
        for cut in 1..RECORD_LENGTH {
            assert_eq!(PageRecord::decode(&bytes[..cut], seed(1, 1), page, 16), PageRecord::Damaged);
        }
    }

    #[test]
    fn a_record_of_another_page_unit_or_generation_is_damaged() {
        let page = 0;
        let bytes = PageRecord::encode_present(seed(1, 1), page, &[5; 16]);
        for (seed, page, granules) in [
            (seed(2, 1), page, 16),
            (seed(1, 2), page, 16),
            (seed_of_segment(0), page, 16),
            (seed(1, 1), 1, 16),
            (seed(1, 1), page, 15),
        ] {
            assert_eq!(PageRecord::decode(&bytes, seed, page, granules), PageRecord::Damaged);
        }
        let bytes = PageRecord::encode_present(seed_of_segment(0), page, &[5; 16]);
        for seed in [seed(1, 1), seed_of_segment(1)] {
            assert_eq!(PageRecord::decode(&bytes, seed, page, 16), PageRecord::Damaged);
        }
    }

    #[test]
    fn the_format_does_not_change_unnoticed() {
        // Whoever has to change this number has changed the formats, and must raise the store's, `FORMAT_WHOLE` and
        // `FORMAT_SEGMENTS`, and the local protocol's `LEVEL`.
        let bytes = PageRecord::encode_present(seed(1, 1), 3, &[5, 6]);
        assert_eq!(crc32c::crc32c(&bytes), 0x5b57_f3a1);
    }

    #[test]
    fn zeroes_and_the_end_of_the_file_mean_absent() {
        let page = 0;
        assert_eq!(PageRecord::decode(&PageRecord::ABSENT, seed(1, 1), page, 16), PageRecord::Absent);
        assert_eq!(PageRecord::decode(&[], seed(1, 1), page, 16), PageRecord::Absent);
    }
}
