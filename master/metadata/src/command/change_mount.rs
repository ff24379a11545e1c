//! Changes how a mount behaves while it is mounted.

use forebay_types::NamespacePath;
use serde::{Deserialize, Serialize};

use crate::mount::{Coherence, Freshness};
use crate::query;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{MountRecord, Transition, mount_key};
use crate::store::StoreError;

/// Gives the mount at a path other options. What is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeMount {
    /// Where it is attached.
    pub path: NamespacePath,
    /// How old an answer about its content may be.
    pub freshness: Option<Freshness>,
    /// What one client sees of another's changes.
    pub coherence: Option<Coherence>,
}

impl ChangeMount {
    /// Whether a mount has all this already.
    #[must_use]
    pub fn is_so(&self, mount: &MountRecord) -> bool {
        let (freshness, coherence) = (mount.options.freshness, mount.options.coherence);
        self.freshness.is_none_or(|wanted| wanted == freshness)
            && self.coherence.is_none_or(|wanted| wanted == coherence)
    }

    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let mounts = query::mounts(state.reader())?;
        let Some(mut mount) = mounts.into_iter().find(|mount| mount.path == self.path) else {
            return Ok(Err(Rejection::NotMounted { path: self.path.clone() }));
        };
        let (id, changed) = (mount.id, !self.is_so(&mount));
        if changed {
            mount.options.freshness = self.freshness.unwrap_or(mount.options.freshness);
            mount.options.coherence = self.coherence.unwrap_or(mount.options.coherence);
            state.write(mount_key(id), &mount);
            // What clients were told of it was told under other conditions.
            state.mounts_changed();
        }
        Ok(Ok(Success::MountChanged { mount: id, changed }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use forebay_types::MountId;

    use super::*;
    use crate::Effect;
    use crate::command::Command;
    use crate::testing::{World, path};

    fn change(at: &str, freshness: Option<Freshness>, coherence: Option<Coherence>) -> Command {
        Command::ChangeMount(ChangeMount { path: path(at), freshness, coherence })
    }

    #[test]
    fn what_is_given_is_changed_and_the_rest_stays() {
        let (mut world, _) = World::mounted();
        let minute = Freshness::Bound(Duration::from_secs(60));
        let changed = |changed| Ok(Success::MountChanged { mount: MountId::new(1), changed });
        assert_eq!(world.apply(change("/data", Some(Freshness::Immutable), None)), changed(true));
        assert_eq!(world.effects, [Effect::MountsChanged]);
        let options = |world: &World| query::mounts(world.reader()).unwrap().remove(0).options;
        assert_eq!(options(&world).freshness, Freshness::Immutable);
        assert_eq!(options(&world).coherence, Coherence::Relaxed);
        let both = change("/data", Some(minute), Some(Coherence::Strict));
        assert_eq!(world.apply(both.clone()), changed(true));
        assert_eq!((options(&world).freshness, options(&world).coherence), (minute, Coherence::Strict));
        assert_eq!((world.apply(both), world.effects.clone()), (changed(false), vec![]));
    }

    #[test]
    fn where_nothing_is_mounted_nothing_is_changed() {
        let (mut world, _) = World::mounted();
        let refused = world.apply(change("/dat", Some(Freshness::Immutable), None));
        assert_eq!(refused, Err(Rejection::NotMounted { path: path("/dat") }));
    }
}
