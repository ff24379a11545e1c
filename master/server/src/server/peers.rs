//! The masters as they are configured: a slot and an address each.

use std::collections::BTreeMap;
use std::fmt;

use forebay_proto::v1;
use thiserror::Error;

use crate::limits::MASTERS_MAX;

/// Slots and addresses, `1=HOST:PORT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerList(BTreeMap<u32, String>);

/// Why a list of masters makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerListError {
    /// Not of the form `SLOT=HOST:PORT`.
    #[error("`{0}` is no master: write SLOT=HOST:PORT, such as 1=10.0.0.1:7411")]
    Form(String),
    /// A slot that stands there twice.
    #[error("slot {0} stands there twice: give each master a slot of its own")]
    Slot(u32),
    /// An address that stands there twice.
    #[error("{0} stands there twice: each master has an address of its own")]
    Address(String),
    /// More masters than a cluster has.
    #[error("{0} masters are too many: a cluster has up to {MASTERS_MAX}, and 1, 3 or 5 are best")]
    TooMany(usize),
}

impl PeerList {
    /// Reads `1=HOST:PORT` and so on.
    ///
    /// # Errors
    /// [`PeerListError`].
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, PeerListError> {
        let mut peers = BTreeMap::new();
        for text in texts {
            let wrong = || PeerListError::Form(text.to_owned());
            let (slot, address) = text.trim().split_once('=').ok_or_else(wrong)?;
            let slot: u32 = slot.parse().map_err(|_| wrong())?;
            if slot == 0 || forebay_proto::transport::endpoint(address).is_err() {
                return Err(wrong());
            }
            if peers.values().any(|known| known == address) {
                return Err(PeerListError::Address(address.to_owned()));
            }
            if peers.insert(slot, address.to_owned()).is_some() {
                return Err(PeerListError::Slot(slot));
            }
        }
        if peers.len() > MASTERS_MAX {
            return Err(PeerListError::TooMany(peers.len()));
        }
        Ok(Self(peers))
    }

    /// The address of a slot.
    #[must_use]
    pub fn address(&self, slot: u32) -> Option<&str> {
        self.0.get(&slot).map(String::as_str)
    }

    /// Whether the cluster is to have one master only.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.0.len() <= 1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.0.iter().map(|(slot, address)| (*slot, address.as_str()))
    }

    /// The one that forms the cluster.
    pub(crate) fn first(&self) -> Option<u32> {
        self.0.first_key_value().map(|(slot, _)| *slot)
    }

    pub(crate) fn to_wire(&self) -> Vec<v1::ConfiguredMaster> {
        self.iter()
            .map(|(slot, address)| v1::ConfiguredMaster { slot, address: address.to_owned() })
            .collect()
    }

    /// What another master says. Nothing is checked: it is only compared and shown.
    pub(crate) fn of_wire(peers: Vec<v1::ConfiguredMaster>) -> Self {
        Self(peers.into_iter().take(MASTERS_MAX).map(|peer| (peer.slot, peer.address)).collect())
    }
}

impl fmt::Display for PeerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.iter().map(|(slot, address)| format!("{slot}={address}")).collect();
        f.write_str(&texts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_shown_in_the_order_of_slots() {
        let peers = PeerList::parse(["2=b:1", " 1=[::1]:7411"]).unwrap();
        assert_eq!(peers.to_string(), "1=[::1]:7411,2=b:1");
        assert_eq!((peers.first(), peers.address(2), peers.is_one()), (Some(1), Some("b:1"), false));
        assert_eq!(PeerList::of_wire(peers.to_wire()), peers);
    }

    #[test]
    fn lists_that_make_no_sense_are_refused_with_what_is_wrong() {
        for (list, part) in [
            (&["1:b:1"][..], "SLOT=HOST:PORT"),
            (&["0=b:1"], "SLOT=HOST:PORT"),
            (&["1=b"], "SLOT=HOST:PORT"),
            (&["1=a:1", "1=b:1"], "slot 1"),
            (&["1=a:1", "2=a:1"], "a:1"),
        ] {
            let error = PeerList::parse(list.iter().copied()).unwrap_err().to_string();
            assert!(error.contains(part), "{list:?}: {error}");
        }
        let many: Vec<_> = (1..=10).map(|slot| format!("{slot}=h:{slot}")).collect();
        let error = PeerList::parse(many.iter().map(String::as_str)).unwrap_err();
        assert!(matches!(error, PeerListError::TooMany(10)), "{error}");
    }
}
