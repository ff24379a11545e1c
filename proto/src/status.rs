//! The one bridge between [`ErrorKind`] and gRPC's status. Nowhere else is a `tonic::Status` built.
//!
//! The kind travels by name in the details, so that kinds which share a gRPC code come back as they were; a status of
//! a proxy or of a newer version, which has no details we know, is read from its code.

use forebay_types::ErrorKind;
use prost::Message;
use thiserror::Error;
use tonic::{Code, Status};

use crate::convert::WireDefect;
use crate::v1;

/// An error that came over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct WireError {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// The sentence for a person.
    pub message: String,
    /// With [`ErrorKind::NotLeader`]: who leads, when that is known.
    pub leader: Option<String>,
}

/// The status of an error of `kind` with a sentence for a person.
#[must_use]
pub fn to_status(kind: ErrorKind, message: impl Into<String>) -> Status {
    WireError::new(kind, message).into()
}

impl WireError {
    /// An error without hints.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), leader: None }
    }
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        let detail =
            v1::ErrorDetail { kind: error.kind.name().to_owned(), leader: error.leader.unwrap_or_default() };
        Self::with_details(code(error.kind), error.message, detail.encode_to_vec().into())
    }
}

impl From<Status> for WireError {
    fn from(status: Status) -> Self {
        let detail = v1::ErrorDetail::decode(status.details()).unwrap_or_default();
        let kind = ErrorKind::from_name(&detail.kind).unwrap_or_else(|| kind_of_code(status.code()));
        Self {
            kind,
            message: status.message().to_owned(),
            leader: (!detail.leader.is_empty()).then_some(detail.leader),
        }
    }
}

impl From<WireDefect> for Status {
    fn from(defect: WireDefect) -> Self {
        to_status(ErrorKind::InvalidArgument, defect.to_string())
    }
}

const fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InvalidArgument | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            Code::InvalidArgument
        }
        ErrorKind::ReadOnly | ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::NoSpace | ErrorKind::LimitExceeded => Code::ResourceExhausted,
        ErrorKind::Stale | ErrorKind::StaleEpoch | ErrorKind::SessionExpired | ErrorKind::NotEmpty => {
            Code::FailedPrecondition
        }
        ErrorKind::Busy
        | ErrorKind::NotLeader
        | ErrorKind::Unavailable
        | ErrorKind::UnderStore
        | ErrorKind::Maintenance => Code::Unavailable,
        ErrorKind::TimedOut => Code::DeadlineExceeded,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Io | ErrorKind::Internal => Code::Internal,
    }
}

const fn kind_of_code(code: Code) -> ErrorKind {
    match code {
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidArgument,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::ResourceExhausted => ErrorKind::LimitExceeded,
        Code::FailedPrecondition => ErrorKind::Stale,
        Code::Aborted => ErrorKind::Busy,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DeadlineExceeded | Code::Cancelled => ErrorKind::TimedOut,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::Ok | Code::Unknown | Code::Internal => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_with_its_message_and_hints() {
        for kind in ErrorKind::ALL {
            let sent = WireError {
                kind,
                message: format!("a sentence about {kind}"),
                leader: Some("127.0.0.1:7411".into()),
            };
            assert_eq!(WireError::from(Status::from(sent.clone())), sent);
        }
    }

    #[test]
    fn a_status_without_details_is_read_from_its_code() {
        let error = WireError::from(Status::unavailable("connection refused"));
        assert_eq!((error.kind, error.leader), (ErrorKind::Unavailable, None));
    }
}
