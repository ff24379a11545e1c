//! What of a mount is cached: a rule, and patterns of the paths that it is for. A mount says it; masters and workers
//! judge alike, by this.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::PATTERNS_MAX;
use crate::pattern::{Pattern, PatternError};
use crate::unit::ByteCount;

/// What of a mount is cached. The default is all. **The order of the fields is a format.**
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// For the files that the patterns leave.
    pub rule: AdmissionRule,
    /// Where there are any, a file must match one of them.
    pub include: Vec<Pattern>,
    /// A file that matches one of them is not cached.
    pub exclude: Vec<Pattern>,
}

/// Which files, or parts of files, are cached. **The order is a format.**
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdmissionRule {
    /// Whatever is read.
    #[default]
    All,
    /// Nothing; names and attributes alone are known.
    None,
    /// Files up to this length.
    Small(ByteCount),
    /// What is read at random, and not what is read in order.
    Random,
}

/// Why a file is not cached. The messages are the ends of sentences.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAdmitted {
    /// Nothing of the mount is.
    #[error("the mount caches nothing (--cache none)")]
    None,
    /// It is too long.
    #[error("it has {0} bytes, and the mount caches files of up to {1} (--cache small:{1})")]
    TooLong(u64, u64),
    /// It matches this pattern.
    #[error("the mount does not cache what matches `{0}` (--cache-exclude)")]
    Excluded(Pattern),
    /// It matches no pattern of those that are cached.
    #[error("it matches none of the patterns that the mount caches (--cache-include)")]
    NotIncluded,
}

/// Why a wish for an admission cannot be met.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// No rule has this name.
    #[error("`{0}` is no rule of what is cached; it is all, none, random, or small:SIZE such as small:64KiB")]
    Unknown(String),
    /// The size cannot be read.
    #[error("`small:{0}` has no size; write one such as small:64KiB")]
    Size(String),
    /// More than [`PATTERNS_MAX`] patterns.
    #[error("{0} patterns say what is cached; at most {PATTERNS_MAX} are possible")]
    TooMany(usize),
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Admission {
    /// An admission of a rule and patterns.
    ///
    /// # Errors
    /// [`AdmissionError::TooMany`], [`AdmissionError::Pattern`].
    pub fn new<P: Into<Vec<u8>>>(
        rule: AdmissionRule,
        include: impl IntoIterator<Item = P>,
        exclude: impl IntoIterator<Item = P>,
    ) -> Result<Self, AdmissionError> {
        let include = include.into_iter().map(Pattern::new).collect::<Result<Vec<_>, _>>()?;
        let exclude = exclude.into_iter().map(Pattern::new).collect::<Result<Vec<_>, _>>()?;
        match include.len() + exclude.len() {
            0..=PATTERNS_MAX => Ok(Self { rule, include, exclude }),
            count => Err(AdmissionError::TooMany(count)),
        }
    }

    /// Whether a file of this length may be cached. `key` is its path below the mount.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(&self, key: &[u8], length: ByteCount) -> Result<(), NotAdmitted> {
        if let Some(pattern) = self.exclude.iter().find(|pattern| pattern.matches(key)) {
            return Err(NotAdmitted::Excluded(pattern.clone()));
        }
        if !self.include.is_empty() && !self.include.iter().any(|pattern| pattern.matches(key)) {
            return Err(NotAdmitted::NotIncluded);
        }
        match self.rule {
            AdmissionRule::All | AdmissionRule::Random => Ok(()),
            AdmissionRule::None => Err(NotAdmitted::None),
            AdmissionRule::Small(max) if length <= max => Ok(()),
            AdmissionRule::Small(max) => Err(NotAdmitted::TooLong(length.get(), max.get())),
        }
    }
}

impl FromStr for AdmissionRule {
    type Err = AdmissionError;

    fn from_str(text: &str) -> Result<Self, AdmissionError> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            "random" => Ok(Self::Random),
            _ => {
                let size =
                    text.strip_prefix("small:").ok_or_else(|| AdmissionError::Unknown(text.to_owned()))?;
                size.parse().map(Self::Small).map_err(|_| AdmissionError::Size(size.to_owned()))
            }
        }
    }
}

impl fmt::Display for AdmissionRule {
    /// As it is written; what this gives means the same again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Random => f.write_str("random"),
            Self::Small(max) => {
                let shown = max.to_string();
                match shown.parse::<ByteCount>() {
                    Ok(same) if same == *max => write!(f, "small:{shown}"),
                    _ => write!(f, "small:{}", max.get()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(rule: &str, include: &[&str], exclude: &[&str]) -> Admission {
        let rule = rule.parse().expect("a rule");
        Admission::new(rule, include.iter().copied(), exclude.iter().copied()).expect("legal")
    }

    fn admits(admission: &Admission, key: &str, length: u64) -> bool {
        admission.judge(key.as_bytes(), ByteCount::new(length)).is_ok()
    }

    #[test]
    fn a_rule_is_for_what_the_patterns_leave() {
        let all = Admission::default();
        assert!(admits(&all, "a", 1 << 40));
        assert!(!admits(&admission("none", &["**"], &[]), "a", 0));
        let small = admission("small:4KiB", &[], &[]);
        assert!(admits(&small, "a", 4096) && !admits(&small, "a", 4097));
        let some = admission("small:10", &["train/**", "*.idx"], &["**/*.tmp"]);
        assert!(admits(&some, "train/a", 10) && admits(&some, "a.idx", 1));
        for (key, length) in [("train/a", 11), ("train/x/a.tmp", 1), ("a.tmp", 1), ("test/a", 1)] {
            assert!(!admits(&some, key, length), "{key}");
        }
        assert!(admits(&admission("random", &[], &["b"]), "a", 1 << 40));
    }

    #[test]
    fn who_is_not_admitted_hears_why() {
        let of = |rule, include: &[&str], exclude: &[&str]| {
            let refused = admission(rule, include, exclude).judge(b"a.tmp", ByteCount::new(2000));
            refused.expect_err("refused").to_string()
        };
        assert!(of("none", &[], &[]).contains("--cache none"));
        assert!(of("small:1KiB", &[], &[]).contains("2000 bytes"));
        assert!(of("all", &[], &["*.tmp"]).contains("`*.tmp`"));
        assert!(of("all", &["b"], &[]).contains("--cache-include"));
    }

    #[test]
    fn a_rule_is_read_as_it_is_shown() {
        for rule in ["all", "none", "random", "small:64KiB", "small:1500", "small:0B"] {
            let read: AdmissionRule = rule.parse().expect("a rule");
            assert_eq!(read.to_string().parse(), Ok(read), "{rule}");
        }
        assert_eq!(AdmissionRule::Small(ByteCount::new(1537)).to_string(), "small:1537");
        for (wrong, told) in [("some", "small:SIZE"), ("small", "small:SIZE"), ("small:x", "has no size")] {
            let error = wrong.parse::<AdmissionRule>().expect_err(wrong).to_string();
            assert!(error.contains(told) && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn more_patterns_than_have_room_are_refused() {
        let many = vec!["a"; PATTERNS_MAX];
        assert!(Admission::new(AdmissionRule::All, many.clone(), vec![]).is_ok());
        let refused = Admission::new(AdmissionRule::All, many, vec!["b"]);
        assert_eq!(refused, Err(AdmissionError::TooMany(PATTERNS_MAX + 1)));
    }
}
