//! The wire: generated messages and services of `forebay.v1`, their domain twins, and the bridge of errors.
//!
//! A message is made from its twin by `From` and becomes one by `TryFrom`; only a receiver validates. No other crate
//! builds a `tonic::Status`.

mod convert;
mod request;
mod status;

pub mod transport;

/// Generated from proto/forebay/v1/*.proto.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("forebay.v1");
}

pub use convert::{
    ChangedName, ChangedNames, Coherence, DirectoryChange, Entry, FeedPosition, Followed, Freshness,
    MountMode, Named, News, OnOutage, OptionSource, Validity, WireDefect,
};
pub use request::{Stamp, header};
pub use status::{WireError, to_status};
