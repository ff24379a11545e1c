//! Gives the state its identity and its root directory, once.

use std::fmt;

use forebay_types::{ClusterId, Incarnation, InodeId, UnderStoreKey};
use serde::{Deserialize, Serialize};

use crate::level::FEATURE_LEVEL_FIRST;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{ClusterIdentity, Inode, InodeBody, NextIds, Transition};
use crate::store::StoreError;

/// Begins a namespace. Repeated with the same identity it changes nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Sixteen random bytes.
    pub cluster: ClusterId,
    /// Which life of the cluster's state this is, see [`next_incarnation`](crate::snapshot::next_incarnation).
    pub incarnation: Incarnation,
    /// What block capabilities are signed with. Debug output hides it.
    pub capability_secret: [u8; 32],
}

/// How far the ids of inodes and versions begin above those of the life before, for each number between the two.
const ENTRIES_PER_INCARNATION: u64 = 1 << 16;

/// The first id of an inode or version in a life. Kernels know files by these ids, and outlive a master's state: a life
/// begins where none before it can have come. Incarnations are seconds (see
/// [`next_incarnation`](crate::snapshot::next_incarnation)), so a life that gives fewer than 65,536 ids a second, over
/// all of its time, stays below the next one, and all stay below 2^48.
pub(crate) fn first_entry(incarnation: Incarnation) -> u64 {
    let floor = u64::from(incarnation.get().saturating_sub(1)) * ENTRIES_PER_INCARNATION;
    floor.max(InodeId::ROOT.next().get())
}

impl Format {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        if let Some(identity) = ClusterIdentity::read(state.reader())? {
            let same = identity.cluster == self.cluster && identity.incarnation == self.incarnation;
            return Ok(if same {
                Ok(Success::Formatted { already: true })
            } else {
                Err(Rejection::AlreadyFormatted)
            });
        }
        let identity = ClusterIdentity {
            cluster: self.cluster,
            incarnation: self.incarnation,
            capability_secret: self.capability_secret,
            formatted_at: state.now(),
            // As earlier versions do with this command. Whoever forms a cluster raises it in the same entry.
            feature_level: FEATURE_LEVEL_FIRST,
        };
        state.write(ClusterIdentity::KEY.to_vec(), &identity);
        state.write(
            NextIds::KEY.to_vec(),
            &NextIds { entry: first_entry(self.incarnation), mount: 1, worker: 1 },
        );
        state.insert_inode(&Inode {
            id: InodeId::ROOT,
            parent: InodeId::ROOT,
            name: None,
            mount: None,
            key: UnderStoreKey::default(),
            mode: None,
            uid: None,
            gid: None,
            modified: state.now(),
            body: InodeBody::Directory { mounts_below: 0 },
        })?;
        Ok(Ok(Success::Formatted { already: false }))
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Format")
            .field("cluster", &self.cluster)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::query;
    use crate::testing::{World, format};

    #[test]
    fn a_formatted_state_has_its_identity_and_an_empty_root() {
        let mut world = World::empty();
        assert_eq!(world.apply(Command::Format(format(7))), Ok(Success::Formatted { already: false }));
        let root = query::attributes(world.reader(), InodeId::ROOT).unwrap().unwrap();
        assert_eq!(root.body, InodeBody::Directory { mounts_below: 0 });
        assert_eq!(query::list(world.reader(), InodeId::ROOT, None, 10).unwrap(), []);
        assert_eq!(query::identity(world.reader()).unwrap().unwrap().cluster, format(7).cluster);
    }

    #[test]
    fn only_the_same_identity_may_be_given_again() {
        let mut world = World::empty();
        world.apply(Command::Format(format(7))).unwrap();
        assert_eq!(world.apply(Command::Format(format(7))), Ok(Success::Formatted { already: true }));
        assert_eq!(world.apply(Command::Format(format(8))), Err(Rejection::AlreadyFormatted));
    }

    #[test]
    fn nothing_else_is_done_before_the_state_is_formatted() {
        let mut world = World::empty();
        let early = Command::Reap(crate::Reap { limit: 1 });
        assert_eq!(world.apply(early), Err(Rejection::NotFormatted));
        assert_eq!(crate::snapshot::dump(world.reader()).count(), 0);
    }

    #[test]
    fn a_later_life_begins_above_the_ids_of_the_earlier_ones() {
        assert_eq!(first_entry(Incarnation::new(1)), 2);
        let mut world = World::empty();
        let later = Format { incarnation: Incarnation::new(1_800_000_000), ..format(7) };
        world.apply(Command::Format(later)).unwrap();
        world.mount("/data", "s3://bucket").unwrap();
        let first = world.at("/data").unwrap();
        assert_eq!(first, InodeId::new(1_799_999_999 << 16));
        assert_eq!(first_entry(Incarnation::new(u32::MAX)) >> 48, 0);
    }

    #[test]
    fn the_secret_is_never_shown() {
        assert!(!format!("{:?}", format(7)).contains("secret"));
    }
}
