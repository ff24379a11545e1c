//! Checks what a block stream brings: each chunk has its checksum and follows the one before, and none is missing.

use bytes::Bytes;
use forebay_proto::v1;
use forebay_types::crc32c;
use thiserror::Error;

use crate::limits::CHUNK_LENGTH_MAX;

/// The place in a stream up to which all is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    at: u64,
    end: u64,
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Defect {
    #[error("the chunk at {offset} has not its checksum")]
    Checksum { offset: u64 },
    #[error("a chunk begins at {offset} where {expected} was due")]
    OutOfPlace { offset: u64, expected: u64 },
    #[error("a chunk of {length} bytes, where at most {max} may come")]
    Length { length: usize, max: u64 },
    #[error("the stream ends at {at}, before {end}")]
    Short { at: u64, end: u64 },
}

impl Verified {
    /// Nothing yet of the bytes from `at` to `end`.
    pub(crate) const fn new(at: u64, end: u64) -> Self {
        Self { at, end }
    }

    /// The first byte that is still missing.
    pub(crate) const fn at(self) -> u64 {
        self.at
    }

    /// How many bytes are still missing.
    pub(crate) const fn missing(self) -> u64 {
        self.end - self.at
    }

    /// Whether nothing is missing.
    pub(crate) const fn is_complete(self) -> bool {
        self.at == self.end
    }

    /// Takes the next chunk's data.
    pub(crate) fn take(&mut self, chunk: v1::ReadChunk) -> Result<Bytes, Defect> {
        let v1::ReadChunk { data, crc32c, offset, .. } = chunk;
        if offset != self.at {
            return Err(Defect::OutOfPlace { offset, expected: self.at });
        }
        let max = (self.end - self.at).min(CHUNK_LENGTH_MAX as u64);
        if data.is_empty() || data.len() as u64 > max {
            return Err(Defect::Length { length: data.len(), max });
        }
        if crc32c::crc32c(&data) != crc32c {
            return Err(Defect::Checksum { offset });
        }
        self.at += data.len() as u64;
        Ok(data)
    }

    /// The next bytes were verified elsewhere; not more than are missing.
    pub(crate) const fn skip(&mut self, length: u64) {
        self.at += length;
    }

    /// The stream is over.
    pub(crate) const fn finish(self) -> Result<(), Defect> {
        if self.is_complete() { Ok(()) } else { Err(Defect::Short { at: self.at, end: self.end }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offset: u64, data: &'static [u8]) -> v1::ReadChunk {
        v1::ReadChunk {
            data: Bytes::from_static(data),
            crc32c: crc32c::crc32c(data),
            offset,
            fill_sequence: 1,
        }
    }

    #[test]
    fn chunks_that_follow_each_other_are_taken() {
        let mut verified = Verified::new(10, 16);
        assert_eq!(verified.take(chunk(10, b"abcd")), Ok(Bytes::from_static(b"abcd")));
        assert_eq!(verified.finish(), Err(Defect::Short { at: 14, end: 16 }));
        assert!(verified.take(chunk(14, b"ef")).is_ok());
        assert_eq!(verified.finish(), Ok(()));
    }

    #[test]
    fn every_kind_of_damage_is_noticed_and_changes_nothing() {
        let mut verified = Verified::new(10, 16);
        let flipped = v1::ReadChunk { data: Bytes::from_static(b"abce"), ..chunk(10, b"abcd") };
        assert_eq!(verified.take(flipped), Err(Defect::Checksum { offset: 10 }));
        let moved = Defect::OutOfPlace { offset: 12, expected: 10 };
        assert_eq!(verified.take(chunk(12, b"cd")), Err(moved));
        assert_eq!(verified.take(chunk(10, b"abcdefg")), Err(Defect::Length { length: 7, max: 6 }));
        assert_eq!(verified.take(chunk(10, b"")), Err(Defect::Length { length: 0, max: 6 }));
        assert_eq!(verified, Verified::new(10, 16));
    }
}
