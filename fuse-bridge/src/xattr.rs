//! The extended attributes `user.forebay.*`: what they are called, who has them, and how their bytes are handed over.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::Errno;

use crate::errno::TOO_SHORT;
use crate::nodes::{Content, Facts};

/// One of our attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// The version's id.
    FileId,
    /// How much of the version workers report to hold.
    CachedBytes,
    /// How the file would be read now.
    ServedBy,
    /// Where the content comes from.
    UnderStoreUri,
}

/// What the kernel gets for a value, given the length of the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handover {
    /// The caller asked for the length only.
    Length(u32),
    /// The value itself.
    Value,
}

const ALL: [Attribute; 4] =
    [Attribute::FileId, Attribute::CachedBytes, Attribute::ServedBy, Attribute::UnderStoreUri];

impl Attribute {
    const fn name(self) -> &'static str {
        match self {
            Self::FileId => "user.forebay.file_id",
            Self::CachedBytes => "user.forebay.cached_bytes",
            Self::ServedBy => "user.forebay.served_by",
            Self::UnderStoreUri => "user.forebay.under_store_uri",
        }
    }

    /// The attribute of this name, if the node has it. All other names, of which the kernel and `ls` ask for many
    /// (`security.*`, `system.posix_acl_*`), are answered without asking anybody.
    pub(crate) fn find(name: &OsStr, facts: &Facts) -> Option<Self> {
        ALL.into_iter()
            .find(|attribute| attribute.name().as_bytes() == name.as_bytes() && attribute.is_on(facts))
    }

    fn is_on(self, facts: &Facts) -> bool {
        match self {
            Self::FileId | Self::CachedBytes | Self::ServedBy => matches!(facts.content, Content::File(_)),
            Self::UnderStoreUri => facts.has_under_store,
        }
    }
}

/// The names on a node, each with a zero byte after it.
pub(crate) fn names(facts: &Facts) -> Vec<u8> {
    let on = ALL.into_iter().filter(|attribute| attribute.is_on(facts));
    on.flat_map(|attribute| attribute.name().bytes().chain([0])).collect()
}

/// How `value` is handed over to a caller with room for `size` bytes; 0 asks for the length.
///
/// # Errors
/// [`TOO_SHORT`] if it does not fit.
pub(crate) fn hand_over(value: &[u8], size: u32) -> Result<Handover, Errno> {
    let length = u32::try_from(value.len()).map_err(|_| TOO_SHORT)?;
    match size {
        0 => Ok(Handover::Length(length)),
        size if size < length => Err(TOO_SHORT),
        _ => Ok(Handover::Value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubles::{directory, facts, file, symlink};

    #[test]
    fn files_have_all_attributes_and_directories_only_where_they_come_from() {
        let of_file = String::from_utf8(names(&facts(&file(5, 6, 1)))).expect("text");
        let expected = "user.forebay.file_id\0user.forebay.cached_bytes\0user.forebay.served_by\0\
                        user.forebay.under_store_uri\0";
        assert_eq!(of_file, expected);
        assert_eq!(names(&facts(&directory(5))), b"");
        assert_eq!(names(&facts(&symlink(5, b"a"))), b"user.forebay.under_store_uri\0");
    }

    #[test]
    fn other_names_are_not_found() {
        let facts = facts(&file(5, 6, 1));
        assert_eq!(Attribute::find(OsStr::new("user.forebay.file_id"), &facts), Some(Attribute::FileId));
        for name in
            ["security.capability", "system.posix_acl_access", "user.forebay", "user.forebay.file_id2"]
        {
            assert_eq!(Attribute::find(OsStr::new(name), &facts), None, "{name}");
        }
    }

    #[test]
    fn a_caller_learns_the_length_first_and_a_short_buffer_is_refused() {
        assert_eq!(hand_over(b"abc", 0), Ok(Handover::Length(3)));
        assert_eq!(hand_over(b"abc", 2), Err(TOO_SHORT));
        assert_eq!(hand_over(b"abc", 3), Ok(Handover::Value));
        assert_eq!(hand_over(b"", 0), Ok(Handover::Length(0)));
        assert_eq!(hand_over(b"", 1), Ok(Handover::Value));
    }
}
