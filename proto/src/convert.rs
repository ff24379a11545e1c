//! Domain twins of the wire's messages: `From` to send, `TryFrom` to receive.

mod entry;
mod feed;
mod job;
mod map;
mod mount;
mod version;

use thiserror::Error;

pub use entry::{Entry, Named};
pub use feed::{ChangedName, ChangedNames, DirectoryChange, FeedPosition, Followed, News, Validity};
pub use mount::{Coherence, Freshness, MountMode, OnOutage, OptionSource};

/// A message that does not make sense. Whoever sent it is wrong, or newer than we can follow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireDefect {
    /// A field that must be there is not.
    #[error("the message has no `{0}`")]
    Missing(&'static str),
    /// A field has a value that it cannot have.
    #[error("the field `{field}` is invalid: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl WireDefect {
    /// Takes what a required field holds.
    pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Self> {
        value.ok_or(Self::Missing(field))
    }

    /// Says why a field is invalid.
    pub(crate) fn invalid(field: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |reason| Self::Invalid { field, reason: reason.to_string() }
    }
}
