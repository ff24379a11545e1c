//! Each way of reading that the kernel has, in random order at random places, gives the bytes of the source: an exerciser
//! as fsx is one, for files that nobody can write to.
//!
//! fsx itself opens its file for writing whatever it is told to do, and begins by emptying it or filling it with zeros, so
//! it cannot judge a read-only mount. This one does what fsx does of reads: `pread`, mappings with the zeros behind the end
//! of the file, `sendfile`, `copy_file_range`, `posix_fadvise`, close and open, and the length by `fstat` and by `lseek`
//! after each step; and `preadv`, `SEEK_DATA` and `SEEK_HOLE`, and reads with `O_DIRECT` beside that.
//! `FOREBAY_READ_OPERATIONS=100000` makes it longer, `FOREBAY_READ_SEED` another one.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read, Seek};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use forebay_integration_tests::{Cluster, READ_MODES, content, map_pages, random_offsets, write_file};
use memmap2::MmapMut;
use rustix::fs::{Advice, SeekFrom, copy_file_range, fadvise, seek, sendfile};
use rustix::io::{Errno, preadv};

const MIB: usize = 1 << 20;
/// Where the cache lies, and who reads it: the kernel itself, or we for it.
const RAM: [&str; 2] = ["64MiB", "0"];
/// None ends with a page, and the last one is of several pages of presence.
const LENGTHS: [usize; 5] = [0, 1, 4095, 110_000, 5 * MIB + 12_345];
const SPARSE_LENGTH: usize = 3 * MIB + 77;
const READ_LENGTH_MAX: usize = 300_000;
const OPERATIONS: usize = 1500;
const SEED: u64 = 20_261_126;
/// What `O_DIRECT` wants of places, lengths and memory.
const ALIGNED: usize = 4096;

#[test]
fn every_way_of_reading_gives_the_bytes_of_the_source() {
    let source = tempfile::tempdir().expect("a folder");
    let mut files: Vec<_> = (1..)
        .zip(LENGTHS)
        .map(|(seed, length)| {
            let name = format!("f{length}");
            let bytes = write_file(&source.path().join(&name), seed, length);
            (name, bytes)
        })
        .collect();
    files.push(("sparse".to_owned(), write_sparse(&source.path().join("sparse"))));
    let uri = format!("file://{}", source.path().display());
    for (ram, mode) in RAM.into_iter().flat_map(|ram| READ_MODES.map(|mode| (ram, mode))) {
        let cluster = Cluster::builder().mount("/data", &uri).fuse().ram(ram).fuse_options(mode).start();
        let root = cluster.fuse().join("data");
        // The first time the bytes come from the source, the second time from the cache.
        for round in 0..2 {
            for (name, good) in &files {
                let seed = setting("FOREBAY_READ_SEED").unwrap_or(SEED) + round;
                eprintln!("{name}, ram {ram}, {mode}, seed {seed}");
                assert_eq!(exercise(&root.join(name), good, seed), Ok(()));
            }
        }
    }
}

#[test]
fn a_directory_of_the_machine_passes_and_one_other_byte_or_length_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f");
    let good = write_file(&path, 1, 110_000);
    assert_eq!(exercise(&path, &good, SEED), Ok(()));
    let mut other = good.clone();
    other[77_777] ^= 1;
    for wrong in [other, good[..109_999].to_vec(), [&good[..], b"x"].concat()] {
        fs::write(&path, wrong).expect("written");
        assert!(exercise(&path, &good, SEED).is_err());
    }
}

fn setting<T: FromStr<Err: std::fmt::Debug>>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// A file of which every other MiB is a hole.
fn write_sparse(path: &Path) -> Vec<u8> {
    let mut bytes = content(9, SPARSE_LENGTH);
    let file = File::create(path).expect("created");
    file.set_len(SPARSE_LENGTH as u64).expect("as long");
    for begin in (0..SPARSE_LENGTH).step_by(MIB) {
        let end = SPARSE_LENGTH.min(begin + MIB);
        if (begin / MIB).is_multiple_of(2) {
            file.write_all_at(&bytes[begin..end], begin as u64).expect("written");
        } else {
            bytes[begin..end].fill(0);
        }
    }
    bytes
}

