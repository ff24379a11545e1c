//! What can go wrong with an under-store, each with the place it went wrong at and the way out.
//!
//! Messages name URIs and keys, never credentials.

use std::io;
use std::time::Duration;

use forebay_types::{ByteCount, ErrorKind, FileOffset, Fingerprint, NameError, UnderStoreScheme};
use thiserror::Error;

/// Why a call to an under-store failed. `object` is the full URI of the object, for people.
#[derive(Debug, Error)]
pub enum UnderStoreError {
    /// The file is another version than the one asked for, or gone.
    #[error("{object} is no longer the version asked for ({expected}): {}; open it again", found_text(.found.as_deref()))]
    Changed {
        /// The file.
        object: String,
        /// The version asked for.
        expected: Box<Fingerprint>,
        /// The version that is there now; `None` when there is none.
        found: Option<Box<Fingerprint>>,
    },
    /// A body ended before its announced end.
    #[error("{object} was cut short after {} of {} bytes: {reason}; the read can be repeated", .received.get(), .expected.get())]
    CutShort {
        /// The file.
        object: String,
        /// The length of the range asked for.
        expected: ByteCount,
        /// What came.
        received: ByteCount,
        /// What ended it.
        reason: String,
    },
    /// A body went on after its end.
    #[error("{object} gave more than the {} bytes asked for; a server or proxy between is broken", .expected.get())]
    TooLong {
        /// The file.
        object: String,
        /// The length of the range asked for.
        expected: ByteCount,
    },
    /// There is no such directory.
    #[error("there is no directory {object}; create it or correct the name")]
    NotFound {
        /// The directory.
        object: String,
    },
    /// There is no such bucket.
    #[error(
        "there is no bucket for {object}: {reason}; create the bucket, or correct its name or the endpoint"
    )]
    NoBucket {
        /// What was asked for.
        object: String,
        /// What the server said.
        reason: String,
    },
    /// A file where a directory was needed.
    #[error("{object} is not a directory; give the directory that it is in")]
    NotADirectory {
        /// What was asked for.
        object: String,
    },
    /// A place within a mount of Forebay.
    #[error(
        "{object} lies in a mount of Forebay, and a tree cannot hold itself; mount what is mounted there"
    )]
    OwnMount {
        /// What was asked for.
        object: String,
    },
    /// The under-store knows the caller too little or not at all.
    #[error("access to {object} was denied: {reason}; {way_out}")]
    Denied {
        /// What was asked for.
        object: String,
        /// What the under-store said.
        reason: String,
        /// What a person can do.
        way_out: &'static str,
    },
    /// No credentials could be had.
    #[error(
        "no credentials for {object}: {reason}; give the options access_key_id and secret_access_key, or \
         skip_signature=true for a public bucket"
    )]
    NoCredentials {
        /// What was asked for.
        object: String,
        /// Where they were looked for and what failed.
        reason: String,
    },
    /// The bucket is in another region.
    #[error("{object} is in another region than `{region}`: {reason}; set the option region{}", region_text(.actual.as_deref()))]
    WrongRegion {
        /// What was asked for.
        object: String,
        /// The region that was used.
        region: String,
        /// The region that the server named.
        actual: Option<String>,
        /// What the server said.
        reason: String,
    },
    /// No connection.
    #[error(
        "{object} cannot be reached at {endpoint}: {reason}; check the endpoint, the network and that the server runs"
    )]
    Unreachable {
        /// What was asked for.
        object: String,
        /// Where the server should be.
        endpoint: String,
        /// What the connection met.
        reason: String,
    },
    /// No answer within the budget of the call.
    #[error("{object} gave no answer within {}; the server is overloaded or the network is cut", span_text(*.after))]
    TimedOut {
        /// What was asked for.
        object: String,
        /// The budget.
        after: Duration,
    },
    /// The server has a trouble of its own, also after retries.
    #[error(
        "the server of {object} answered {status} {code}: {message}; it was tried {attempts} times, try again later"
    )]
    ServerTrouble {
        /// What was asked for.
        object: String,
        /// HTTP status.
        status: u16,
        /// The server's own code.
        code: String,
        /// The server's own words.
        message: String,
        /// How often it was asked.
        attempts: u32,
    },
    /// The server does not do what was asked, and will not when asked again.
    #[error("the server of {object} refused with {status} {code}: {message}; {way_out}")]
    Refused {
        /// What was asked for.
        object: String,
        /// HTTP status.
        status: u16,
        /// The server's own code.
        code: String,
        /// The server's own words.
        message: String,
        /// What a person can do.
        way_out: &'static str,
    },
    /// An object could not be written.
    #[error(
        "{object} cannot be written: {reason}; see whether the bucket is there, and whether the credentials may write to it"
    )]
    NotWritten {
        /// The object.
        object: String,
        /// What the server said, or the connection met.
        reason: String,
    },
    /// An object is longer than one can be.
    #[error("{object} would be longer than {} bytes, which is the most", .max.get())]
    TooLarge {
        /// The object.
        object: String,
        /// The longest.
        max: ByteCount,
    },
    /// An answer that is not what the protocol says.
    #[error("the answer for {object} is not understood: {problem}; is the endpoint an S3 server?")]
    Malformed {
        /// What was asked for.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A system call on a local file failed.
    #[error("cannot {action} {object}: {source}; look at the file system it is on")]
    Local {
        /// The file or directory.
        object: String,
        /// What was tried.
        action: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// A key with a part that is no legal name.
    #[error("{object} has a part that is no name: {problem}")]
    IllegalKey {
        /// What was asked for.
        object: String,
        /// What is wrong with it.
        problem: NameError,
    },
    /// A range that does not lie within the version.
    #[error("bytes {} to {} of {object} do not lie within its {} bytes", .start.get(), .end.get(), .length.get())]
    IllegalRange {
        /// The file.
        object: String,
        /// Begin of the range.
        start: FileOffset,
        /// End of the range.
        end: FileOffset,
        /// Length of the version.
        length: ByteCount,
    },
    /// A page token of another under-store or directory.
    #[error("the page token does not belong to a listing of {object}")]
    ForeignPageToken {
        /// The directory.
        object: String,
    },
    /// An option that this kind of under-store does not have.
    #[error("{scheme} has no option `{name}`; it knows {}", .known.join(", "))]
    UnknownOption {
        /// The kind of under-store.
        scheme: UnderStoreScheme,
        /// The name as it was given.
        name: String,
        /// The names it knows.
        known: Vec<&'static str>,
    },
    /// An option whose value cannot be used. The value itself is not repeated, since it may be a secret.
    #[error("the option `{name}` {problem}")]
    BadOption {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// This build has no adapter for the scheme.
    #[error("this build of forebay has no adapter for {scheme}; build it with the feature `{scheme}`")]
    NotBuilt {
        /// The scheme.
        scheme: UnderStoreScheme,
    },
    /// The process is stopping.
    #[error("{object} was not read since this process is stopping")]
    Stopping {
        /// What was asked for.
        object: String,
    },
}

impl UnderStoreError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Changed { .. } => ErrorKind::Stale,
            Self::CutShort { .. }
            | Self::TooLong { .. }
            | Self::Unreachable { .. }
            // Not `TimedOut`, which is what whoever asked makes of a cluster that does not answer.
            | Self::TimedOut { .. }
            | Self::ServerTrouble { .. }
            | Self::Malformed { .. }
            | Self::NotWritten { .. }
            | Self::Local { .. } => ErrorKind::UnderStore,
            Self::NotFound { .. } | Self::NoBucket { .. } => ErrorKind::NotFound,
            Self::NotADirectory { .. } => ErrorKind::NotADirectory,
            Self::Denied { .. } | Self::NoCredentials { .. } => ErrorKind::PermissionDenied,
            Self::WrongRegion { .. }
            | Self::Refused { .. }
            | Self::IllegalKey { .. }
            | Self::IllegalRange { .. }
            | Self::ForeignPageToken { .. }
            | Self::OwnMount { .. }
            | Self::UnknownOption { .. }
            | Self::BadOption { .. } => ErrorKind::InvalidArgument,
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
            Self::NotBuilt { .. } => ErrorKind::Unsupported,
            Self::Stopping { .. } => ErrorKind::Unavailable,
        }
    }

    /// The version asked for is not there.
    pub(crate) fn changed(object: &str, expected: &Fingerprint, found: Option<Fingerprint>) -> Self {
        Self::Changed {
            object: object.to_owned(),
            expected: Box::new(expected.clone()),
            found: found.map(Box::new),
        }
    }
}

fn found_text(found: Option<&Fingerprint>) -> String {
    found.map_or_else(|| "it is gone".to_owned(), |found| format!("it is {found} now"))
}

/// Whole seconds; what is left of a budget may be less than one.
fn span_text(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{} ms", span.as_millis()),
        seconds => format!("{seconds} s"),
    }
}

fn region_text(actual: Option<&str>) -> String {
    actual.map_or_else(String::new, |region| format!(" to `{region}`"))
}
