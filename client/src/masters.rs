//! Who the masters are, for those who run the cluster.

use std::time::Duration;

use forebay_proto::v1;
use forebay_proto::v1::masters_client::MastersClient;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::client::Client;
use crate::error::ClientError;
use crate::limits::MASTERS_CHANGE_DEADLINE;

/// A change of the masters. Each is of the one in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterChange {
    /// Gives it, which has joined, a vote.
    Add,
    /// Takes it out of the cluster.
    Remove,
    /// Gives the vote of the slot's earlier master to the one that joined in its place.
    Replace,
    /// Has it lead.
    Lead,
}

impl Client {
    /// The masters, as the one that leads sees them. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn masters(&self) -> Result<Vec<v1::MasterReport>, ClientError> {
        let request = v1::ListMastersRequest { header: Some(self.header(None)) };
        let listed =
            self.0.master.call("ListMasters", Duration::ZERO, request, |channel, request| async move {
                MastersClient::new(channel).list_masters(request).await
            });
        Ok(listed.await.outcome()?.masters)
    }

    /// Changes who the masters are. Repeated, it changes nothing more.
    ///
    /// # Errors
    /// Those of reaching a master, and what speaks against the change.
    pub async fn change_masters(&self, change: MasterChange, slot: u32) -> Result<(), ClientError> {
        let request = v1::ChangeMasterRequest { header: Some(self.header(None)), slot };
        let changed =
            self.0.master.call(change.rpc(), MASTERS_CHANGE_DEADLINE, request, move |channel, request| {
                change.send(channel, request)
            });
        changed.await.outcome().map(drop)
    }
}

impl MasterChange {
    const fn rpc(self) -> &'static str {
        match self {
            Self::Add => "AddMaster",
            Self::Remove => "RemoveMaster",
            Self::Replace => "ReplaceMaster",
            Self::Lead => "TransferLeader",
        }
    }

    async fn send(
        self,
        channel: Channel,
        request: Request<v1::ChangeMasterRequest>,
    ) -> Result<Response<v1::ChangeMasterResponse>, Status> {
        let mut client = MastersClient::new(channel);
        match self {
            Self::Add => client.add_master(request).await,
            Self::Remove => client.remove_master(request).await,
            Self::Replace => client.replace_master(request).await,
            Self::Lead => client.transfer_leader(request).await,
        }
    }
}