/// Reads a file in as many steps as the settings say; what was done and seen when a step was wrong.
fn exercise(path: &Path, good: &[u8], seed: u64) -> Result<(), String> {
    let operations = setting("FOREBAY_READ_OPERATIONS").unwrap_or(OPERATIONS);
    let draws = random_offsets(seed, 4 * operations, u64::MAX).into_iter();
    let mut exerciser = Exerciser { path: path.to_owned(), file: open(path), good, draws };
    for step in 0..operations {
        let did = exerciser.step();
        did.outcome.and_then(|()| exerciser.check_length()).map_err(|wrong| {
            format!(
                "step {step} of seed {seed}: {} of {} at {}: {wrong}",
                did.what,
                path.display(),
                did.place
            )
        })?;
    }
    Ok(())
}

fn open(path: &Path) -> File {
    File::open(path).expect("opened")
}

/// Reads one file and knows what it has to find.
struct Exerciser<'a> {
    path: PathBuf,
    file: File,
    good: &'a [u8],
    draws: std::vec::IntoIter<u64>,
}

/// One step, for who has to repeat it.
struct Did {
    what: &'static str,
    place: String,
    outcome: Result<(), String>,
}

impl Exerciser<'_> {
    fn draw(&mut self, below: usize) -> usize {
        let drawn = self.draws.next().expect("enough for each step");
        usize::try_from(drawn % below as u64).expect("small")
    }

    fn step(&mut self) -> Did {
        let way = self.draw(100);
        // Some begin behind the end, and some end there.
        let offset = self.draw(self.good.len() + 10);
        let length = self.draw(READ_LENGTH_MAX);
        let place = format!("{offset} + {length}");
        let (what, outcome) = match way {
            0..30 => ("pread", self.pread(offset, length)),
            30..40 => ("preadv", self.preadv(offset, length)),
            40..60 => ("mmap", self.mapped(offset, length)),
            60..70 => ("sendfile", self.sendfile(offset, length)),
            70..75 => ("copy_file_range", self.copy(offset, length)),
            75..83 => ("SEEK_DATA and SEEK_HOLE", self.holes(offset)),
            83..90 => ("O_DIRECT", self.direct(offset, length)),
            90..95 => ("posix_fadvise", self.advise(offset, length)),
            95..98 => ("close and open", self.reopen()),
            _ => ("all of it dropped", self.drop_pages()),
        };
        Did { what, place, outcome }
    }

    /// The bytes that a read at a place has to give.
    fn wanted(&self, offset: usize, length: usize) -> &[u8] {
        let begin = offset.min(self.good.len());
        &self.good[begin..self.good.len().min(offset.saturating_add(length))]
    }

    fn compare(&self, offset: usize, length: usize, read: &[u8]) -> Result<(), String> {
        let wanted = self.wanted(offset, length);
        if read == wanted {
            return Ok(());
        }
        let first = read.iter().zip(wanted).position(|(read, wanted)| read != wanted);
        Err(format!("{} bytes instead of {}, the first other one: {first:?}", read.len(), wanted.len()))
    }

    /// As fsx: the length by both questions, after each step.
    fn check_length(&mut self) -> Result<(), String> {
        let (by_stat, by_seek) = (
            self.file.metadata().map_err(told)?.len(),
            self.file.seek(std::io::SeekFrom::End(0)).map_err(told)?,
        );
        let length = self.good.len() as u64;
        if (by_stat, by_seek) == (length, length) {
            Ok(())
        } else {
            Err(format!("{by_stat} and {by_seek} bytes long"))
        }
    }

    fn pread(&mut self, offset: usize, length: usize) -> Result<(), String> {
        let mut read = vec![0; length];
        let mut had = 0;
        loop {
            match self.file.read_at(&mut read[had..], (offset + had) as u64).map_err(told)? {
                0 => break,
                more => had += more,
            }
        }
        self.compare(offset, length, &read[..had])
    }

    fn preadv(&mut self, offset: usize, length: usize) -> Result<(), String> {
        let mut parts = [vec![0; length / 7], vec![0; length / 2], vec![0; length - length / 7 - length / 2]];
        let mut slices = parts.each_mut().map(|part| IoSliceMut::new(part));
        let had = preadv(&self.file, &mut slices, offset as u64).map_err(told)?;
        // A call may give less than is there; what it gives has to be right.
        if had == 0 && !self.wanted(offset, length).is_empty() {
            return Err("nothing before the end".to_owned());
        }
        self.compare(offset, had, &parts.concat()[..had])
    }

    fn mapped(&mut self, offset: usize, length: usize) -> Result<(), String> {
        if self.good.is_empty() {
            return Ok(());
        }
        let mapping = map_pages(&self.file);
        let begin = offset.min(self.good.len());
        let end = self.good.len().min(begin + length);
        self.compare(begin, length, &mapping[begin..end])?;
        let behind = &mapping[self.good.len()..];
        if behind.iter().all(|byte| *byte == 0) { Ok(()) } else { Err("no zeros behind the end".to_owned()) }
    }

    fn sendfile(&mut self, offset: usize, length: usize) -> Result<(), String> {
        let mut target = tempfile::tempfile().expect("a file");
        let (mut at, mut missing) = (offset as u64, length);
        while missing > 0 {
            match sendfile(&target, &self.file, Some(&mut at), missing).map_err(told)? {
                0 => break,
                more => missing -= more,
            }
        }
        self.compare_with(offset, length, &mut target)
    }

    /// To another file system the kernel may refuse it; `cp` then reads and writes.
    fn copy(&mut self, offset: usize, length: usize) -> Result<(), String> {
        let mut target = tempfile::tempfile().expect("a file");
        let (mut from, mut missing) = (offset as u64, length);
        while missing > 0 {
            match copy_file_range(&self.file, Some(&mut from), &target, None, missing) {
                Ok(0) => break,
                Ok(more) => missing -= more,
                Err(Errno::XDEV) => return self.copy_as_cp_does(),
                Err(error) => return Err(told(error)),
            }
        }
        self.compare_with(offset, length, &mut target)
    }

    fn copy_as_cp_does(&self) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("copy");
        fs::copy(&self.path, &target).map_err(told)?;
        self.compare(0, self.good.len(), &fs::read(target).expect("just written"))
    }

    fn compare_with(&self, offset: usize, length: usize, target: &mut File) -> Result<(), String> {
        let mut read = Vec::new();
        target.rewind().expect("a file");
        target.read_to_end(&mut read).expect("just written");
        self.compare(offset, length, &read)
    }

    /// A file system may take all for data; what it calls a hole has to be zeros, and each file ends with one.
    fn holes(&mut self, offset: usize) -> Result<(), String> {
        let length = self.good.len();
        let data = seek(&self.file, SeekFrom::Data(offset as u64));
        let hole = seek(&self.file, SeekFrom::Hole(offset as u64));
        if offset >= length {
            let both = (data, hole);
            return if both == (Err(Errno::NXIO), Err(Errno::NXIO)) {
                Ok(())
            } else {
                Err(format!("{both:?}"))
            };
        }
        let data = match data {
            Ok(data) => place_of(data),
            Err(Errno::NXIO) => length,
            Err(error) => return Err(told(error)),
        };
        let hole = place_of(hole.map_err(told)?);
        let is_right = (offset..=length).contains(&data)
            && (offset..=length).contains(&hole)
            && (data == offset) != (hole == offset)
            && self.good[offset..data].iter().all(|byte| *byte == 0);
        if is_right { Ok(()) } else { Err(format!("data at {data}, a hole at {hole}")) }
    }

    fn direct(&mut self, offset: usize, length: usize) -> Result<(), String> {
        let offset = offset / ALIGNED * ALIGNED;
        let length = length.next_multiple_of(ALIGNED).max(ALIGNED);
        let mut memory = MmapMut::map_anon(length).expect("memory");
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(&self.path).map_err(told)?;
        let had = file.read_at(&mut memory, offset as u64).map_err(told)?;
        if had == 0 && !self.wanted(offset, length).is_empty() {
            return Err("nothing before the end".to_owned());
        }
        self.compare(offset, had, &memory[..had])
    }

    fn advise(&mut self, offset: usize, length: usize) -> Result<(), String> {
        let all = [
            Advice::Normal,
            Advice::Sequential,
            Advice::Random,
            Advice::NoReuse,
            Advice::WillNeed,
            Advice::DontNeed,
        ];
        let advice = all[self.draw(all.len())];
        fadvise(&self.file, offset as u64, std::num::NonZero::new(length as u64), advice).map_err(told)
    }

    /// The next reads ask the mount, or whoever the kernel reads from.
    fn drop_pages(&mut self) -> Result<(), String> {
        fadvise(&self.file, 0, None, Advice::DontNeed).map_err(told)
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.file = open(&self.path);
        Ok(())
    }
}

fn place_of(offset: u64) -> usize {
    usize::try_from(offset).expect("in a file that fits the memory")
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
