//! The outbox over a real log: what is trimmed of it, and when.

use forebay_metadata::StateReader;
use forebay_types::{ByteCount, FileId, HostId, OutboxSequence, WorkerId};

use super::*;
use crate::outbox::look;
use crate::registry::{Heartbeat, Holding, Registration};

const WORKER: WorkerId = WorkerId::new(1);

/// A worker that holds what it was told to and says so.
struct Worker {
    life: u64,
    taken: u64,
}

impl Worker {
    fn register(world: &World) -> Self {
        let registration = Registration {
            address: "a:1".to_owned(),
            host: HostId::new("host"),
            local_socket: String::new(),
            group: String::new(),
            tiers: Vec::new(),
        };
        let now = world.shared.clock.boot_instant();
        let life = world.shared.registry.lock().register(now, WORKER, registration).expect("there is room");
        Self { life, taken: 0 }
    }

    fn beat(&mut self, world: &World, held: &[FileId]) -> Vec<FileId> {
        let holding = Holding { cached: ByteCount::new(3), complete: true };
        let versions: Vec<_> = held.iter().map(|file| (*file, holding)).collect();
        let now = world.shared.clock.boot_instant();
        let mut registry = world.shared.registry.lock();
        assert!(registry.heartbeat(now, WORKER, self.life, Heartbeat::default(), &versions));
        let list = registry.forget_list(WORKER, Some(self.taken));
        self.taken = list.sequence;
        list.files
    }

    /// Heartbeats and looks until the outbox was compared with all that it holds.
    async fn settle(&mut self, world: &World, began: forebay_runtime::BootInstant) -> Vec<FileId> {
        let mut told = Vec::new();
        for _ in 0..4 {
            look(&world.shared, began).await.expect("looked");
            told.extend(self.beat(world, &[]));
            told.extend(self.beat(world, &[]));
        }
        told
    }
}

impl World {
    async fn version(&self, at: &str) -> FileId {
        let entry = tree::resolve(&self.shared, &path(at)).await.expect("there").0;
        entry.version.expect("a file").0.file
    }

    async fn rows(&self) -> u64 {
        let counts = |state: &dyn StateReader| Ok(query::outbox_counts(state)?);
        self.shared.query(counts).await.expect("read").rows
    }

    /// The version of a file that is replaced, and whose replacement is seen.
    async fn replaced(&self) -> FileId {
        self.write("f", "old");
        let old = self.version("/data/f").await;
        self.replace("f", "a new content");
        self.clock.advance(Duration::from_secs(61));
        assert_ne!(self.version("/data/f").await, old);
        old
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_waits_for_workers_to_come_back_to_a_master_that_has_started_and_goes_once_they_took_it() {
    let world = World::bounded().await;
    let old = world.replaced().await;
    let began = world.shared.clock.boot_instant();
    // The wake-up came before the worker did, as with a master that is not there any more.
    world.shared.raft.effects_settled().await;
    let mut worker = Worker::register(&world);
    worker.beat(&world, &[old]);
    assert_eq!(worker.settle(&world, began).await, [old]);
    assert_eq!(world.rows().await, 1, "others may come back");
    assert_eq!(world.shared.metrics.outbox.rows.get(), 1);
    world.clock.advance(limits::OUTBOX_START_WAIT);
    worker.beat(&world, &[]);
    look(&world.shared, began).await.expect("looked");
    assert_eq!(world.rows().await, 0);
    // The master looks by itself, too, and may have been the one that trimmed.
    let metrics = &world.shared.metrics.outbox;
    let is_counted = async {
        while (metrics.rows.get(), metrics.rows_done.get()) != (0, 1) {
            look(&world.shared, began).await.expect("looked");
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_counted).await.expect("it is counted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_proposed_where_nothing_is_to_be_trimmed() {
    let world = World::bounded().await;
    let began = world.shared.clock.boot_instant();
    world.clock.advance(limits::OUTBOX_START_WAIT);
    for _ in 0..3 {
        look(&world.shared, began).await.expect("looked");
    }
    let proposed = || world.shared.metrics.committed("trim_outbox");
    assert_eq!(proposed(), 0);
    world.replaced().await;
    look(&world.shared, began).await.expect("looked");
    assert_eq!(world.rows().await, 0, "nobody is there who could hold it");
    let rows = |state: &dyn StateReader| Ok(query::outbox(state, OutboxSequence::default(), 9)?);
    assert_eq!(world.shared.query(rows).await.expect("read"), []);
}
