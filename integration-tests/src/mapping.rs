//! A file as a mapping: the way that many readers of training data take.

#![allow(unsafe_code, reason = "mapping a file is unsafe, since somebody may cut it short meanwhile")]

use std::fs::File;

use memmap2::Mmap;

/// Maps a whole file for reading.
///
/// # Panics
/// When the kernel refuses.
#[must_use]
pub fn map(file: &File) -> Mmap {
    // SAFETY: the file is on a read-only mount of the test's own, or its bytes are not looked at after it changes.
    unsafe { Mmap::map(file) }.expect("a file can be mapped")
}
