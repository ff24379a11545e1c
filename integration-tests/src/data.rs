//! Files whose bytes follow from a seed.

use std::path::Path;

use sha2::{Digest, Sha256};

/// `length` bytes that follow from `seed` (SplitMix64, Steele, Lea and Flood 2014).
#[must_use]
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut state = seed;
    while bytes.len() < length {
        bytes.extend_from_slice(&next(&mut state).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `count` offsets below `length` that follow from `seed`.
#[must_use]
pub fn random_offsets(seed: u64, count: usize, length: u64) -> Vec<u64> {
    let mut state = seed;
    (0..count).map(|_| next(&mut state) % length.max(1)).collect()
}

/// SHA-256 as hex digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file of [`content`] and gives its bytes.
///
/// # Panics
/// When it cannot be written.
pub fn write_file(path: &Path, seed: u64, length: usize) -> Vec<u8> {
    let bytes = content(seed, length);
    std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder is made");
    std::fs::write(path, &bytes).expect("the file is written");
    bytes
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
