//! Talks between a worker and the processes of its own host: small messages over a unix socket, with descriptors.
//!
//! One packet is one message: a byte with the protocol's version, then postcard. Nothing here waits: both sides wrap
//! [`LocalSocket`] in their own reactor and, on [`LocalError::WouldBlock`], wait until the descriptor is ready.

mod address;
mod error;
mod message;
mod socket;

pub mod limits;

pub use error::LocalError;
pub use message::{LEVEL, LEVEL_LENDS, LEVEL_OPENS, Message, NotHeldReason, PROTOCOL, Reply, Request};
pub use socket::{LocalSocket, Peer};
