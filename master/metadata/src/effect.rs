//! What the world outside must now do because an entry was applied.
//!
//! Effects are wake-ups, not truth: one that is lost costs room or time, never correctness, because what it speaks
//! of can be read from the rows.

use forebay_types::{FileId, InodeId};

/// One thing to do outside of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// These versions are no longer any file's: workers may drop what they hold of them.
    ForgetVersions(Vec<FileId>),
    /// Mounts were added or removed: workers must learn the new list.
    MountsChanged,
    /// What these directories answer has changed: cached answers for them are void.
    DirectoriesChanged(Vec<InodeId>),
    /// Detached subtrees wait for [`Reap`](crate::Reap) commands.
    ReapNeeded,
    /// Jobs were asked for or ended: whoever works on them must look.
    JobsChanged,
}
