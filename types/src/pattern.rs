//! Patterns of paths, over bytes: `*` is any run of bytes within a name, `?` one of them, `**` any run, and `**/` any
//! number of directories, also none. A backslash takes the meaning from the byte after it. All else is itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::PATTERN_LENGTH_MAX;

/// A pattern that the whole of a path matches or not. It is kept as it was written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Pattern {
    text: Vec<u8>,
    parts: Vec<Part>,
}

/// Why a text is no pattern. The messages say what to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It is empty.
    #[error("a pattern is empty; write one such as `**/*.tmp`, or leave it away")]
    Empty,
    /// It is longer than [`PATTERN_LENGTH_MAX`].
    #[error("a pattern has {0} bytes; at most {PATTERN_LENGTH_MAX} are possible")]
    TooLong(usize),
    /// It begins with a slash.
    #[error(
        "the pattern `{0}` begins with a slash; it is compared with the path below the mount, which has none there"
    )]
    Absolute(String),
    /// It ends with a slash.
    #[error("the pattern `{0}` ends with a slash, as no file does; write `{0}**` for all that is below")]
    Directory(String),
    /// It ends with a backslash that nothing follows.
    #[error("the pattern `{0}` ends with a backslash; write two where one is meant")]
    Unfinished(String),
}

/// What a place in a path may be. Each is a state of the automaton that a pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// This byte.
    Byte(u8),
    /// Any byte but a slash.
    One,
    /// Any number of them.
    Name,
    /// Any number of any bytes.
    Path,
    /// Nothing, with or without the next two parts: [`Part::Path`] and a slash.
    Directories,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn new(text: impl Into<Vec<u8>>) -> Result<Self, PatternError> {
        let text = text.into();
        let shown = || String::from_utf8_lossy(&text).into_owned();
        match text.as_slice() {
            [] => return Err(PatternError::Empty),
            long if long.len() > PATTERN_LENGTH_MAX => return Err(PatternError::TooLong(long.len())),
            [b'/', ..] => return Err(PatternError::Absolute(shown())),
            [.., b'/'] => return Err(PatternError::Directory(shown())),
            _ => {}
        }
        let mut parts = Vec::new();
        let mut rest = text.as_slice();
        while let [first, after @ ..] = rest {
            let is_after_slash = matches!(parts.last(), None | Some(Part::Byte(b'/')));
            rest = match (first, after) {
                (b'*', [b'*', b'/', after @ ..]) if is_after_slash => {
                    parts.extend([Part::Directories, Part::Path, Part::Byte(b'/')]);
                    after
                }
                (b'*', [b'*', after @ ..]) => {
                    parts.push(Part::Path);
                    after
                }
                (b'*', after) => {
                    parts.push(Part::Name);
                    after
                }
                (b'?', after) => {
                    parts.push(Part::One);
                    after
                }
                (b'\\', [byte, after @ ..]) => {
                    parts.push(Part::Byte(*byte));
                    after
                }
                (b'\\', []) => return Err(PatternError::Unfinished(shown())),
                (byte, after) => {
                    parts.push(Part::Byte(*byte));
                    after
                }
            };
        }
        Ok(Self { text, parts })
    }

    /// Whether the whole of `path` is as the pattern says. Takes at most as many steps as both have bytes, multiplied.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let end = self.parts.len();
        let mut states = vec![false; end + 1];
        self.enter(&mut states, 0);
        for byte in path {
            let mut next = vec![false; end + 1];
            for (place, part) in self.parts.iter().enumerate().filter(|(place, _)| states[*place]) {
                match part {
                    Part::Byte(expected) if expected == byte => self.enter(&mut next, place + 1),
                    Part::One if *byte != b'/' => self.enter(&mut next, place + 1),
                    Part::Name if *byte != b'/' => self.enter(&mut next, place),
                    Part::Path => self.enter(&mut next, place),
                    _ => {}
                }
            }
            states = next;
        }
        states[end]
    }

    /// As it was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Marks a state and all that are reached from it without a byte.
    fn enter(&self, states: &mut [bool], place: usize) {
        if std::mem::replace(&mut states[place], true) {
            return;
        }
        match self.parts.get(place) {
            Some(Part::Name | Part::Path) => self.enter(states, place + 1),
            Some(Part::Directories) => {
                self.enter(states, place + 1);
                self.enter(states, place + 3);
            }
            _ => {}
        }
    }
}

