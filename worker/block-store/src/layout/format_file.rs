//! The file `format`: whose directory this is, and in which format.

use forebay_types::{ClusterId, crc32c};
use thiserror::Error;

use super::{FORMAT_SEGMENTS, FORMAT_WHOLE, u32_at};

const MAGIC: &[u8; 8] = b"FOREBAYC";
/// Magic, version, cluster id, CRC32C.
pub(crate) const FORMAT_FILE_LENGTH: usize = 32;
const CHECKSUM_OFFSET: usize = FORMAT_FILE_LENGTH - 4;

/// Contents of the file `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormatFile {
    pub(crate) cluster: ClusterId,
    /// Whether there may be segments: whoever knows format 1 only must not use the directory then.
    pub(crate) has_segments: bool,
}

/// Why the bytes are no format file of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FormatFileError {
    #[error("damaged")]
    Damaged,
    #[error("format {0} is not known")]
    UnknownVersion(u32),
}

impl FormatFile {
    pub(crate) fn encode(self) -> [u8; FORMAT_FILE_LENGTH] {
        let mut bytes = [0; FORMAT_FILE_LENGTH];
        bytes[..8].copy_from_slice(MAGIC);
        let format = if self.has_segments { FORMAT_SEGMENTS } else { FORMAT_WHOLE };
        bytes[8..12].copy_from_slice(&format.to_le_bytes());
        bytes[12..CHECKSUM_OFFSET].copy_from_slice(self.cluster.bytes());
        let checksum = crc32c::crc32c(&bytes[..CHECKSUM_OFFSET]);
        bytes[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Magic, version and checksum have their places for ever, so that a later format is told from damage.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatFileError> {
        let bytes: &[u8; FORMAT_FILE_LENGTH] = bytes.try_into().map_err(|_| FormatFileError::Damaged)?;
        let checksum = u32_at(bytes, CHECKSUM_OFFSET).ok_or(FormatFileError::Damaged)?;
        if !bytes.starts_with(MAGIC) || crc32c::crc32c(&bytes[..CHECKSUM_OFFSET]) != checksum {
            return Err(FormatFileError::Damaged);
        }
        let has_segments = match u32_at(bytes, 8).ok_or(FormatFileError::Damaged)? {
            FORMAT_WHOLE => false,
            FORMAT_SEGMENTS => true,
            version => return Err(FormatFileError::UnknownVersion(version)),
        };
        let cluster = bytes[12..].first_chunk().copied().ok_or(FormatFileError::Damaged)?;
        Ok(Self { cluster: ClusterId::new(cluster), has_segments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FormatFile = FormatFile { cluster: ClusterId::new([7; 16]), has_segments: false };

    #[test]
    fn a_directory_is_of_format_1_before_its_first_segment_and_of_format_2_then() {
        for (has_segments, format) in [(false, 1), (true, 2)] {
            let file = FormatFile { has_segments, ..FILE };
            assert_eq!((FormatFile::decode(&file.encode()), file.encode()[8]), (Ok(file), format));
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let bytes = FILE.encode();
        assert_eq!(FormatFile::decode(&bytes), Ok(FILE));
        for position in 0..bytes.len() {
            let mut flipped = bytes;
            flipped[position] ^= 0x40;
            assert_eq!(FormatFile::decode(&flipped), Err(FormatFileError::Damaged), "byte {position}");
            assert_eq!(FormatFile::decode(&bytes[..position]), Err(FormatFileError::Damaged));
        }
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut bytes = FILE.encode();
        bytes[8] = 9;
        let checksum = crc32c::crc32c(&bytes[..CHECKSUM_OFFSET]);
        bytes[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(FormatFile::decode(&bytes), Err(FormatFileError::UnknownVersion(9)));
    }
}
