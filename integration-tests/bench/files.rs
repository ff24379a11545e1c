//! What programs do with files, as plainly as they can: each function does it to one folder and gives the rate.
//!
//! Buffers begin at a page, since an unaligned one makes the kernel split large requests in two. Opens are made with
//! system calls, so that nothing is allocated or looked up besides. Times of processes are never measured.

use std::fs::{DirEntry, File};
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Instant;

use forebay_integration_tests::{map, random_offsets};
use memmap2::MmapMut;
use rustix::fs::{Mode, OFlags, open, stat};
use rustix::io::{pread, read};

const MIB: usize = 1 << 20;
/// Enough for a small file in one read, as most readers of such files take.
const SMALL_READ_LENGTH: usize = 128 << 10;

/// Memory that begins at a page.
pub(crate) struct Aligned(MmapMut);

impl Aligned {
    pub(crate) fn new(length: usize) -> Self {
        let mut memory = MmapMut::map_anon(length).expect("memory");
        // So that the first read does not pay for the pages.
        memory.fill(1);
        Self(memory)
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

pub(crate) fn opened(path: &Path) -> OwnedFd {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("a file that can be opened")
}

fn per_second(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Reads a file from its begin to its end in pieces of 1 MiB. Gives MiB/s.
pub(crate) fn sequential(file: &Path, buffer: &mut Aligned) -> f64 {
    let (begun, file) = (Instant::now(), opened(file));
    let mut total = 0;
    loop {
        match read(&file, &mut buffer.0[..MIB]).expect("readable") {
            0 => break,
            more => total += more,
        }
    }
    per_second(total, begun) / MIB as f64
}

/// Reads `count` pieces of `length` bytes at places that follow from `seed`. Gives reads/s.
pub(crate) fn random(file: &Path, buffer: &mut Aligned, length: usize, count: usize, seed: u64) -> f64 {
    let pieces = std::fs::metadata(file).expect("there").len() / length as u64;
    let offsets = random_offsets(seed, count, pieces);
    let file = opened(file);
    let begun = Instant::now();
    for piece in offsets {
        let had = pread(&file, &mut buffer.0[..length], piece * length as u64).expect("readable");
        assert_eq!(had, length, "the file is a multiple of this");
    }
    per_second(count, begun)
}

/// The same by so many threads, each of which reads its part of the pieces. Gives reads/s of all together.
pub(crate) fn random_by_many(file: &Path, length: usize, count: usize, readers: usize, seed: u64) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for reader in 0..readers as u64 {
            scope.spawn(move || {
                random(file, &mut Aligned::new(length), length, count / readers, seed + reader)
            });
        }
    });
    per_second(count / readers * readers, begun)
}

/// Reads a file from its begin to its end by so many threads, each all of it. Gives MiB/s of all together.
pub(crate) fn sequential_by_many(file: &Path, readers: usize) -> f64 {
    let length = std::fs::metadata(file).expect("there").len() as f64 / MIB as f64;
    let seconds = seconds_of(readers, MIB, |_, buffer| {
        sequential(file, buffer);
    });
    length * readers as f64 / seconds
}

/// Opens, reads to the end and closes each file `rounds` times, so many threads taking a part each. Gives files/s.
pub(crate) fn read_each_by_many(files: &[PathBuf], readers: usize, rounds: usize) -> f64 {
    let parts: Vec<_> = files.chunks(files.len().div_ceil(readers)).collect();
    let seconds = seconds_of(parts.len(), SMALL_READ_LENGTH, |reader, buffer| {
        (0..rounds).for_each(|_| read_part(parts[reader], buffer));
    });
    (files.len() * rounds) as f64 / seconds
}

/// How long it takes until all of so many threads have done their work. Their making and their memory do not count.
fn seconds_of(threads: usize, memory: usize, work: impl Fn(usize, &mut Aligned) + Sync) -> f64 {
    let (ready, work) = (Barrier::new(threads + 1), &work);
    let begun = std::thread::scope(|scope| {
        for thread in 0..threads {
            let ready = &ready;
            scope.spawn(move || {
                let mut buffer = Aligned::new(memory);
                ready.wait();
                work(thread, &mut buffer);
            });
        }
        ready.wait();
        Instant::now()
    });
    begun.elapsed().as_secs_f64()
}

/// Goes through all directories below a folder, as `find` does. Gives names/s.
pub(crate) fn find(folder: &Path) -> f64 {
    walk(folder, |_| {})
}

/// The same with a stat of each entry right after its name, as `find -size` and `ls -l` do.
pub(crate) fn find_and_stat(folder: &Path) -> f64 {
    walk(folder, |entry| {
        black_box(entry.metadata().expect("there"));
    })
}

fn walk(folder: &Path, look: impl Fn(&DirEntry)) -> f64 {
    let (begun, mut folders, mut names) = (Instant::now(), vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("read")) {
            names += 1;
            look(&entry);
            if entry.file_type().expect("told").is_dir() {
                folders.push(entry.path());
            }
        }
    }
    per_second(names, begun)
}

/// Adds a file up through a mapping. Gives MiB/s.
pub(crate) fn mapped(file: &Path) -> f64 {
    mapped_of(|| File::open(file).expect("a file that can be opened"))
}

/// The same of a file that is opened by somebody.
pub(crate) fn mapped_of(open: impl FnOnce() -> File) -> f64 {
    let begun = Instant::now();
    let mapping = map(&open());
    let words = mapping.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")));
    black_box(words.fold(0_u64, u64::wrapping_add));
    per_second(mapping.len(), begun) / MIB as f64
}

/// Opens, reads to the end and closes each file, `readers` threads taking a part each. Gives files/s.
pub(crate) fn read_each(files: &[PathBuf], readers: usize) -> f64 {
    read_each_by_many(files, readers, 1)
}

fn read_part(files: &[PathBuf], buffer: &mut Aligned) {
    for file in files {
        let file = opened(file);
        while read(&file, &mut buffer.0[..]).expect("readable") > 0 {}
    }
}

/// Opens and closes each file `rounds` times. Gives opens/s.
pub(crate) fn open_each(files: &[PathBuf], rounds: usize) -> f64 {
    let begun = Instant::now();
    for _ in 0..rounds {
        files.iter().for_each(|file| drop(opened(file)));
    }
    per_second(files.len() * rounds, begun)
}

/// Asks for each file's attributes `rounds` times. Gives stats/s.
pub(crate) fn stat_each(files: &[PathBuf], rounds: usize) -> f64 {
    let begun = Instant::now();
    for _ in 0..rounds {
        for file in files {
            black_box(stat(file).expect("there"));
        }
    }
    per_second(files.len() * rounds, begun)
}
