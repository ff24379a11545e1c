//! Checks that a key names a place below the mount and nothing else, before an adapter makes a path or a URL of it.

use std::ops::Range;

use forebay_types::{EntryName, FileOffset, Fingerprint, UnderStoreKey, UnderStoreUri};

use crate::error::UnderStoreError;

/// Checks that each part of `key` is a legal name; the empty key names the mount's root.
///
/// A part `..` would leave the directory, and an HTTP client would resolve it in the URL.
pub(crate) fn check_key(uri: &UnderStoreUri, key: &UnderStoreKey) -> Result<(), UnderStoreError> {
    if key.as_bytes().is_empty() {
        return Ok(());
    }
    for part in key.as_bytes().split(|byte| *byte == b'/') {
        EntryName::new(part)
            .map_err(|problem| UnderStoreError::IllegalKey { object: uri.display_key(key), problem })?;
    }
    Ok(())
}

/// Checks that `range` lies within the version and gives it as numbers.
pub(crate) fn check_range(
    object: &str,
    range: &Range<FileOffset>,
    expected: &Fingerprint,
) -> Result<Range<u64>, UnderStoreError> {
    let numbers = range.start.get()..range.end.get();
    if numbers.start > numbers.end || numbers.end > expected.length.get() {
        return Err(UnderStoreError::IllegalRange {
            object: object.to_owned(),
            start: range.start,
            end: range.end,
            length: expected.length,
        });
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_leave_the_mount_is_refused() {
        let uri: UnderStoreUri = "s3://bucket/prefix".parse().expect("legal");
        for bytes in ["..", "a/../b", "a//b", "/a", "a/", "a/./b", "a/\0"] {
            let key = UnderStoreKey::new(bytes.as_bytes()).expect("short");
            assert!(check_key(&uri, &key).is_err(), "{bytes:?}");
        }
        for bytes in ["", "a", "a/b", "a/...", "a/ b+%?#"] {
            let key = UnderStoreKey::new(bytes.as_bytes()).expect("short");
            assert!(check_key(&uri, &key).is_ok(), "{bytes:?}");
        }
    }
}
