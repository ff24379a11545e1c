//! The messages of the local protocol and their bytes.
//!
//! Variants are numbered by their place and fields follow each other without names: add at the end, never reorder,
//! raise [`LEVEL`] for a new variant and [`PROTOCOL`] for anything else. A received message is checked before anybody
//! sees it.

use forebay_types::limits::{FILE_LENGTH_MAX, KEY_LENGTH_MAX, TAG_LENGTH_MAX, URI_LENGTH_MAX};
use forebay_types::{BlockCapability, ErrorKind, PAGE_LENGTH, Timestamp, VersionDescriptor, WorkerId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::LocalError;
use crate::limits::{DESCRIPTORS_MAX, PACKET_LENGTH_MAX, REFUSAL_LENGTH_MAX, WANTED_BACK_MAX};

/// The version that each packet begins with.
pub const PROTOCOL: u8 = 1;
/// Which variants a process knows: told in the greeting, and the lower one of both sides counts. 2 has
/// [`Reply::HeldAt`] and [`Reply::WantedBack`], 3 has [`Request::Lend`] and [`Reply::Lent`], 4 has [`Request::Open`].
pub const LEVEL: u8 = 4;
/// From which level on files are lent.
pub const LEVEL_LENDS: u8 = 3;
/// From which level on one message asks for whatever is there.
pub const LEVEL_OPENS: u8 = 4;

/// What a process asks of the worker on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The first message of a connection.
    Hello {
        /// The asker's [`LEVEL`].
        level: u8,
    },
    /// Asks for the descriptor of a wholly cached version. Answered out of order, by [`Reply::Held`] or
    /// [`Reply::HeldAt`], [`Reply::NotHeld`] or [`Reply::Refused`].
    Hold {
        /// The asker's number, given back in the answer; unique among the unanswered ones of a connection.
        request: u64,
        /// The version.
        version: VersionDescriptor,
        /// The right to read it.
        capability: BlockCapability,
    },
    /// Gives a hold or a lend back. Not answered. All of a connection end with it.
    Release {
        /// The hold's number.
        hold: u64,
    },
    /// Asks for the files of a version as far as it is cached. Answered out of order, by [`Reply::Lent`],
    /// [`Reply::NotHeld`] or [`Reply::Refused`].
    Lend {
        /// As for [`Hold`](Self::Hold).
        request: u64,
        /// The version.
        version: VersionDescriptor,
        /// The right to read it.
        capability: BlockCapability,
    },
    /// Asks for a hold, or where there can be none for a lend, or to be told that nothing is here. Answered out of order,
    /// by [`Reply::HeldAt`], [`Reply::Lent`], [`Reply::NotHeld`] or [`Reply::Refused`].
    Open {
        /// As for [`Hold`](Self::Hold).
        request: u64,
        /// The version.
        version: VersionDescriptor,
        /// The right to read it.
        capability: BlockCapability,
    },
}

/// What the worker answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The answer to [`Request::Hello`].
    Hello {
        /// The level that counts on this connection: at most the asker's.
        level: u8,
        /// The worker.
        worker: WorkerId,
    },
    /// The version is held; an `O_RDONLY` descriptor of its file comes with this message.
    Held {
        /// The asker's number.
        request: u64,
        /// Names the hold on this connection.
        hold: u64,
    },
    /// The version cannot be held now: read it by RPC.
    NotHeld {
        /// The asker's number.
        request: u64,
        /// Why.
        reason: NotHeldReason,
    },
    /// The request failed.
    Refused {
        /// The asker's number.
        request: u64,
        /// What kind of thing went wrong.
        kind: ErrorKind,
        /// The sentence for a person.
        message: String,
    },
    /// As [`Held`](Self::Held), with what it takes to keep the hold while nobody reads the file.
    HeldAt {
        /// The asker's number.
        request: u64,
        /// Names the hold on this connection.
        hold: u64,
        /// Change time of the file when it was known to be right. With another one it may be wrong.
        changed: Timestamp,
        /// Whether the hold may stay when nobody reads the file.
        may_rest: bool,
    },
    /// These holds may not stay any more when nobody reads their files: they are to be given back now, or when the last
    /// reader is done. Lends among them are to be given back at once. Some may have been given back meanwhile.
    WantedBack {
        /// Their numbers, at most [`WANTED_BACK_MAX`].
        holds: Vec<u64>,
    },
    /// The version is lent, whole or not: `O_RDONLY` descriptors of its data file and of its index file come with this
    /// message, in this order. Both change while it is lent. The records of its pages in the index file are
    /// [`PageRecord`](forebay_types::PageRecord)s; what is read is right if it has the checksums of such a record.
    Lent {
        /// The asker's number.
        request: u64,
        /// Names the lend on this connection, as a hold.
        lend: u64,
        /// Where the records begin in the index file.
        records: u64,
        /// What their checksums begin with.
        seed: u32,
    },
}

