//! The worker's store of cached bytes: which pages of which versions lie on which tier, and the files that hold them.
//!
//! A pure index decides (`index.rs`), a thin thread-safe shell does the disk work (`store.rs`), and what lies on disk
//! has one place (`layout.rs`). What is too long to be kept whole is cut into segments (`unit.rs`). Not here: fetching from an under-store, the wire, and who may read. Invariants: a
//! wrong byte is found by checksum and never served; a held file is never changed; a tier never holds more than its
//! quota; bad cache contents and a broken disk never keep the store from opening.

#![warn(missing_docs)]

mod directory;
mod error;
mod eviction;
mod health;
mod index;
mod io;
mod layout;
mod pace;
mod page;
mod ram_tier;
mod recovery;
mod scrub;
mod settings;
mod source;
mod statistics;
mod store;
mod unit;

pub mod limits;

pub use error::StoreError;
pub use eviction::{Eviction, UnknownEviction};
pub use health::Health;
pub use index::{CachedVersion, ChangeCursor, Changes, Demand, Presence, TierUsage};
pub use pace::BackgroundPace;
pub use page::{PageIndex, PageRange, PageSet};
pub use ram_tier::{RamTier, RamTierError, prepare_ram_tier};
pub use recovery::RecoveryReport;
pub use settings::{FreeFloor, StoreSettings, TierKind, TierSettings};
pub use source::VersionSource;
pub use statistics::StatisticsSnapshot;
pub use store::{
    BlockStore, CatalogueWriter, DueProbe, Fill, FillOutcome, FillStart, Hold, HoldId, Lend, Mover,
    ReadOutcome, RestingHold, RestingLend, Scrubber,
};
/// The index itself, for the simulator that drives it.
#[doc(hidden)]
pub use {
    index::{
        Action as IndexAction, Committed, Index, Location, Lookup, Reason, Reservation, Restored, Slot,
        TierIndex, TierLimits, Wanted,
    },
    layout::{Generation, GenerationKey},
    source::IdentityDigest,
    unit::{Place, UnitId},
};
