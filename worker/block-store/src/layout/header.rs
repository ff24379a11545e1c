//! The header of an index file: which content the pair of files holds.
//!
//! ```text
//! 0   magic "FOREBAYI"
//! 8   format, u32: 1 a whole version, 2 a segment
//! 12  length L of the body, u32
//! 16  the body, postcard
//! 16+L  CRC32C of all before, u32
//! then zeroes up to the next multiple of 64, where the records begin
//! ```

use std::os::fd::AsFd;

use forebay_types::{ByteCount, ClusterId, FileId, Fingerprint, RECORD_LENGTH, crc32c};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{FORMAT_SEGMENTS, FORMAT_WHOLE, Generation, GenerationKey, u32_at};
use crate::io::{read_at, read_once};
use crate::limits::HEADER_LENGTH_MAX;
use crate::page::{Geometry, PageIndex};
use crate::source::{IdentityDigest, VersionSource};
use crate::unit::UnitId;

const MAGIC: &[u8; 8] = b"FOREBAYI";
/// Covers the header and the records of a small file in one read.
const FIRST_READ_LENGTH: usize = 4096;
const BODY_OFFSET: usize = 16;
const CHECKSUM_LENGTH: usize = 4;
/// The begin of the records is a multiple of it.
pub(crate) const RECORDS_ALIGNMENT: usize = 64;
/// The unit in which file systems give out room.
const SECTOR_LENGTH: u64 = 4096;

/// Which content a pair of files holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexHeader {
    pub(crate) cluster: ClusterId,
    pub(crate) key: GenerationKey,
    /// URI of the content, as bytes.
    pub(crate) uri: Vec<u8>,
    /// Of the whole version.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) block_length: ByteCount,
    /// Length of all segments of the version but the last; `None`: it is not cut.
    pub(crate) segment_length: Option<ByteCount>,
}

/// Why the bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum HeaderError {
    #[error("the header is damaged or cut")]
    Damaged,
    #[error("the header would have {0} bytes")]
    TooLong(usize),
}

/// The body's fields in their order on disk: a change of them is a new format.
#[derive(Serialize, Deserialize)]
struct Body {
    cluster: ClusterId,
    file: FileId,
    generation: u64,
    uri: Vec<u8>,
    fingerprint: Fingerprint,
    block_length: ByteCount,
}

/// What follows the body of a segment's header.
#[derive(Serialize, Deserialize)]
struct SegmentBody {
    number: u32,
    length: ByteCount,
}

impl IndexHeader {
    pub(crate) fn new(
        cluster: ClusterId,
        key: GenerationKey,
        source: &VersionSource<'_>,
        segment_length: ByteCount,
    ) -> Self {
        Self {
            cluster,
            key,
            uri: source.uri(),
            fingerprint: source.descriptor.fingerprint.clone(),
            block_length: source.descriptor.block_length,
            segment_length: key.unit.segment().map(|_| segment_length),
        }
    }

    pub(crate) fn digest(&self) -> IdentityDigest {
        IdentityDigest::of(&self.uri, &self.fingerprint)
    }