/// Why a version cannot be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NotHeldReason {
    /// It is not, or not wholly, in the cache as one file.
    Incomplete,
    /// The tier has as many held bytes as it may, or the connection as many holds.
    OverBudget,
}

/// A message of one of the two directions. Sealed: [`Request`] and [`Reply`] are all there are.
pub trait Message: Serialize + DeserializeOwned + sealed::Sealed {}

impl Message for Request {}
impl Message for Reply {}

mod sealed {
    /// Checks of what a decoder cannot know.
    pub trait Sealed {
        /// How many descriptors go with the message.
        fn descriptors(&self) -> usize;
        /// What is wrong with a message that could be decoded.
        fn defect(&self) -> Option<&'static str>;
    }
}

impl sealed::Sealed for Request {
    fn descriptors(&self) -> usize {
        0
    }

    fn defect(&self) -> Option<&'static str> {
        match self {
            Self::Hold { version, .. } | Self::Lend { version, .. } | Self::Open { version, .. } => {
                version_defect(version)
            }
            Self::Hello { .. } | Self::Release { .. } => None,
        }
    }
}

impl sealed::Sealed for Reply {
    fn descriptors(&self) -> usize {
        match self {
            Self::Held { .. } | Self::HeldAt { .. } => 1,
            Self::Lent { .. } => DESCRIPTORS_MAX,
            Self::Hello { .. } | Self::NotHeld { .. } | Self::Refused { .. } | Self::WantedBack { .. } => 0,
        }
    }

    fn defect(&self) -> Option<&'static str> {
        match self {
            Self::Refused { message, .. } if message.len() > REFUSAL_LENGTH_MAX => {
                Some("a refusal is too long")
            }
            Self::WantedBack { holds } if holds.len() > WANTED_BACK_MAX => {
                Some("too many holds are wanted back at once")
            }
            _ => None,
        }
    }
}

/// The rules that the wire's own twin of a version keeps too.
fn version_defect(version: &VersionDescriptor) -> Option<&'static str> {
    let too_long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > TAG_LENGTH_MAX);
    let (fingerprint, block) = (&version.fingerprint, version.block_length.get());
    if !block.is_power_of_two() || block < PAGE_LENGTH {
        return Some("a block length is no power of two of at least a page");
    }
    if version.key.as_bytes().len() > KEY_LENGTH_MAX + URI_LENGTH_MAX {
        return Some("a key is too long");
    }
    if too_long(&fingerprint.tag) || too_long(&fingerprint.version_id) {
        return Some("a tag is too long");
    }
    (fingerprint.length.get() > FILE_LENGTH_MAX).then_some("a file is longer than the longest one")
}

/// The bytes of a message, the version first.
pub(crate) fn encode<M: Message>(message: &M) -> Result<Vec<u8>, LocalError> {
    let bytes = postcard::to_extend(message, vec![PROTOCOL])
        .map_err(|_| LocalError::Garbage("it cannot be written, which is a defect"))?;
    if bytes.len() > PACKET_LENGTH_MAX {
        return Err(LocalError::TooLong { length: bytes.len() });
    }
    Ok(bytes)
}

/// The message in a packet that came with so many descriptors.
pub(crate) fn decode<M: Message>(packet: &[u8], descriptors: usize) -> Result<M, LocalError> {
    let (&theirs, body) = packet.split_first().ok_or(LocalError::Garbage("it is empty"))?;
    if theirs != PROTOCOL {
        return Err(LocalError::Protocol { theirs, ours: PROTOCOL });
    }
    let (message, rest) =
        postcard::take_from_bytes::<M>(body).map_err(|_| LocalError::Garbage("it cannot be decoded"))?;
    if !rest.is_empty() {
        return Err(LocalError::Garbage("bytes follow it"));
    }
    if message.descriptors() != descriptors {
        return Err(LocalError::Garbage("it has not as many descriptors as it should"));
    }
    message.defect().map_or(Ok(message), |defect| Err(LocalError::Garbage(defect)))
}

#[cfg(test)]
pub(crate) mod tests {
    use forebay_types::{
        ByteCount, CapabilityKey, FileId, Fingerprint, Incarnation, LocalIdentity, MountId, Rights,
        UnderStoreKey,
    };

    use super::*;

