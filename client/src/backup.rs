//! A backup of the cluster's state, as a master makes it: pieces of a file.
//!
//! The master that leads says what a backup must have that begins now; any master gives it that has applied all of that. One
//! that follows has nothing else to do, so it is asked first.

use std::cmp::Reverse;
use std::time::Duration;

use bytes::Bytes;
use forebay_proto::v1::admin_client::AdminClient;
use forebay_proto::{WireError, v1};
use forebay_types::limits::RPC_LENGTH_MAX;
use forebay_types::{ClusterId, ErrorKind, Incarnation, LogIndex};
use tonic::{Request, Streaming};

use crate::answer::error_of;
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::{BACKUP_BEGIN_DEADLINE, BACKUP_PIECE_DEADLINE};
use crate::master_channel::endpoint;

/// What a backup that begins now must have, and who could give it.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    moment: v1::BackupMoment,
    /// The cluster.
    pub cluster: ClusterId,
    /// The life of its state.
    pub incarnation: Incarnation,
    /// All that was acknowledged before is in entries up to this one.
    pub index: LogIndex,
    /// The masters in the order in which to ask them: those that follow, the nearest to the one that leads first, then that
    /// one, then those that do not vote. Without those that do not answer.
    pub sources: Vec<BackupSource>,
}

/// A master that could give a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSource {
    /// Its slot.
    pub slot: u32,
    /// Host and port.
    pub address: String,
    /// LEADER, FOLLOWER or LEARNER.
    pub role: String,
}

/// A backup that is being taken. Dropping it ends it.
#[derive(Debug)]
pub struct Backup {
    pieces: Streaming<v1::BackupChunk>,
}

impl Client {
    /// Asks the leading master what a backup must have that begins now. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master; [`ErrorKind::Unsupported`] by one of a version that gives backups only itself.
    pub async fn plan_backup(&self) -> Result<BackupPlan, ClientError> {
        let request = v1::PlanBackupRequest { header: Some(self.header(None)) };
        let planned =
            self.0.master.call("PlanBackup", Duration::ZERO, request, |channel, request| async move {
                AdminClient::new(channel).plan_backup(request).await
            });
        BackupPlan::of(planned.await.outcome()?)
    }

    /// Has one of the plan's masters take a backup as soon as it has what the plan says. As [`backup`](Self::backup), it is
    /// to be checked before it is relied on. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching that master; [`ErrorKind::Busy`] when it has not all in time, [`ErrorKind::LimitExceeded`] when it
    /// takes as many already as it may.
    pub async fn backup_of(&self, plan: &BackupPlan, source: &BackupSource) -> Result<Backup, ClientError> {
        let message = v1::BackupRequest { header: Some(self.header(None)), since: Some(plan.moment.clone()) };
        // A connection of its own: what else is asked of this master does not wait behind the file.
        let channel = endpoint(&source.address)?.connect_lazy();
        let mut client = AdminClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX);
        let begun = tokio::time::timeout(BACKUP_BEGIN_DEADLINE, client.backup(Request::new(message))).await;
        let begun = begun.map_err(|_| {
            let message =
                format!("{} did not begin a backup within {BACKUP_BEGIN_DEADLINE:?}", source.address);
            WireError::new(ErrorKind::TimedOut, message)
        })?;
        Ok(Backup { pieces: begun.map_err(error_of)?.into_inner() })
    }

    /// Has the leading master take a backup of its state as it is now. The file says itself whether it is whole: check
    /// it before it is relied on. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master; [`ErrorKind::LimitExceeded`] when it takes as many already
    /// as it may.
    pub async fn backup(&self) -> Result<Backup, ClientError> {
        let request = v1::BackupRequest { header: Some(self.header(None)), since: None };
        let called =
            self.0.master.call("Backup", BACKUP_BEGIN_DEADLINE, request, |channel, mut request| async move {
                // The deadline of a request is that of its whole answer, which may be long.
                request.metadata_mut().remove("grpc-timeout");
                AdminClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX).backup(request).await
            });
        Ok(Backup { pieces: called.await.outcome()? })
    }
}

impl BackupPlan {
    fn of(planned: v1::PlanBackupResponse) -> Result<Self, ClientError> {
        let nonsense = || WireError::new(ErrorKind::Internal, "the answer to PlanBackup names no moment");
        let moment = planned.moment.ok_or_else(nonsense)?;
        let cluster = <[u8; 16]>::try_from(&moment.cluster_id[..]).map_err(|_| nonsense())?;
        Ok(Self {
            cluster: ClusterId::new(cluster),
            incarnation: Incarnation::new(moment.incarnation),
            index: LogIndex::new(moment.index),
            sources: sources(planned.masters),
            moment,
        })
    }
}

fn sources(mut masters: Vec<v1::MasterReport>) -> Vec<BackupSource> {
    let rank = |master: &v1::MasterReport| match &master.role[..] {
        "FOLLOWER" => 0,
        "LEADER" => 1,
        _ => 2,
    };
    masters.retain(|master| ["FOLLOWER", "LEADER", "LEARNER"].contains(&&master.role[..]));
    masters.sort_by_key(|master| (rank(master), Reverse(master.last_applied), master.slot));
    let source = |master: v1::MasterReport| BackupSource {
        slot: master.slot,
        address: master.address,
        role: master.role,
    };
    masters.into_iter().map(source).collect()
}

impl Backup {
    /// The next piece of the file; `None` after the last. Cancel safe.
    ///
    /// # Errors
    /// The master's, and [`ErrorKind::TimedOut`] when it says nothing for long. The backup is
    /// of no use then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = tokio::time::timeout(BACKUP_PIECE_DEADLINE, self.pieces.message()).await;
        let piece = piece.map_err(|_| {
            let message =
                format!("the master sent nothing more of the backup within {BACKUP_PIECE_DEADLINE:?}");
            WireError::new(ErrorKind::TimedOut, message)
        })?;
        Ok(piece.map_err(|status| ClientError::from(error_of(status)))?.map(|piece| piece.data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_follows_and_is_near_is_asked_first_and_whoever_is_away_not_at_all() {
        let master = |slot, role: &str, last_applied| v1::MasterReport {
            slot,
            role: role.to_owned(),
            last_applied,
            ..Default::default()
        };
        let masters = vec![
            master(1, "LEADER", 90),
            master(2, "LEARNER", 90),
            master(3, "FOLLOWER", 80),
            master(4, "UNREACHABLE", 0),
            master(5, "FOLLOWER", 89),
        ];
        let order: Vec<_> = sources(masters).into_iter().map(|source| source.slot).collect();
        assert_eq!(order, [5, 3, 1, 2]);
    }
}
