//! The systems that hold the truth, seen alike: list a directory, ask for one object, stream a range of one version.
//!
//! [`UnderStore`] is the port, [`connect`] gives the adapter for a URI: `file` (a directory of the machine) and `s3`
//! (a bucket of S3 or of a server that speaks its protocol), each behind a cargo feature. Every adapter passes the
//! suite in `conformance`.
//!
//! Invariant: no read yields bytes of another version than the one asked for without an error, and none ends early
//! without one.

#[cfg(not(any(feature = "file", feature = "s3")))]
compile_error!("an under-store without adapters serves nothing: turn on the feature `file`, `s3` or both");

mod connect;
mod error;
mod key;
mod options;
mod port;
mod reference;
mod statistics;

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "s3")]
mod s3;

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod limits;

pub use connect::{connect, has_owners};
pub use error::UnderStoreError;
pub use options::{is_secret, known_options, resolve_options};
pub use port::{ListedObject, ListedPage, ObjectStatus, PageToken, ReadStream, UnderStore};
pub use reference::{ReferenceError, follow_reference, reads_a_file};
#[cfg(feature = "s3")]
pub use s3::ObjectUpload;
pub use statistics::{UnderStoreCounts, UnderStoreStatistics};
