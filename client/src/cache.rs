//! What the master has told, and whether it still holds. Pure but for the lock.

mod grants;

pub(crate) use grants::Grants;
pub use grants::Standing;
