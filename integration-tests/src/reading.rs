//! The ways in which training reads: at random, by mapping, many at once, with many files open; each compared with the
//! bytes of the source.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::data::{content, random_offsets, sha256, write_file};
use crate::mapping::map;

const RANDOM_READS: usize = 500;
const RANDOM_LENGTH: usize = 4096;
const READERS_OF_ONE: usize = 16;
/// As many files as readers, each reading one.
const MANY: u64 = 64;
const MANY_LENGTH: usize = 300_000;
const DESCRIPTORS: u64 = 256;

/// Where a read differs from the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Different(String);

/// Reads 4 KiB at places that follow from a seed, and then all of it as a mapping.
///
/// # Errors
/// When a byte is another, or there are more or fewer of them.
///
/// # Panics
/// When it cannot be read.
pub fn compare_random_and_mapped(path: &Path, bytes: &[u8]) -> Result<(), Different> {
    let file = File::open(path).expect("open");
    for offset in random_offsets(1, RANDOM_READS, bytes.len() as u64) {
        let mut buffer = [0; RANDOM_LENGTH];
        let count = file.read_at(&mut buffer, offset).expect("read");
        let start = usize::try_from(offset).expect("small");
        let end = (start + RANDOM_LENGTH).min(bytes.len());
        if count == 0 || count > end - start || buffer[..count] != bytes[start..start + count] {
            return Err(Different(format!("{count} bytes at {offset}")));
        }
    }
    if sha256(&map(&file)) == sha256(bytes) { Ok(()) } else { Err(Different("the mapping".to_owned())) }
}

/// Writes what [`compare_many_readers`] reads.
pub fn write_for_many_readers(source: &Path) {
    write_file(&source.join("one"), 1, 9 << 20);
    for index in 0..MANY {
        write_file(&source.join(format!("many/f{index}")), 100 + index, MANY_LENGTH);
    }
}

/// Reads one file by 16 readers while 64 read a file each; then all of these by 256 descriptors that are open at once.
///
/// # Errors
/// When a byte is another.
///
/// # Panics
/// When one cannot be read.
pub fn compare_many_readers(root: &Path) -> Result<(), Different> {
    let one = sha256(&content(1, 9 << 20));
    let different = |what: String| Err(Different(what));
    std::thread::scope(|scope| {
        let of_one = (0..READERS_OF_ONE).map(|_| {
            scope.spawn(|| {
                let sum = sha256(&std::fs::read(root.join("one")).expect("read"));
                if sum == one { Ok(()) } else { different("one file of many readers".to_owned()) }
            })
        });
        let of_many = (0..MANY).map(|index| {
            scope.spawn(move || {
                let bytes = std::fs::read(root.join(format!("many/f{index}"))).expect("read");
                let same = bytes == content(100 + index, MANY_LENGTH);
                if same { Ok(()) } else { different(format!("file {index} of many")) }
            })
        });
        let readers: Vec<_> = of_one.chain(of_many).collect();
        readers.into_iter().try_for_each(|reader| reader.join().expect("readable"))
    })?;
    let open: Vec<_> = (0..DESCRIPTORS)
        .map(|index| File::open(root.join(format!("many/f{}", index % MANY))).expect("open"))
        .collect();
    let last: Vec<_> = (0..MANY).map(|index| content(100 + index, MANY_LENGTH)[MANY_LENGTH - 1]).collect();
    for (file, index) in open.iter().zip(0..) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, MANY_LENGTH as u64 - 1).expect("read");
        if byte[0] != last[index % last.len()] {
            return different(format!("descriptor {index}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::FileExt;

    use super::{compare_many_readers, compare_random_and_mapped, write_for_many_readers};
    use crate::data::write_file;

    /// Makes one byte of a file another.
    fn flip(path: &std::path::Path, at: u64) {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("open");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[!byte[0]], at).expect("written");
    }

    #[test]
    fn one_other_byte_is_found_by_random_reads_or_by_the_mapping() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let bytes = write_file(&path, 7, 100_000);
        assert_eq!(compare_random_and_mapped(&path, &bytes), Ok(()));
        flip(&path, 50_000);
        assert!(format!("{:?}", compare_random_and_mapped(&path, &bytes)).contains("bytes at"));
        let large = write_file(&path, 8, 40 << 20);
        flip(&path, 33_333_333);
        assert!(format!("{:?}", compare_random_and_mapped(&path, &large)).contains("mapping"));
        fs::write(&path, &large[..large.len() - 1]).expect("written");
        assert!(compare_random_and_mapped(&path, &large).is_err(), "a byte too few");
    }

    #[test]
    fn one_other_byte_is_found_by_many_readers() {
        let folder = tempfile::tempdir().expect("a folder");
        write_for_many_readers(folder.path());
        assert_eq!(compare_many_readers(folder.path()), Ok(()));
        for name in ["one", "many/f63"] {
            flip(&folder.path().join(name), 299_999);
            assert!(compare_many_readers(folder.path()).is_err(), "{name}");
            flip(&folder.path().join(name), 299_999);
        }
        assert_eq!(compare_many_readers(folder.path()), Ok(()));
    }
}
