//! Contents that bear the number of their version, their length and their place on each page, as text.
//!
//! Text, since what a command prints is taken for text. A number is given once in a history, so contents also tell
//! whether they are those of another name.

/// Bytes that are checked together: a page of the kernel, the least that a mapping shows at once.
const PAGE_LENGTH: usize = 4096;
/// A page is one record again and again: `VERSION LENGTH PAGE`, hexadecimal, and the end of a line.
const RECORD_LENGTH: usize = 32;

/// What bytes turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// No bytes, which bear no number.
    Empty,
    /// All bytes of this version.
    Version(u32),
    /// Bytes of several versions, of none, or not all of one.
    Torn(TornAt),
}

/// Where bytes stop being those of the version that they begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornAt(pub usize);

/// The content of a version: of no bytes, or of 32 at least.
///
/// # Panics
/// When it has too few bytes to bear a number.
#[must_use]
pub fn numbered(version: u32, length: usize) -> Vec<u8> {
    assert!(length == 0 || length >= RECORD_LENGTH, "{length} bytes cannot bear a number");
    let mut bytes = Vec::with_capacity(length + PAGE_LENGTH);
    let mut number = 0;
    while bytes.len() < length {
        bytes.extend_from_slice(&page(version, length, number));
        number += 1;
    }
    bytes.truncate(length);
    bytes
}

/// What these bytes, which are a whole file, are.
#[must_use]
pub fn contents_of(bytes: &[u8]) -> Contents {
    if bytes.is_empty() {
        return Contents::Empty;
    }
    let field = |range| std::str::from_utf8(bytes.get(range)?).ok();
    let version = field(0..8).and_then(|text| u32::from_str_radix(text, 16).ok());
    let length = field(9..17).and_then(|text| usize::from_str_radix(text, 16).ok());
    let (Some(version), Some(length)) = (version, length) else {
        return Contents::Torn(TornAt(0));
    };
    for (number, found) in bytes.chunks(PAGE_LENGTH).enumerate() {
        if *found != page(version, length, number)[..found.len()] {
            return Contents::Torn(TornAt(number * PAGE_LENGTH));
        }
    }
    if bytes.len() == length { Contents::Version(version) } else { Contents::Torn(TornAt(bytes.len())) }
}

fn page(version: u32, length: usize, number: usize) -> Vec<u8> {
    format!("{version:08x} {length:08x} {number:013x}\n").into_bytes().repeat(PAGE_LENGTH / RECORD_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::{Contents, TornAt, contents_of, numbered};

    const LENGTH: usize = 5 * 4096 + 100;

    #[test]
    fn whole_contents_tell_their_number() {
        for length in [32, 33, 4096, 4097, LENGTH] {
            let bytes = numbered(70_000, length);
            assert_eq!((bytes.len(), contents_of(&bytes)), (length, Contents::Version(70_000)));
        }
        assert_eq!(contents_of(&numbered(1, 0)), Contents::Empty);
    }

    #[test]
    fn pages_of_another_version_or_place_are_found() {
        let whole = numbered(7, LENGTH);
        let mut mixed = whole.clone();
        mixed[3 * 4096..4 * 4096].copy_from_slice(&numbered(8, LENGTH)[3 * 4096..4 * 4096]);
        assert_eq!(contents_of(&mixed), Contents::Torn(TornAt(3 * 4096)));
        let mut moved = whole.clone();
        moved.drain(4096..8192);
        assert_eq!(contents_of(&moved), Contents::Torn(TornAt(4096)));
        let mut flipped = whole;
        flipped[LENGTH - 1] ^= 1;
        assert_eq!(contents_of(&flipped), Contents::Torn(TornAt(5 * 4096)));
    }

    #[test]
    fn contents_that_are_cut_short_or_go_on_are_found() {
        let whole = numbered(7, LENGTH);
        assert_eq!(contents_of(&whole[..LENGTH - 1]), Contents::Torn(TornAt(LENGTH - 1)));
        assert_eq!(contents_of(&numbered(7, 2 * LENGTH)[..LENGTH]), Contents::Torn(TornAt(LENGTH)));
        let longer = [&whole[..], b"\n"].concat();
        assert!(matches!(contents_of(&longer), Contents::Torn(_)));
        assert_eq!(contents_of(&[0; 100]), Contents::Torn(TornAt(0)));
    }
}
