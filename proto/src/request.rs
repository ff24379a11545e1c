//! The header of each request: who asks, by which map, and under which mutation stamp.

use forebay_types::{Epoch, Principal, Sequence, SessionId};

use crate::convert::WireDefect;
use crate::v1;

/// What makes a retried mutation harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The session.
    pub session: SessionId,
    /// The mutation's number in it.
    pub sequence: Sequence,
    /// The lowest number that was not yet answered.
    pub lowest_unanswered: Sequence,
}

/// The header of a request by `principal`, routed by the map of `epoch`.
#[must_use]
pub fn header(principal: &Principal, epoch: Epoch, stamp: Option<Stamp>) -> v1::RequestHeader {
    v1::RequestHeader {
        principal: Some(principal.into()),
        map_epoch: epoch.get(),
        stamp: stamp.map(|stamp| v1::MutationStamp {
            session: stamp.session.get(),
            sequence: stamp.sequence.get(),
            lowest_unanswered: stamp.lowest_unanswered.get(),
        }),
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

impl TryFrom<v1::MutationStamp> for Stamp {
    type Error = WireDefect;

    fn try_from(stamp: v1::MutationStamp) -> Result<Self, WireDefect> {
        if stamp.session == 0 || stamp.sequence == 0 || stamp.lowest_unanswered > stamp.sequence {
            return Err(WireDefect::Invalid {
                field: "stamp",
                reason: "numbers begin at 1 and never go back".into(),
            });
        }
        Ok(Self {
            session: SessionId::new(stamp.session),
            sequence: Sequence::new(stamp.sequence),
            lowest_unanswered: Sequence::new(stamp.lowest_unanswered),
        })
    }
}
