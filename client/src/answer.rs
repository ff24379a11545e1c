//! Tells an error that the other side sent from a connection that broke under a call.
//!
//! gRPC shows a broken connection under several codes, of which some look like final answers; whatever did not come
//! from the other side may be sent again.

use std::error::Error;

use forebay_proto::{WireDefect, WireError};
use forebay_types::ErrorKind;
use tonic::{Status, TimeoutExpired};

use crate::error::ClientError;

/// The error behind a failed call. Statuses that were made on our side have a source, received ones have none.
pub(crate) fn error_of(status: Status) -> WireError {
    let mut deepest = None;
    let mut next = status.source();
    while let Some(source) = next {
        if source.is::<TimeoutExpired>() {
            return WireError::new(ErrorKind::TimedOut, "no answer came in time");
        }
        deepest = Some(source.to_string());
        next = source.source();
    }
    match deepest {
        Some(reason) => WireError::new(ErrorKind::Unavailable, format!("the connection failed: {reason}")),
        None => status.into(),
    }
}

/// Says of a message that it is not as the wire has it, and which call it answered.
pub(crate) fn defect(rpc: &'static str) -> impl Fn(WireDefect) -> ClientError {
    move |source| ClientError::Wire { rpc, source }
}
