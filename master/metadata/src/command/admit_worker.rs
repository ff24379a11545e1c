//! Gives a new worker its id. Where workers are and what they hold is soft state; only that no id is given twice lasts.

use serde::{Deserialize, Serialize};

use crate::reply::{Reply, Success};
use crate::state::Transition;
use crate::store::StoreError;

/// Asks for an id that no worker of this cluster ever had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitWorker;

impl AdmitWorker {
    // Takes `self` as each command does.
    #[allow(clippy::unused_self, reason = "all commands are applied alike")]
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        Ok(Ok(Success::WorkerAdmitted { worker: state.next_worker()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::testing::World;
    use forebay_types::WorkerId;

    #[test]
    fn each_worker_gets_an_id_of_its_own() {
        let mut world = World::formatted();
        for id in 1..4 {
            let worker = WorkerId::new(id);
            assert_eq!(
                world.apply(Command::AdmitWorker(AdmitWorker)),
                Ok(Success::WorkerAdmitted { worker })
            );
        }
    }
}
