//! How any row becomes bytes and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::reply::{self, CodecError};
use crate::store::{StateReader, StoreError, Table};

/// A row of one table.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// Where it lies.
    const TABLE: Table;
    /// The format that is written, and the newest that can be read.
    const FORMAT: u8 = 1;

    /// Reads what follows the byte of a format from 1 to [`Self::FORMAT`].
    fn decode(_format: u8, content: &[u8]) -> Result<Self, CodecError> {
        reply::decode_content(content)
    }

    /// The bytes of a row, in [`Self::FORMAT`] unless a row says less and is written so that earlier versions read it.
    fn encode(&self) -> Vec<u8> {
        encode_as(Self::FORMAT, self)
    }
}

/// The row at `key`.
pub(crate) fn read<R: Record>(reader: &dyn StateReader, key: &[u8]) -> Result<Option<R>, StoreError> {
    reader.get(R::TABLE, key)?.map(|bytes| decode_record(key, &bytes)).transpose()
}

/// Up to `limit` rows from `start` on, with their keys.
pub(crate) fn read_page<R: Record>(
    reader: &dyn StateReader,
    start: &[u8],
    end: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, R)>, StoreError> {
    let rows = reader.scan(R::TABLE, start, end, limit)?;
    rows.into_iter()
        .map(|(key, bytes)| {
            let row = decode_record(&key, &bytes)?;
            Ok((key, row))
        })
        .collect()
}

/// The row that `bytes` hold. They come from a disk, so they may be anything.
pub(crate) fn decode_record<R: Record>(key: &[u8], bytes: &[u8]) -> Result<R, StoreError> {
    let row = reply::format_of(R::FORMAT, bytes).and_then(|(format, content)| R::decode(format, content));
    row.map_err(|error| match error {
        CodecError::NewerFormat { found, known } => {
            StoreError::NewerFormat { table: R::TABLE.name(), key: hex(key), found, known }
        }
        other => StoreError::corrupt(R::TABLE, key, other.to_string()),
    })
}

/// The bytes of a row.
pub(crate) fn encode_record<R: Record>(row: &R) -> Vec<u8> {
    row.encode()
}

/// The bytes of a row in a format.
pub(crate) fn encode_as<T: Serialize>(format: u8, row: &T) -> Vec<u8> {
    reply::encode(format, row).expect("postcard writes every record: none has a length that is not known")
}

/// The first key after all that begin with `prefix`; `None` when there is no such key.
pub(crate) fn range_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Bytes as hex digits, for messages.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl StoreError {
    /// A row that does not make sense.
    pub(crate) fn corrupt(table: Table, key: &[u8], problem: impl Into<String>) -> Self {
        Self::Corrupt { table: table.name(), key: hex(key), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_range_follows_each_key_of_it() {
        assert_eq!(range_end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(range_end(&[1, 255]), Some(vec![2]));
        assert_eq!(range_end(&[255, 255]), None);
    }
}