    /// The header with its padding: as long as the offset of the first record.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        let body = Body {
            cluster: self.cluster,
            file: self.key.unit.file(),
            generation: self.key.generation.get(),
            uri: self.uri.clone(),
            fingerprint: self.fingerprint.clone(),
            block_length: self.block_length,
        };
        let segment = self.key.unit.segment().zip(self.segment_length);
        let segment = segment.map(|(number, length)| SegmentBody { number, length });
        let format = if segment.is_some() { FORMAT_SEGMENTS } else { FORMAT_WHOLE };
        let body = match segment {
            None => postcard::to_stdvec(&body),
            Some(segment) => postcard::to_stdvec(&(body, segment)),
        };
        let body = body.map_err(|_| HeaderError::Damaged)?;
        let end = BODY_OFFSET + body.len() + CHECKSUM_LENGTH;
        let length = u32::try_from(body.len()).map_err(|_| HeaderError::TooLong(end))?;
        if end > HEADER_LENGTH_MAX {
            return Err(HeaderError::TooLong(end));
        }
        let mut bytes = Vec::with_capacity(end.next_multiple_of(RECORDS_ALIGNMENT));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes.resize(end.next_multiple_of(RECORDS_ALIGNMENT), 0);
        Ok(bytes)
    }

    /// The header at the begin of `bytes`, and the offset of the first record.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u64), HeaderError> {
        let damaged = HeaderError::Damaged;
        let length = u32_at(bytes, 12).and_then(|length| usize::try_from(length).ok()).ok_or(damaged)?;
        if !bytes.starts_with(MAGIC) || length > HEADER_LENGTH_MAX {
            return Err(damaged);
        }
        let body_end = BODY_OFFSET + length;
        let checked = bytes.get(..body_end).ok_or(damaged)?;
        let checksum = u32_at(bytes, body_end).ok_or(damaged)?;
        if crc32c::crc32c(checked) != checksum {
            return Err(damaged);
        }
        let (body, segment): (Body, Option<SegmentBody>) = match u32_at(bytes, 8) {
            Some(FORMAT_WHOLE) => (postcard::from_bytes(&checked[BODY_OFFSET..]).map_err(|_| damaged)?, None),
            Some(FORMAT_SEGMENTS) => {
                let (body, segment) = postcard::from_bytes(&checked[BODY_OFFSET..]).map_err(|_| damaged)?;
                (body, Some(segment))
            }
            _ => return Err(damaged),
        };
        let unit = match &segment {
            None => UnitId::whole(body.file),
            Some(segment) => UnitId::segment_of(body.file, segment.number).ok_or(damaged)?,
        };
        let records = (body_end + CHECKSUM_LENGTH).next_multiple_of(RECORDS_ALIGNMENT);
        let header = Self {
            cluster: body.cluster,
            key: GenerationKey { unit, generation: Generation::new(body.generation) },
            uri: body.uri,
            fingerprint: body.fingerprint,
            block_length: body.block_length,
            segment_length: segment.map(|segment| segment.length),
        };
        Ok((header, records as u64))
    }

    /// Most bytes that the header of a unit of `source` will have, whatever its generation.
    pub(crate) fn length_max(source: &VersionSource<'_>) -> u64 {
        // Numbers take at most ten bytes each in postcard; there are fewer than sixteen of them.
        const NUMBERS: usize = 16 * 10;
        let fingerprint = &source.descriptor.fingerprint;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let strings = source.mount_uri.len()
            + source.descriptor.key.as_bytes().len()
            + text(&fingerprint.tag)
            + text(&fingerprint.version_id);
        (BODY_OFFSET + 16 + NUMBERS + strings + CHECKSUM_LENGTH + RECORDS_ALIGNMENT) as u64
    }
}

/// Reads the header of an index file, and where its records begin.
pub(crate) fn read_header(index: impl AsFd) -> Option<(IndexHeader, u64)> {
    read_header_into(index, &mut Vec::new())
}

/// As [`read_header`]; `bytes` is emptied and then holds the begin of the file, with the records of a small version.
pub(crate) fn read_header_into(index: impl AsFd, bytes: &mut Vec<u8>) -> Option<(IndexHeader, u64)> {
    read_once(&index, bytes, FIRST_READ_LENGTH).ok()?;
    if let Ok(header) = IndexHeader::decode(bytes) {
        return Some(header);
    }
    // It may be longer than one read.
    read_at(&index, bytes, HEADER_LENGTH_MAX, 0).ok()?;
    IndexHeader::decode(bytes).ok()
}

/// What the index file of a unit takes whose records begin at `records`.
pub(crate) fn index_length(records: u64, geometry: Geometry) -> u64 {
    record_offset(records, PageIndex::new(geometry.page_count())).next_multiple_of(SECTOR_LENGTH)
}

/// Where the record of `page` lies in an index file whose records begin at `records`.
pub(crate) fn record_offset(records: u64, page: PageIndex) -> u64 {
    records + u64::from(page.get()) * RECORD_LENGTH as u64
}

#[cfg(test)]
mod tests {
    use forebay_types::{Incarnation, LocalIdentity, Timestamp};

    use super::*;

