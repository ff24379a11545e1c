//! A file as a mapping: the way that many readers of training data take.

#![allow(unsafe_code, reason = "mapping a file is unsafe, since somebody may cut it short meanwhile")]

use std::fs::File;

use memmap2::{Mmap, MmapOptions};

/// Maps a whole file for reading.
///
/// # Panics
/// When the kernel refuses.
#[must_use]
pub fn map(file: &File) -> Mmap {
    // SAFETY: the file is on a read-only mount of the test's own, or its bytes are not looked at after it changes.
    unsafe { Mmap::map(file) }.expect("a file can be mapped")
}

/// Maps a file up to the end of the page in which it ends.
///
/// # Panics
/// When the kernel refuses, as it does of an empty file.
#[must_use]
pub fn map_pages(file: &File) -> Mmap {
    let length = file.metadata().expect("open").len().next_multiple_of(rustix::param::page_size() as u64);
    let length = usize::try_from(length).expect("it fits the memory");
    // SAFETY: as above; the bytes behind the end of the file are of its last page, which is there.
    unsafe { MmapOptions::new().len(length).map(file) }.expect("a file can be mapped")
}
