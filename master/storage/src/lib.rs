//! Where a master's state and its replicated log lie on disk: RocksDB, which only this crate names.
//!
//! [`StateStore`] keeps the rows of the namespace, [`LogStore`] the entries that lead to them. The log is synced at
//! each append, since an entry that was acknowledged must survive; the state is not, since the log replays it. Each
//! block of RocksDB carries a checksum of its own, so no second one is kept here.

#![deny(missing_docs)]

mod error;
mod format;
mod log_store;
mod read_only;
mod rows;
mod settings;
mod state_snapshot;
mod state_store;

pub use error::StorageError;
pub use log_store::LogStore;
pub use read_only::{LogView, StateView};
pub use settings::StoreSettings;
pub use state_snapshot::StateSnapshot;
pub use state_store::StateStore;
