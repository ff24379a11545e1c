//! Walks through directories: by what the offsets of their names are told from those of other walks.

/// Tells the walks of a mount from each other. That of all of which the kernel keeps nothing is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WalkNumber(u32);

/// A walk through a directory from its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) number: WalkNumber,
    /// The kernel has entries of this number already that are not of this walk: it must not keep the listing.
    pub(crate) is_mixed: bool,
}

/// What a handle leaves that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    Nothing,
    /// The kernel has nothing of the walk.
    NotBegun(WalkNumber),
    /// The kernel may have part of it.
    BrokenOff(WalkNumber),
}

impl WalkNumber {
    /// Offsets are signed.
    pub(crate) const MAX: u32 = (1 << 31) - 1;

    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}
