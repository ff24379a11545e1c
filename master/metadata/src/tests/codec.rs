//! What is no proposal and no reply, and that secrets stay hidden. The bytes themselves are in `golden.rs`.

use super::golden::commands::{commands, proposal};
use super::*;
use crate::command::Mount;
use crate::reply::{decode_reply, encode_reply};
use crate::{CodecError, OptionValue, Rejection};
use forebay_types::MountId;

#[test]
fn replies_are_read_back() {
    let replies: [Reply; 3] = [
        Ok(Success::Mounted { mount: MountId::new(1), already: true, options_differ: false }),
        Err(Rejection::NotFormatted),
        Err(Rejection::RefusedBefore { kind: ErrorKind::Busy }),
    ];
    for reply in replies {
        assert_eq!(decode_reply(&encode_reply(&reply).unwrap()), Ok(reply));
    }
}

#[test]
fn bytes_that_are_no_proposal_are_an_error() {
    let good = proposal(Command::Reap(Reap { limit: 8 })).encode().unwrap();
    assert_eq!(Proposal::decode(&[]), Err(CodecError::Empty));
    let newer = [&[2], &good[1..]].concat();
    assert_eq!(Proposal::decode(&newer), Err(CodecError::NewerFormat { found: 2, known: 1 }));
    let trailing = [&good[..], &[0]].concat();
    for bad in [&trailing[..], &good[..good.len() - 1], &[0], &[1]] {
        assert!(matches!(Proposal::decode(bad), Err(CodecError::Malformed(_))), "{bad:?}");
    }
}

#[test]
fn a_command_of_a_later_version_is_told_from_damage_and_asks_for_an_upgrade() {
    let good = proposal(Command::Reap(Reap { limit: 8 })).encode().unwrap();
    let of = |number: &[u8]| [&good[..good.len() - 2], number, b"whatever follows"].concat();
    let refused = Proposal::decode(&of(&[200, 8])).unwrap_err();
    assert_eq!(refused, CodecError::UnknownCommand { number: 1096, known: Command::NUMBER_MAX });
    assert!(refused.to_string().ends_with("upgrade this master"), "{refused}");
    let next = u8::try_from(Command::NUMBER_MAX + 1).unwrap();
    assert!(matches!(Proposal::decode(&of(&[next])), Err(CodecError::UnknownCommand { .. })));
    assert!(matches!(Proposal::decode(&of(&[next - 1])), Err(CodecError::Malformed(_))));
}

#[test]
fn a_proposal_longer_than_a_log_entry_is_refused() {
    let long = Command::Mount(Mount {
        path: crate::testing::path("/d"),
        uri: crate::testing::uri("s3://b"),
        options: crate::testing::options(
            "x",
            OptionValue::Sealed(vec![0; crate::limits::PROPOSAL_LENGTH_MAX]),
        ),
    });
    assert!(matches!(proposal(long).encode(), Err(CodecError::TooLong(_))));
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", commands());
    assert!(shown.contains("Sealed(..)") && !shown.contains("Sealed([9])"), "{shown}");
}

proptest! {
    #[test]
    fn random_bytes_never_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let framed = [&[1][..], &bytes].concat();
        let _ = Proposal::decode(&framed).map(|proposal| proposal.encode());
        let _ = decode_reply(&framed);
    }
}
