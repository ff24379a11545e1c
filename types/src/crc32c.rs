//! CRC-32C, the checksum of everything that is stored or sent.

use crc_fast::{CrcAlgorithm, Digest, checksum_combine, crc32_iscsi};

/// The checksum of some bytes.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32_iscsi(bytes)
}

/// The checksum of what has the checksum `begun` followed by `bytes`. That of nothing is 0.
#[must_use]
pub fn crc32c_append(begun: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!begun));
    digest.update(bytes);
    narrow(digest.finalize())
}

/// The checksum of what has the checksum `left` followed by `length` bytes that have the checksum `right`.
#[must_use]
pub fn crc32c_combine(left: u32, right: u32, length: u64) -> u32 {
    narrow(checksum_combine(CrcAlgorithm::Crc32Iscsi, left.into(), right.into(), length))
}

fn narrow(sum: u64) -> u32 {
    u32::try_from(sum).expect("a checksum of 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, from the polynomial of RFC 3720, appendix B.4.
    fn by_definition(bytes: &[u8]) -> u32 {
        let shifted =
            |sum: u32| (0..8).fold(sum, |sum, _| (sum >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(sum & 1)));
        !bytes.iter().fold(!0, |sum, byte| shifted(sum ^ u32::from(*byte)))
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
    }

    #[test]
    fn it_is_that_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn all_lengths_and_places_in_memory_give_what_the_definition_gives() {
        let bytes = bytes(70_000);
        for length in (0..600).chain([1023, 1024, 4095, 4097, 65_535, 65_536, 65_537]) {
            for begin in [0, 1, 7, 33] {
                let part = &bytes[begin..begin + length];
                assert_eq!(crc32c(part), by_definition(part), "{length} from {begin}");
            }
        }
    }

    #[test]
    fn a_cut_anywhere_changes_nothing() {
        let bytes = bytes(66_000);
        let whole = crc32c(&bytes);
        for cut in (0..300).chain([4096, 65_536, 65_999, 66_000]) {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(crc32c_append(crc32c(left), right), whole, "cut at {cut}");
            assert_eq!(
                crc32c_combine(crc32c(left), crc32c(right), right.len() as u64),
                whole,
                "cut at {cut}"
            );
        }
    }
}