    pub(crate) fn hold() -> Request {
        let version = VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(1), counter: 2 },
            mount: MountId::new(3),
            key: UnderStoreKey::new(*b"a/b").expect("short"),
            fingerprint: Fingerprint {
                tag: None,
                version_id: None,
                length: ByteCount::new(5),
                modified: Timestamp::from_nanos(-1),
                local: Some(LocalIdentity { device: 6, inode: 7, changed: Timestamp::from_nanos(8) }),
            },
            block_length: ByteCount::new(PAGE_LENGTH),
        };
        let capability =
            CapabilityKey::new(9, [1; 32]).sign(&version, Rights::Read, Timestamp::from_nanos(10));
        Request::Hold { request: 4, version, capability }
    }

    #[test]
    fn the_bytes_of_messages_are_a_format() {
        let requests = [
            (Request::Hello { level: 2 }, vec![1, 0, 2]),
            (Request::Release { hold: 300 }, vec![1, 2, 0xac, 2]),
        ];
        for (request, bytes) in requests {
            assert_eq!(encode(&request).expect("short"), bytes, "{request:?}");
        }
        let replies = [
            (Reply::Hello { level: 1, worker: WorkerId::new(5) }, vec![1, 0, 1, 5]),
            (Reply::Held { request: 1, hold: 2 }, vec![1, 1, 1, 2]),
            (Reply::NotHeld { request: 1, reason: NotHeldReason::OverBudget }, vec![1, 2, 1, 1]),
            (
                Reply::Refused { request: 1, kind: ErrorKind::Stale, message: "no".into() },
                vec![1, 3, 1, 11, 2, b'n', b'o'],
            ),
            (
                Reply::HeldAt { request: 1, hold: 2, changed: Timestamp::from_nanos(3), may_rest: true },
                vec![1, 4, 1, 2, 6, 1],
            ),
            (Reply::WantedBack { holds: vec![7, 300] }, vec![1, 5, 2, 7, 0xac, 2]),
            (Reply::Lent { request: 1, lend: 2, records: 128, seed: 3 }, vec![1, 6, 1, 2, 0x80, 1, 3]),
        ];
        for (reply, bytes) in replies {
            assert_eq!(encode(&reply).expect("short"), bytes, "{reply:?}");
        }
        let hold = encode(&hold()).expect("short");
        assert_eq!(
            hold[..22],
            [1, 1, 4, 1, 2, 3, 3, b'a', b'/', b'b', 0, 0, 5, 1, 1, 6, 7, 16, 128, 128, 64, 9]
        );
        let Request::Hold { request, version, capability } = self::hold() else { unreachable!("made above") };
        let (of, right) = (version.clone(), capability.clone());
        let lend = encode(&Request::Lend { request, version: of, capability: right }).expect("short");
        assert_eq!((&lend[..2], &lend[2..]), (&[1, 3][..], &hold[2..]), "a lend is asked for as a hold");
        let open = encode(&Request::Open { request, version, capability }).expect("short");
        assert_eq!((&open[..2], &open[2..]), (&[1, 4][..], &hold[2..]), "and whatever is there");
    }

    #[test]
    fn a_packet_cut_anywhere_or_with_a_byte_flipped_is_an_error_or_another_message() {
        let bytes = encode(&hold()).expect("short");
        for end in 0..bytes.len() {
            assert!(decode::<Request>(&bytes[..end], 0).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                // The capability's signature finds what the decoder cannot; here it must only not panic.
                assert_ne!(decode::<Request>(&flipped, 0).ok(), Some(hold()), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn what_no_sender_may_send_is_refused() {
        let Request::Hold { request, version, capability } = hold() else { unreachable!("made above") };
        let with = |version: VersionDescriptor| {
            let message = Request::Hold { request, version, capability: capability.clone() };
            decode::<Request>(&encode(&message).expect("short"), 0)
        };
        for length in [0, 1, PAGE_LENGTH + 1] {
            let wrong = VersionDescriptor { block_length: ByteCount::new(length), ..version.clone() };
            assert!(matches!(with(wrong), Err(LocalError::Garbage(_))), "block of {length}");
        }
        let mut long = version.clone();
        long.fingerprint.tag = Some("x".repeat(TAG_LENGTH_MAX + 1));
        assert!(with(long).is_err());
        let mut longer = version.clone();
        longer.fingerprint.length = ByteCount::new(FILE_LENGTH_MAX + 1);
        assert!(with(longer).is_err());
        assert!(with(version).is_ok());
        let mut followed = encode(&Request::Hello { level: 1 }).expect("short");
        followed.push(0);
        assert!(decode::<Request>(&followed, 0).is_err());
        assert!(decode::<Request>(&[], 0).is_err());
        assert!(decode::<Reply>(&[1, 1, 1, 2], 0).is_err(), "a hold without its descriptor");
        assert!(decode::<Reply>(&[1, 4, 1, 2, 6, 1], 0).is_err(), "another one");
        assert!(decode::<Reply>(&[1, 6, 1, 2, 1, 3], 1).is_err(), "a lend without its second descriptor");
        assert!(decode::<Reply>(&[1, 6, 1, 2, 1, 3], 2).is_ok());
        let many = Reply::WantedBack { holds: vec![1; WANTED_BACK_MAX + 1] };
        assert!(decode::<Reply>(&encode(&many).expect("short"), 0).is_err());
        let newer = decode::<Request>(&[2, 0, 2], 0).expect_err("another version");
        assert_eq!(newer.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_by_its_sender() {
        let message = "x".repeat(PACKET_LENGTH_MAX);
        let error = encode(&Reply::Refused { request: 1, kind: ErrorKind::Io, message }).expect_err("long");
        assert_eq!((error.kind(), error.is_fatal()), (ErrorKind::LimitExceeded, false));
    }
}