impl TryFrom<Vec<u8>> for Pattern {
    type Error = PatternError;

    fn try_from(text: Vec<u8>) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl From<Pattern> for Vec<u8> {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: impl AsRef<[u8]>) -> Pattern {
        Pattern::new(text.as_ref()).expect("a pattern")
    }

    #[test]
    fn a_pattern_is_the_whole_of_a_path() {
        for (text, paths, others) in [
            ("a", &["a"][..], &["", "b", "aa", "a/a", "x/a"][..]),
            ("*", &["a", "a.b", ".a", ""], &["a/b", "/"]),
            ("*.tmp", &["a.tmp", ".tmp"], &["d/a.tmp", "a.tmpx", "tmp"]),
            ("a?c", &["abc", "a.c"], &["ac", "a/c", "abbc"]),
            ("d/*", &["d/a", "d/"], &["d", "d/a/b", "e/a"]),
            ("d/**", &["d/a", "d/a/b"], &["d", "e/a", "dd/a"]),
            ("**", &["a", "a/b/c"], &[]),
            ("**/a", &["a", "x/a", "x/y/a"], &["xa", "x/ya", "a/b"]),
            ("d/**/a", &["d/a", "d/x/a", "d/x/y/a"], &["a", "d/xa", "dx/a", "d//b"]),
            ("a**c", &["ac", "abc", "a/b/c"], &["a/b"]),
            ("**/x/**/*.b", &["x/a.b", "y/x/z/a.b"], &["x.b", "y/a.b", "xx/a.b"]),
            ("*a*b*", &["ab", "xaxbx", "aabb"], &["ba", "a/b"]),
            (r"\*\?\\", &[r"*?\"], &["ab", "a?"]),
            ("[a]", &["[a]"], &["a"]),
        ] {
            for path in paths {
                assert!(pattern(text).matches(path.as_bytes()), "{text} {path}");
            }
            for other in others {
                assert!(!pattern(text).matches(other.as_bytes()), "{text} {other}");
            }
        }
    }

    #[test]
    fn paths_and_patterns_are_bytes() {
        let odd = pattern(b"d\xff/*\xfe");
        assert!(odd.matches(b"d\xff/x\xfe") && !odd.matches(b"d\xff/x\xfd"));
        assert!(pattern("?").matches(b"\xff"));
        assert!(!pattern("?").matches("ä".as_bytes()), "two bytes");
    }

    #[test]
    fn a_pattern_with_many_stars_takes_no_longer_than_its_length_times_the_paths() {
        let many = pattern("*a".repeat(PATTERN_LENGTH_MAX / 2));
        assert!(many.matches("a".repeat(4000).as_bytes()));
        assert!(!many.matches(&[b"a".repeat(3999).as_slice(), b"b"].concat()));
    }

    #[test]
    fn what_is_no_pattern_says_what_to_write() {
        let long = "a".repeat(PATTERN_LENGTH_MAX + 1);
        for (text, told) in [
            ("", "leave it away"),
            ("/a", "below the mount"),
            ("a/", "`a/**`"),
            (r"a\", "write two"),
            (long.as_str(), "bytes"),
        ] {
            let error = Pattern::new(text).expect_err(text).to_string();
            assert!(error.contains(told), "{error}");
        }
        assert!(Pattern::new("a".repeat(PATTERN_LENGTH_MAX)).is_ok());
    }
}
