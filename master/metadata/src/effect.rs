//! What the world outside must now do because an entry was applied.
//!
//! Effects are wake-ups, not truth: one that is lost costs room or time, never correctness, because what it speaks
//! of can be read from the rows; what is to be done to the world from those of the outbox.

use std::collections::BTreeMap;

use forebay_types::{EntryName, FileId, InodeId};

use crate::limits::CHANGED_NAMES_MAX;

/// One thing to do outside of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// These versions are no longer any file's: workers may drop what they hold of them. The outbox has them too.
    ForgetVersions(Vec<FileId>),
    /// The namespace does not know these versions any more, and their under-stores may still have them: workers may keep
    /// what they hold, for whoever asks for the same content under another id.
    DisownVersions(Vec<FileId>),
    /// Mounts were added or removed: workers must learn the new list.
    MountsChanged,
    /// Answers about these directories are void as far as it says.
    DirectoriesChanged(BTreeMap<InodeId, ChangedNames>),
    /// Detached subtrees wait for [`Reap`](crate::Reap) commands.
    ReapNeeded,
    /// Jobs were asked for or ended: whoever works on them must look.
    JobsChanged,
}

/// Which answers about a directory are void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedNames {
    /// Those about these names, and listings.
    These(Vec<ChangedName>),
    /// All of them.
    All,
}

/// A name that leads elsewhere than before, or to something that is not as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedName {
    /// The name.
    pub name: EntryName,
    /// What it led to before; nothing where it is new.
    pub before: Option<InodeId>,
}

impl ChangedNames {
    /// No name yet.
    pub(crate) const NONE: Self = Self::These(Vec::new());

    /// One more name; too many of them are all.
    pub(crate) fn add(&mut self, changed: ChangedName) {
        match self {
            Self::These(names) if names.len() < CHANGED_NAMES_MAX => names.push(changed),
            Self::These(_) => *self = Self::All,
            Self::All => {}
        }
    }
}
