//! The name of one directory entry: bytes, as the kernel gives them, since file names need not be UTF-8.
//!
//! Invariant: 1 to 255 bytes, no `/`, no zero byte, neither `.` nor `..`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::NAME_LENGTH_MAX;

/// A legal name of a directory entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct EntryName(Box<[u8]>);

/// Bytes that are no legal name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// A name of no bytes.
    #[error("a name must not be empty")]
    Empty,
    /// More bytes than [`NAME_LENGTH_MAX`].
    #[error("a name of {0} bytes is longer than {NAME_LENGTH_MAX}")]
    TooLong(usize),
    /// `.` and `..` name no entry of their own.
    #[error("`{0}` is no name of an entry")]
    Dots(&'static str),
    /// A slash or a zero byte.
    #[error("a name must not contain a slash or a zero byte")]
    ForbiddenByte,
}

impl EntryName {
    /// Checks and wraps `bytes`.
    ///
    /// # Errors
    /// [`NameError`] when they are no legal name.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        match &bytes[..] {
            b"" => Err(NameError::Empty),
            b"." => Err(NameError::Dots(".")),
            b".." => Err(NameError::Dots("..")),
            name if name.len() > NAME_LENGTH_MAX => Err(NameError::TooLong(name.len())),
            name if name.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(NameError::ForbiddenByte),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bare bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for EntryName {
    type Error = NameError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, NameError> {
        Self::new(bytes)
    }
}

impl From<EntryName> for Vec<u8> {
    fn from(name: EntryName) -> Self {
        name.0.into_vec()
    }
}

impl fmt::Display for EntryName {
    /// Bytes that are not UTF-8 are shown as the replacement character.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_could_not_use_are_refused() {
        assert_eq!(EntryName::new(*b""), Err(NameError::Empty));
        assert_eq!(EntryName::new(*b".."), Err(NameError::Dots("..")));
        assert_eq!(EntryName::new(vec![b'a'; 256]), Err(NameError::TooLong(256)));
        assert_eq!(EntryName::new(*b"a/b"), Err(NameError::ForbiddenByte));
        assert_eq!(EntryName::new(*b"a\0"), Err(NameError::ForbiddenByte));
    }

    #[test]
    fn a_name_need_not_be_utf8() {
        let name = EntryName::new(*b"caf\xe9").expect("legal for the kernel");
        assert_eq!(name.as_bytes(), b"caf\xe9");
        assert_eq!(name.to_string(), "caf\u{fffd}");
    }
}
