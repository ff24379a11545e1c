//! How a mount behaves: the options that are kept with it.
//!
//! Secrets are either named by reference or sealed before they come here; neither is ever shown by `Debug`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use forebay_types::{Admission, BLOCK_LENGTH_DEFAULT, ByteCount};
use serde::{Deserialize, Serialize};

/// How a mount behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOptions {
    /// Whether it was mounted so that nothing can be written below it; see [`MountOptions::is_read_only`].
    pub read_only: bool,
    /// How old an answer about its content may be.
    pub freshness: Freshness,
    /// What one client sees of another's changes.
    pub coherence: Coherence,
    /// Length of a block of its files: a power of two from one page to 1 GiB.
    pub block_length: ByteCount,
    /// Endpoint, credentials and the like, by the names that the under-store's adapter knows.
    pub options: BTreeMap<String, OptionValue>,
    /// What is answered past its freshness while the under-store is away.
    pub on_outage: OnOutage,
    /// What may be asked of the under-store.
    pub mode: MountMode,
    /// What of it is cached.
    pub admission: Admission,
}

/// How old an answer about a mount's content may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freshness {
    /// Its content never changes.
    Immutable,
    /// At most this old; zero means: asked at each open.
    Bound(Duration),
}

/// What one client sees of another's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coherence {
    /// An open asks the master, so that a close that returned is seen.
    Strict,
    /// Grants, no round trip; changes are seen within seconds.
    Relaxed,
}

/// What is answered past its freshness while the under-store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnOutage {
    /// What is known.
    Serve,
    /// An error.
    Fail,
}

/// What may be asked of a mount's under-store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountMode {
    /// Whatever is needed.
    Normal,
    /// Nothing: it is in maintenance. What is known and cached is answered, whatever its age.
    NoAccess,
    /// Reads only, whether the mount is writable or not.
    ReadOnly,
}

/// The value of one option.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OptionValue {
    /// Text that is no secret.
    Plain(String),
    /// `env:NAME` or `file:PATH`, read by whoever connects to the under-store.
    Reference(String),
    /// A secret, sealed with the cluster's key.
    Sealed(Vec<u8>),
}

impl MountOptions {
    /// The freshness of a mount that asks for none.
    pub const FRESHNESS_DEFAULT: Freshness = Freshness::Bound(Duration::from_secs(60));

    /// Whether nothing can be written below the mount now.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.read_only || !matches!(self.mode, MountMode::Normal)
    }

    /// Whether its under-store may not be asked for anything.
    #[must_use]
    pub const fn is_in_maintenance(&self) -> bool {
        matches!(self.mode, MountMode::NoAccess)
    }
}

impl Default for MountOptions {
    /// Read-only, 60 s, relaxed, blocks of 64 MiB, no options; served in an outage, asked for whatever is needed, and all
    /// of it cached.
    fn default() -> Self {
        Self {
            read_only: true,
            freshness: Self::FRESHNESS_DEFAULT,
            coherence: Coherence::Relaxed,
            block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
            options: BTreeMap::new(),
            on_outage: OnOutage::Serve,
            mode: MountMode::Normal,
            admission: Admission::default(),
        }
    }
}

impl fmt::Debug for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.debug_tuple("Plain").field(text).finish(),
            Self::Reference(text) => f.debug_tuple("Reference").field(text).finish(),
            Self::Sealed(_) => f.write_str("Sealed(..)"),
        }
    }
}
