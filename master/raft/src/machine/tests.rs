//! Applying, snapshots from one state machine to another, and damage to them.

use std::fs;

use forebay_metadata::snapshot::dump_digest;
use forebay_metadata::{Effect, query};
use futures::stream;
use openraft::EntryPayload;
use tempfile::TempDir;

use super::*;
use crate::effects::{self, Effects, Wake};
use crate::testing::{CLUSTER, Joined, SECRET, batch, mount};
use crate::types::log_id;
use forebay_metadata::{Command, Format};
use forebay_types::{ErrorKind, Incarnation};

pub(super) struct World {
    dir: TempDir,
    pub(super) machine: Machine,
    _applier: Joined,
    pub(super) state: Arc<NodeState>,
    effects: Effects,
}

pub(super) fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let state = Arc::new(NodeState::open(dir.path().join("state")).unwrap());
    let shelf = Arc::new(SnapshotShelf::open(dir.path().join("snapshots")).unwrap());
    let (sender, effects, _) = effects::channel(8);
    let (machine, applier) =
        Machine::start(Arc::clone(&state), shelf, sender, FirstFailure::default()).unwrap();
    World { dir, machine, _applier: Joined::new(applier), state, effects }
}

pub(super) fn format() -> Command {
    Command::Format(Format { cluster: CLUSTER, incarnation: Incarnation::new(1), capability_secret: SECRET })
}

impl World {
    /// Applies entries from `first` on, one command each.
    async fn apply(&mut self, first: u64, commands: impl IntoIterator<Item = Command>) {
        let entries: Vec<_> = (first..)
            .zip(commands)
            .map(|(index, command)| {
                let payload = EntryPayload::Normal(batch([command]));
                Ok((RaftEntry { log_id: log_id(1, index), payload }, None))
            })
            .collect();
        self.machine.apply(stream::iter(entries)).await.unwrap();
    }

    fn digest(&self) -> u128 {
        dump_digest(&self.state.view().unwrap().moment()).unwrap()
    }

    fn mounts(&self) -> usize {
        query::mounts(&self.state.view().unwrap().moment()).unwrap().len()
    }
}

#[tokio::test]
async fn applied_entries_have_their_effects_and_are_remembered_with_their_index() {
    let mut world = world();
    world.apply(1, [format(), mount(1)]).await;
    assert_eq!(world.machine.applied_state().await.unwrap().0, Some(log_id(1, 2)));
    assert_eq!(world.state.view().unwrap().moment().applied(), LogIndex::new(2));
    assert_eq!(world.state.current().unwrap().applied().unwrap(), Some(log_id(1, 2)));
    let Some(Wake::Effects(index, effects)) = world.effects.next().await else { panic!("no effects") };
    assert_eq!(index, LogIndex::new(2));
    assert!(effects.contains(&Effect::MountsChanged), "{effects:?}");
}

#[tokio::test]
async fn an_installed_snapshot_is_the_state_that_it_was_made_of() {
    let (mut leader, mut follower) = (world(), world());
    leader.apply(1, [format(), mount(1), mount(2)]).await;
    follower.apply(1, [format()]).await;
    let old = follower.state.view().unwrap();
    let snapshot = leader.machine.build_snapshot().await.unwrap();
    let at_snapshot = leader.digest();
    leader.apply(4, [mount(3)]).await;

    follower.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert_eq!(follower.digest(), at_snapshot);
    assert_eq!(follower.machine.applied_state().await.unwrap().0, Some(log_id(1, 3)));
    assert_eq!(follower.effects.next().await, Some(Wake::Rescan(LogIndex::new(3))));
    // A view from before goes on showing what it showed, and the old state goes with it.
    assert_eq!(query::mounts(&old.moment()).unwrap().len(), 0);
    assert!(follower.dir.path().join("state/1").exists());
    drop(old);
    assert!(!follower.dir.path().join("state/1").exists());

    follower.apply(4, [mount(3)]).await;
    assert_eq!(follower.digest(), leader.digest());
    // The kept snapshot is not touched by what is applied to the state that began as it.
    let kept = follower.machine.get_current_snapshot().await.unwrap().unwrap();
    let mut third = world();
    third.machine.install_snapshot(&kept.meta, kept.snapshot).await.unwrap();
    assert_eq!(third.digest(), at_snapshot);
}

#[tokio::test]
async fn an_installed_snapshot_survives_a_restart() {
    let (mut leader, mut follower) = (world(), world());
    leader.apply(1, [format(), mount(1)]).await;
    let snapshot = leader.machine.build_snapshot().await.unwrap();
    follower.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    let digest = follower.digest();
    follower.state.close();
    // A crash while the next one was installed.
    fs::create_dir(follower.dir.path().join("state/unfinished")).unwrap();
    let state = NodeState::open(follower.dir.path().join("state")).unwrap();
    assert_eq!(dump_digest(&state.view().unwrap().moment()).unwrap(), digest);
    assert!(!follower.dir.path().join("state/unfinished").exists());
}

#[tokio::test]
async fn a_snapshot_that_is_not_the_one_announced_is_refused_and_changes_nothing() {
    let (mut leader, mut follower) = (world(), world());
    leader.apply(1, [format(), mount(1)]).await;
    let snapshot = leader.machine.build_snapshot().await.unwrap();
    let mut announced = snapshot.meta.clone();
    announced.last_log_id = Some(log_id(1, 9));
    let error = follower.machine.install_snapshot(&announced, snapshot.snapshot).await.unwrap_err();
    assert!(error.to_string().contains("not the one that was announced"), "{error}");
    assert_eq!(follower.machine.failure.explain(RaftError::stopped).kind(), ErrorKind::Corrupt);
    assert_eq!(follower.machine.applied_state().await.unwrap().0, None);
    assert!(follower.machine.get_current_snapshot().await.unwrap().is_none());
}

#[tokio::test]
async fn proposals_of_one_entry_are_applied_in_order_and_at_once() {
    let mut world = world();
    let payload = EntryPayload::Normal(batch([format(), mount(1), mount(2), mount(1)]));
    let entry = RaftEntry { log_id: log_id(1, 1), payload };
    world.machine.apply(stream::iter([Ok((entry, None))])).await.unwrap();
    assert_eq!(world.mounts(), 2);
}
