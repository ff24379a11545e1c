//! Who asks, and what it may do. Carried by each request from the first version on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Somebody whom a credential names, with the user and groups it acts for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// The credential's name; `anonymous` where there is no credential.
    pub name: String,
    /// The user id that requests are made for.
    pub uid: u32,
    /// The group ids that requests are made for, the primary one first.
    pub gids: Vec<u32>,
}

/// What a capability allows with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rights {
    /// To read its bytes.
    Read,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.uid)
    }
}
