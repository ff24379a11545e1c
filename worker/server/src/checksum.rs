//! Joins the checksums of pieces into the checksum of the whole, without reading the bytes again.
//!
//! The CRC of `a ++ b` is that of `a` moved on by `b.len()` zero bytes, xor that of `b`; to move on is a linear map,
//! kept here as a matrix for each power of two. Source: Mark Adler's `crc32_combine` in zlib.

use forebay_types::crc32c;

/// Moves a CRC-32C on by up to 64 KiB.
#[derive(Clone, Debug)]
pub(crate) struct CrcJoin {
    /// `by_power[k][i]` is what bit `i` becomes after `2^k` bytes.
    by_power: Box<[[u32; 32]]>,
}

const POWERS: usize = 17;

impl CrcJoin {
    pub(crate) fn new() -> Self {
        let column = |power: usize, bit: usize| crc32c::crc32c_combine(1 << bit, 0, 1 << power);
        let matrix = |power| std::array::from_fn(|bit| column(power, bit));
        Self { by_power: (0..POWERS).map(matrix).collect() }
    }

    /// The checksum of `first` bytes with `sum` followed by `length` bytes (at most 64 KiB) with `next`.
    pub(crate) fn join(&self, sum: u32, next: u32, length: u64) -> u32 {
        let mut moved = sum;
        for (power, matrix) in self.by_power.iter().enumerate() {
            if length >> power & 1 == 1 {
                let bits = (0..32).filter(|bit| moved >> bit & 1 == 1);
                moved = bits.fold(0, |sum, bit| sum ^ matrix[bit]);
            }
        }
        moved ^ next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_checksums_are_those_of_the_joined_bytes() {
        let join = CrcJoin::new();
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (begin, cut, end) in
            [(0, 1, 2), (0, 65_536, 131_072), (7, 65_536, 65_537), (5, 5, 9), (100, 777, 66_313)]
        {
            let (left, right) = (&bytes[begin..cut], &bytes[cut..end]);
            let joined = join.join(crc32c::crc32c(left), crc32c::crc32c(right), right.len() as u64);
            assert_eq!(joined, crc32c::crc32c(&bytes[begin..end]), "{begin} {cut} {end}");
        }
    }
}
