//! What the master has told, and whether it still holds. Pure but for the locks.

mod directories;
mod grants;
mod packed;

pub use directories::{Directories, Remembered, RememberedPage, Term};
pub use grants::{About, Grants, Standing};
pub(crate) use packed::PackedEntry;
