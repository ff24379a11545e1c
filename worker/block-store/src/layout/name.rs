//! Names of the files of a unit, and which folder they lie in.

use std::str::FromStr;

use forebay_types::{FileId, Incarnation, crc32c};

use super::{BLOCKS_FOLDER, FOLDER_COUNT, Generation, GenerationKey};
use crate::unit::UnitId;

/// Which of the two files of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Data,
    Index,
}

impl FileKind {
    const fn extension(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
        }
    }
}

/// The folder of a unit's files: a checksum spreads neighbours well, and the segments of one version.
pub(crate) fn folder(unit: UnitId) -> u32 {
    let checksum = crc32c::crc32c(&unit.file().counter.to_le_bytes());
    let segment = unit.segment().map(u32::to_le_bytes);
    segment.map_or(checksum, |segment| crc32c::crc32c_append(checksum, &segment)) % FOLDER_COUNT
}

/// The path of a file below the tier's directory.
pub(crate) fn relative_path(key: GenerationKey, kind: FileKind) -> String {
    format!("{BLOCKS_FOLDER}/{:02x}/{key}.{}", folder(key.unit), kind.extension())
}

/// The path of one of the folders below the tier's directory.
pub(crate) fn folder_path(folder: u32) -> String {
    format!("{BLOCKS_FOLDER}/{folder:02x}")
}

/// The name of a file in its folder.
pub(crate) fn file_name(key: GenerationKey, kind: FileKind) -> String {
    format!("{key}.{}", kind.extension())
}

/// What the file called `name` is; `None` for a name that this store does not give.
pub(crate) fn parse_name(name: &[u8]) -> Option<(GenerationKey, FileKind)> {
    let text = std::str::from_utf8(name).ok()?;
    let mut parts = text.split('.');
    let (incarnation, counter) = parts.next()?.split_once('-')?;
    let file = FileId { incarnation: Incarnation::new(number(incarnation)?), counter: number(counter)? };
    let mut generation = parts.next()?;
    let mut unit = UnitId::whole(file);
    if let Some(segment) = generation.strip_prefix('s') {
        unit = UnitId::segment_of(file, number(segment)?)?;
        generation = parts.next()?;
    }
    let kind = match (parts.next()?, parts.next()) {
        ("data", None) => FileKind::Data,
        ("index", None) => FileKind::Index,
        _ => return None,
    };
    let key = GenerationKey { unit, generation: Generation::new(number(generation)?) };
    Some((key, kind))
}

/// The number that the store writes as `text`: `+1` and `01` it would look for under another name.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_plain = text == "0"
        || text.bytes().enumerate().all(|(at, byte)| match byte {
            b'0' => at > 0,
            _ => byte.is_ascii_digit(),
        });
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_given() {
        let file = FileId { incarnation: Incarnation::new(3), counter: u64::MAX };
        for unit in [
            UnitId::whole(file),
            UnitId::segment_of(file, 0).unwrap(),
            UnitId::segment_of(file, 49_151).unwrap(),
        ] {
            let key = GenerationKey { unit, generation: Generation::new(12) };
            for kind in [FileKind::Data, FileKind::Index] {
                let path = relative_path(key, kind);
                let name = path.rsplit('/').next().unwrap();
                assert_eq!(parse_name(name.as_bytes()), Some((key, kind)), "{path}");
            }
        }
    }

    #[test]
    fn the_names_do_not_change_unnoticed() {
        let file = FileId { incarnation: Incarnation::new(3), counter: 77 };
        let path =
            |unit| relative_path(GenerationKey { unit, generation: Generation::new(12) }, FileKind::Data);
        assert_eq!(path(UnitId::whole(file)), "blocks/28/3-77.12.data");
        // Format 1 expects a number where the `s` stands, so it leaves such a file alone.
        assert_eq!(path(UnitId::segment_of(file, 4).unwrap()), "blocks/63/3-77.s4.12.data");
    }

    #[test]
    fn names_that_the_store_does_not_give_are_not_read() {
        for name in [
            "",
            "1-2.3",
            "1-2.data",
            "1-2.3.tmp",
            "1-2.3.data.x",
            "01-2.3.data",
            "+1-2.3.data",
            "1-2.-3.index",
            "1-2.s.3.data",
            "1-2.s01.3.data",
            "1-2.s4294967295.3.data",
            "1-2.s1.data",
            "1-2.s1.s2.3.data",
        ] {
            assert_eq!(parse_name(name.as_bytes()), None, "{name}");
        }
        assert_eq!(parse_name(b"1-2.3.data\xff"), None);
    }
}