    const FILE: FileId = FileId { incarnation: Incarnation::new(2), counter: 77 };

    fn header() -> IndexHeader {
        IndexHeader {
            cluster: ClusterId::new([9; 16]),
            key: GenerationKey { unit: UnitId::whole(FILE), generation: Generation::new(5) },
            uri: b"file:///data/\xff\xfe".to_vec(),
            fingerprint: Fingerprint {
                tag: Some("abc".into()),
                version_id: None,
                length: ByteCount::new(110_000),
                modified: Timestamp::from_nanos(-3),
                local: Some(LocalIdentity { device: 1, inode: 2, changed: Timestamp::from_nanos(4) }),
            },
            block_length: ByteCount::new(64 << 20),
            segment_length: None,
        }
    }

    fn segment_header() -> IndexHeader {
        let key = GenerationKey { unit: UnitId::segment_of(FILE, 3).unwrap(), ..header().key };
        IndexHeader { key, segment_length: Some(ByteCount::new(1 << 30)), ..header() }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for header in [header(), segment_header()] {
            let bytes = header.encode().unwrap();
            let (read, records) = IndexHeader::decode(&bytes).unwrap();
            assert_eq!((read, records), (header, bytes.len() as u64));
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        every_change_is_found(&header());
        every_change_is_found(&segment_header());
    }

    fn every_change_is_found(header: &IndexHeader) {
        let bytes = header.encode().unwrap();
        let length = u32_at(&bytes, 12).unwrap() as usize;
        let end = BODY_OFFSET + length + CHECKSUM_LENGTH;
        for position in 0..end {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1;
            assert_eq!(IndexHeader::decode(&flipped), Err(HeaderError::Damaged), "byte {position}");
            assert_eq!(IndexHeader::decode(&bytes[..position]), Err(HeaderError::Damaged));
        }
    }

    #[test]
    fn the_format_does_not_change_unnoticed() {
        // Whoever has to change one of these numbers has changed its format, and must give it a new number.
        let bytes = header().encode().unwrap();
        assert_eq!((bytes.len(), crc32c::crc32c(&bytes), bytes[8]), (128, 0x5935_d788, 1));
        let bytes = segment_header().encode().unwrap();
        assert_eq!((bytes.len(), crc32c::crc32c(&bytes), bytes[8]), (128, 0xfa79_3b27, 2));
    }

    #[test]
    fn the_longest_header_is_foreseen() {
        use forebay_types::{MountId, UnderStoreKey, VersionDescriptor};
        let extreme = Timestamp::from_nanos(i64::MIN);
        let local = LocalIdentity { device: u64::MAX, inode: u64::MAX, changed: extreme };
        let file = FileId { incarnation: Incarnation::new(u32::MAX), counter: u64::MAX };
        let descriptor = VersionDescriptor {
            file,
            mount: MountId::new(1),
            key: UnderStoreKey::new(vec![0xff; 3000]).unwrap(),
            fingerprint: Fingerprint {
                tag: Some("t".repeat(512)),
                version_id: Some("v".repeat(512)),
                length: ByteCount::new(7 << 40),
                modified: extreme,
                local: Some(local),
            },
            block_length: ByteCount::new(u64::MAX),
        };
        let source = VersionSource { descriptor: &descriptor, mount_uri: "s3://bucket" };
        let unit = UnitId::segment_of(file, u32::MAX - 1).unwrap();
        let key = GenerationKey { unit, generation: Generation::new(u64::MAX) };
        let extreme_length = ByteCount::new(u64::MAX);
        let header = IndexHeader::new(ClusterId::new([0xff; 16]), key, &source, extreme_length);
        let length = header.encode().unwrap().len() as u64;
        let foreseen = IndexHeader::length_max(&source);
        assert!((length..length + 512).contains(&foreseen), "{foreseen} foreseen, {length} needed");
    }

    #[test]
    fn an_identity_that_is_too_long_is_refused() {
        let long = IndexHeader { uri: vec![b'x'; HEADER_LENGTH_MAX], ..header() };
        assert!(matches!(long.encode(), Err(HeaderError::TooLong(_))));
    }
}
