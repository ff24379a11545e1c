//! What the master has told, and whether it still holds. Pure but for the lock.

mod grants;

pub use grants::{Grants, Standing};
