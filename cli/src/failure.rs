//! Why a command failed, as a sentence for a person and an exit code for a script.

use std::fmt;

use forebay_client::ClientError;
use forebay_types::ErrorKind;

use crate::printable::printable;

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
        Self::with_code(&message.into(), FAILED)
    }

    /// As [`Failure::new`], for several things that are wrong, each on a line of its own.
    pub(crate) fn lines(messages: &[String]) -> Self {
        let lines: Vec<_> = messages.iter().map(|message| printable(message)).collect();
        Self { message: lines.join("\n       "), code: FAILED }
    }

    /// One failure as it is, several as [`Failure::lines`], none as success.
    pub(crate) fn of_all(mut failures: Vec<Self>) -> Result<(), Self> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::lines(&failures.into_iter().map(|failure| failure.message).collect::<Vec<_>>())),
        }
    }

    /// What was typed or configured makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::with_code(&message.into(), USAGE)
    }

    /// The cluster cannot be reached.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::with_code(&message.into(), UNREACHABLE)
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
        Self::with_code(&format!("cannot {what}: {error}"), code)
    }

    /// As [`Failure::client`]. If the error is of one of `kinds`, whoever answered did not say what to do, and `remedy`
    /// does.
    pub(crate) fn client_or(
        what: impl fmt::Display,
        error: &ClientError,
        kinds: &[ErrorKind],
        remedy: impl fmt::Display,
    ) -> Self {
        let mut failure = Self::client(what, error);
        if kinds.contains(&error.kind()) {
            failure.message.push_str(&printable(&format!("; {remedy}")));
        }
        failure
    }

    /// A part of the process did not start.
    pub(crate) fn start(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::with_code(&format!("{what}: {error}"), FAILED)
    }

    /// Names in a message may be anything, so it is made fit for a terminal.
    fn with_code(message: &str, code: u8) -> Self {
        Self { message: printable(message), code }
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
