//! The named maxima of a check: beyond them it says that it did not decide.

/// Operations that are under way at once, those whose outcome was never known included.
pub(crate) const UNDER_WAY_MAX: usize = 128;
/// Ways of the past that are told apart at one moment.
pub(crate) const CONFIGURATIONS_MAX: usize = 1 << 19;
/// Operations that are tried in one check.
pub(crate) const STEPS_MAX: u64 = 20_000_000;
/// Trees that are told apart in one check.
pub(crate) const TREES_MAX: usize = 1 << 20;
/// Trees that a violation shows.
pub(crate) const TREES_SHOWN_MAX: usize = 4;
/// Longest line of a history's file, in bytes.
pub(crate) const LINE_LENGTH_MAX: usize = 64 << 10;
/// Most operations of one history.
pub(crate) const OPERATIONS_MAX: usize = 1 << 20;
