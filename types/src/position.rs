//! The order of a listing: that of the keys of an under-store, in which a directory stands where its name with a slash
//! does.

use crate::limits::KEY_LENGTH_MAX;
use crate::{EntryKind, EntryName};

/// A place in the listing of a directory.
///
/// Keys of a bucket come in the order of their bytes, and those of a directory `a` all begin with `a/`: so `a` comes
/// after the file `a-b`, whose name is the greater one. A listing in this order can be shown while it goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListingPosition(Box<[u8]>);

impl ListingPosition {
    /// Where an entry stands.
    #[must_use]
    pub fn of(name: &EntryName, kind: EntryKind) -> Self {
        let name = name.as_bytes();
        match kind {
            EntryKind::Directory => Self([name, b"/"].concat().into()),
            EntryKind::File | EntryKind::Symlink => Self(name.into()),
        }
    }

    /// Where a key stands that begins with that of the directory: `rest` is what follows. It need not be a legal name.
    /// `None` for what is longer than any key, and for no bytes at all.
    #[must_use]
    pub fn of_key(rest: impl Into<Box<[u8]>>) -> Option<Self> {
        let rest = rest.into();
        (!rest.is_empty() && rest.len() <= KEY_LENGTH_MAX + 1).then_some(Self(rest))
    }

    /// The bytes that are compared.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, kind: EntryKind) -> ListingPosition {
        ListingPosition::of(&EntryName::new(name.as_bytes()).expect("legal"), kind)
    }

    #[test]
    fn a_directory_stands_after_the_names_that_go_on_with_what_is_less_than_a_slash() {
        let directory = of("a", EntryKind::Directory);
        assert!(of("a", EntryKind::File) < of("a-b", EntryKind::File));
        assert!(of("a-b", EntryKind::File) < directory);
        assert!(of("a.b", EntryKind::Symlink) < directory && directory < of("a0", EntryKind::File));
    }

    #[test]
    fn what_cannot_be_a_key_is_no_place() {
        assert_eq!(ListingPosition::of_key(*b""), None);
        assert_eq!(ListingPosition::of_key(vec![b'a'; KEY_LENGTH_MAX + 2]), None);
        assert_eq!(ListingPosition::of_key(*b"a/"), Some(of("a", EntryKind::Directory)));
    }
}
