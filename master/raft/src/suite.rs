//! openraft's own tests of a log and a state machine, run over ours.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use parking_lot::Mutex;
use std::sync::Arc;
use tempfile::TempDir;

use crate::effects;
use crate::error::FirstFailure;
use crate::log::NodeLog;
use crate::machine::Machine;
use crate::node::growth::Growth;
use crate::snapshot::SnapshotShelf;
use crate::state::NodeState;
use crate::testing::Joined;
use crate::types::TypeConfig;

/// Builds stores, and keeps the threads of all that it built.
#[derive(Clone, Default)]
struct Builder(Arc<Mutex<Vec<Joined>>>);

impl StoreBuilder<TypeConfig, NodeLog, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, NodeLog, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let failure = FirstFailure::default();
        let (log, writer, _) =
            NodeLog::open(&dir.path().join("log"), Some(0), Growth::new(u64::MAX), failure.clone()).unwrap();
        let state = Arc::new(NodeState::open(dir.path().join("state")).unwrap());
        let shelf = Arc::new(SnapshotShelf::open(dir.path().join("snapshots")).unwrap());
        let (sender, ..) = effects::channel(1);
        let (machine, applier) = Machine::start(state, shelf, sender, failure).unwrap();
        self.0.lock().extend([writer, applier].map(Joined::new));
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_state_machine_pass_openrafts_suite() {
    let builder = Builder::default();
    Suite::test_all(builder.clone()).await.unwrap();
    // All stores are dropped by now, and so their threads end.
    builder.0.lock().clear();
}
