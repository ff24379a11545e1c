//! Which build this is: the version and, where the builder gave it, the commit.
//!
//! The binary fills it in with `BuildInfo::new(env!("CARGO_PKG_VERSION"), option_env!("FOREBAY_COMMIT"))`: a new
//! commit then rebuilds the binary alone and not every crate above this one.

use std::fmt;

/// The version of a binary. Shown as `0.1.0 (commit 0123abc)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version of the crate that the binary was built from.
    pub version: &'static str,
    /// The commit it was built from, unless it was built outside a repository.
    pub commit: Option<&'static str>,
}

impl BuildInfo {
    /// Takes what the compiler saw; an empty commit counts as none.
    #[must_use]
    pub const fn new(version: &'static str, commit: Option<&'static str>) -> Self {
        let commit = match commit {
            Some(known) if !known.is_empty() => Some(known),
            _ => None,
        };
        Self { version, commit }
    }
}

impl fmt::Display for BuildInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version)?;
        match self.commit {
            Some(commit) => write!(f, " (commit {commit})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_shown_when_it_is_known() {
        assert_eq!(BuildInfo::new("1.2.3", Some("0abc")).to_string(), "1.2.3 (commit 0abc)");
        assert_eq!(BuildInfo::new("1.2.3", Some("")).to_string(), "1.2.3");
        assert_eq!(BuildInfo::new("1.2.3", None).to_string(), "1.2.3");
    }
}
