//! The words of Forebay as types: ids, units, names, versions, errors, placement. Pure: no clock, no IO, no wire.
//!
//! Every other crate speaks in these types, so a mistake such as a page offset where a byte offset was meant does
//! not compile. Nothing here knows tokio, tonic or rocksdb.

mod admission;
mod capability;
mod cluster_map;
mod duration;
mod error_kind;
mod fingerprint;
mod id;
mod job;
mod name;
mod page_record;
mod path;
mod pattern;
mod position;
mod principal;
mod unit;
mod uri;
mod version;

pub mod crc32c;
pub mod limits;

pub use admission::{Admission, AdmissionError, AdmissionRule, NotAdmitted};
pub use capability::{BlockCapability, CapabilityError, CapabilityKey};
pub use cluster_map::{ClusterMap, WorkerEntry, WorkerState};
pub use duration::{
    DURATION_MAX, DURATION_YEARS_MAX, DurationError, parse_duration, parse_positive_duration,
};
pub use error_kind::ErrorKind;
pub use fingerprint::{Fingerprint, LocalIdentity};
pub use id::{
    BlockId, BlockIndex, ClusterId, Epoch, FileId, HostId, Incarnation, InodeId, JobId, LogIndex, MountId,
    OutboxSequence, Sequence, SessionId, WorkerId,
};
pub use job::{JobFailure, JobProgress, JobState, short_reason};
pub use name::{EntryName, NameError};
pub use page_record::{GRANULES_PER_PAGE, PageRecord, RECORD_LENGTH, RecordSeed};
pub use path::{NamespacePath, PathError};
pub use pattern::{Pattern, PatternError};
pub use position::ListingPosition;
pub use principal::{Principal, Rights};
pub use unit::{
    BLOCK_LENGTH_DEFAULT, ByteCount, FileOffset, GRANULE_LENGTH, PAGE_LENGTH, Timestamp, UnitError,
};
pub use uri::{UnderStoreKey, UnderStoreScheme, UnderStoreUri, UriError};
pub use version::{EntryKind, VersionDescriptor};
