//! Contents that bear their version on each page, and the check that bytes are those of one version.

/// Bytes that bear one stamp: a page of the kernel, the least that a mapping shows at once.
const STAMP_INTERVAL: usize = 4096;
/// Bytes of a page that bear its number; all others bear the version.
const NUMBER_LENGTH: usize = 4;

/// Bytes of more than one version, or of none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixed {
    /// Where the first page begins that is not the one of its place and of the first page's version.
    pub at: usize,
}

/// Content of version `version`, of at least five bytes.
#[must_use]
pub fn stamped(version: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![version; length];
    for (page, number) in bytes.chunks_mut(STAMP_INTERVAL).zip(0_u32..) {
        let length = page.len().min(NUMBER_LENGTH);
        page[..length].copy_from_slice(&number.to_le_bytes()[..length]);
    }
    bytes
}

/// The version whose content, in their length, these bytes are.
///
/// # Errors
/// Where they go over to another version, or to another place.
pub fn version_of(bytes: &[u8]) -> Result<u8, Mixed> {
    let version = *bytes.get(NUMBER_LENGTH).ok_or(Mixed { at: 0 })?;
    let mut expected = [version; STAMP_INTERVAL];
    for (page, number) in bytes.chunks(STAMP_INTERVAL).zip(0_u32..) {
        expected[..NUMBER_LENGTH].copy_from_slice(&number.to_le_bytes());
        if *page != expected[..page.len()] {
            return Err(Mixed { at: number as usize * STAMP_INTERVAL });
        }
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::{Mixed, stamped, version_of};

    #[test]
    fn one_page_or_one_byte_of_another_version_is_found() {
        let length = 5 * 4096 + 100;
        let whole = stamped(7, length);
        assert_eq!(version_of(&whole), Ok(7));
        let mut mixed = whole.clone();
        mixed[3 * 4096..4 * 4096].copy_from_slice(&stamped(8, length)[3 * 4096..4 * 4096]);
        assert_eq!(version_of(&mixed), Err(Mixed { at: 3 * 4096 }));
        let mut moved = whole.clone();
        moved.drain(4096..8192);
        assert_eq!(version_of(&moved), Err(Mixed { at: 4096 }));
        let mut flipped = whole;
        flipped[length - 1] ^= 1;
        assert_eq!(version_of(&flipped), Err(Mixed { at: 5 * 4096 }));
    }
}
