//! Changes how a mount behaves while it is mounted.

use forebay_types::{Admission, NamespacePath};
use serde::{Deserialize, Serialize};

use crate::mount::{Coherence, Freshness, MountMode, MountOptions, OnOutage};
use crate::query;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{Transition, mount_key};
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
    /// What is answered past its freshness while the under-store is away.
    pub on_outage: Option<OnOutage>,
    /// What may be asked of the under-store.
    pub mode: Option<MountMode>,
    /// What of it is cached. What is cached already stays.
    pub admission: Option<Admission>,
}

impl ChangeMount {
    /// A command that changes nothing of the mount at `path`.
    #[must_use]
    pub const fn of(path: NamespacePath) -> Self {
        Self { path, freshness: None, coherence: None, on_outage: None, mode: None, admission: None }
    }

    /// The options of a mount that has these.
    fn options(&self, before: &MountOptions) -> MountOptions {
        MountOptions {
            freshness: self.freshness.unwrap_or(before.freshness),
            coherence: self.coherence.unwrap_or(before.coherence),
            on_outage: self.on_outage.unwrap_or(before.on_outage),
            mode: self.mode.unwrap_or(before.mode),
            admission: self.admission.as_ref().unwrap_or(&before.admission).clone(),
            ..before.clone()
        }
    }

    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let mounts = query::mounts(state.reader())?;
        let Some(mut mount) = mounts.into_iter().find(|mount| mount.path == self.path) else {
            return Ok(Err(Rejection::NotMounted { path: self.path.clone() }));
        };
        let (id, options) = (mount.id, self.options(&mount.options));
        let changed = options != mount.options;
        if changed {
            (mount.options, mount.changed_at) = (options, state.index());
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
        Command::ChangeMount(ChangeMount { freshness, coherence, ..ChangeMount::of(path(at)) })
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
    fn a_mount_is_put_into_maintenance_and_taken_out_of_it_and_can_be_written_in_neither() {
        let (mut world, _) = World::mounted();
        let before = query::mounts(world.reader()).unwrap().remove(0);
        let set = |mode, on_outage| {
            let mode = Some(mode);
            Command::ChangeMount(ChangeMount { mode, on_outage, ..ChangeMount::of(path("/data")) })
        };
        world.apply(set(MountMode::NoAccess, Some(OnOutage::Fail))).unwrap();
        assert_eq!(world.effects, [Effect::MountsChanged]);
        let closed = query::mounts(world.reader()).unwrap().remove(0);
        assert!(closed.options.is_in_maintenance() && closed.options.is_read_only());
        assert_eq!((closed.changed_at, closed.mounted_at), (world.index(), before.mounted_at));
        world.apply(set(MountMode::Normal, None)).unwrap();
        let open = query::mounts(world.reader()).unwrap().remove(0);
        assert_eq!(open.options, MountOptions { on_outage: OnOutage::Fail, ..before.options });
        let writable = MountOptions { read_only: false, ..open.options };
        assert!(!writable.is_read_only());
        assert!(MountOptions { mode: MountMode::ReadOnly, ..writable }.is_read_only());
    }

    #[test]
    fn where_nothing_is_mounted_nothing_is_changed() {
        let (mut world, _) = World::mounted();
        let refused = world.apply(change("/dat", Some(Freshness::Immutable), None));
        assert_eq!(refused, Err(Rejection::NotMounted { path: path("/dat") }));
    }
}
