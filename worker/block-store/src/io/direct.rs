//! Reading past the page cache: it is the disk that answers, and nobody's cached pages have to leave for it.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Advice, Mode, OFlags, fadvise};
use rustix::io::Errno;

/// What direct reads and writes must begin and end at, in the file and in memory: the largest block of a disk.
const ALIGNMENT: usize = 4096;

/// A file that is read past the page cache, where its file system knows how.
#[derive(Debug)]
pub(crate) struct DirectFile {
    file: OwnedFd,
    is_direct: bool,
}

/// Memory to read into, used again and again.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuffer(Vec<u8>);

impl AlignedBuffer {
    /// `length` bytes that begin at an aligned address, `length` being a multiple of [`ALIGNMENT`].
    pub(crate) fn slice(&mut self, length: usize) -> &mut [u8] {
        if self.0.len() < length + ALIGNMENT {
            self.0.resize(length + ALIGNMENT, 0);
        }
        let skip = self.0.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        &mut self.0[skip..skip + length]
    }
}

/// Opens a file past the page cache, or through it where that is not known.
pub(crate) fn open_direct(directory: impl AsFd, path: &str, flags: OFlags) -> io::Result<DirectFile> {
    let open = |flags| rustix::fs::openat(&directory, path, flags, Mode::RUSR | Mode::WUSR);
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match open(flags | OFlags::DIRECT) {
        Ok(file) => Ok(DirectFile { file, is_direct: true }),
        Err(Errno::INVAL) => Ok(DirectFile { file: open(flags)?, is_direct: false }),
        Err(error) => Err(error.into()),
    }
}

impl DirectFile {
    pub(crate) const fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// The bytes of `range`; fewer only at the end of the file.
    pub(crate) fn read<'a>(&self, buffer: &'a mut AlignedBuffer, range: Range<u64>) -> io::Result<&'a [u8]> {
        let alignment = ALIGNMENT as u64;
        let begin = range.start / alignment * alignment;
        let length = usize_of(range.end.next_multiple_of(alignment) - begin);
        let memory = buffer.slice(length);
        let mut filled = 0;
        while filled < length {
            match rustix::io::pread(&self.file, &mut memory[filled..], begin + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            // What is not whole ended at the end of the file; to go on there would not be aligned.
            if !filled.is_multiple_of(ALIGNMENT) {
                break;
            }
        }
        if !self.is_direct {
            let all = std::num::NonZeroU64::new(length as u64);
            // Only advice: where it is not taken, nothing is lost but room.
            let _ = fadvise(&self.file, begin, all, Advice::DontNeed);
        }
        let wanted = usize_of(range.start - begin)..usize_of(range.end - begin);
        Ok(&memory[wanted.start.min(filled)..wanted.end.min(filled)])
    }
}

fn usize_of(length: u64) -> usize {
    usize::try_from(length).expect("within one read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{open_for_writing, write_all_at};

    #[test]
    fn any_range_is_read_as_it_was_written_and_ends_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(folder.path()).unwrap();
        let written: Vec<u8> =
            (0..10_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        write_all_at(open_for_writing(&directory, "file").unwrap(), &written, 0).unwrap();
        let file = open_direct(&directory, "file", OFlags::RDONLY).unwrap();
        let mut buffer = AlignedBuffer::default();
        for range in [0..10_000, 0..1, 4095..4097, 8191..9000, 9_999..10_000, 9_000..20_000, 20_000..20_001] {
            let expected = &written[(range.start.min(10_000))..(range.end.min(10_000))];
            let range = range.start as u64..range.end as u64;
            assert_eq!(file.read(&mut buffer, range.clone()).unwrap(), expected, "{range:?}");
        }
    }
}
