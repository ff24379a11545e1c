//! Why a command failed, as a sentence for a person and an exit code for a script.

use std::fmt;

use forebay_client::ClientError;
use forebay_types::ErrorKind;

/// Exit code: the command failed, or did only a part.
pub(crate) const FAILED: u8 = 1;
/// Exit code: what was typed makes no sense.
pub(crate) const USAGE: u8 = 2;
/// Exit code: the cluster cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;

/// A sentence and a code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The command failed; `message` says what, with which path, why, and what to do.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED }
    }

    /// What was typed or configured makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: USAGE }
    }

    /// A failure of the SDK while `what` was done, such as `mount s3://data at /data`.
    pub(crate) fn client(what: impl fmt::Display, error: &ClientError) -> Self {
        let code = match error {
            ClientError::NoMaster { .. } => UNREACHABLE,
            ClientError::Address { .. } => USAGE,
            other
                if matches!(
                    other.kind(),
                    ErrorKind::Unavailable | ErrorKind::NotLeader | ErrorKind::TimedOut
                ) =>
            {
                UNREACHABLE
            }
            _ => FAILED,
        };
        Self { message: format!("cannot {what}: {error}"), code }
    }

    /// A part of the process did not start.
    pub(crate) fn start(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {error}"), code: FAILED }
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
