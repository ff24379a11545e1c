//! `forebay.v1.Masters`: who the masters are. Served before anything else, since masters find their cluster by it.

use std::sync::Arc;

use forebay_metadata::FEATURE_LEVEL;
use forebay_proto::v1;
use forebay_raft::{Joining, RaftNode};
use forebay_types::ErrorKind;
use tonic::{Request, Response, Status};

use crate::door::{Door, Standing};
use crate::hello;
use crate::limits::MASTERS_MAX;
use crate::membership;
use crate::sealing::SealingKey;
use crate::server::PeerList;

/// The service.
#[derive(Debug)]
pub(crate) struct MastersService(pub(crate) Arc<Door>);

impl MastersService {
    /// This master's part of its cluster.
    fn member(&self) -> Result<(Arc<RaftNode>, Arc<SealingKey>), Status> {
        match self.0.standing() {
            Standing::Member(raft, sealing) => Ok((raft, sealing)),
            Standing::Opening | Standing::Empty => {
                let reason = "this master belongs to no cluster yet";
                Err(forebay_proto::to_status(ErrorKind::Unavailable, reason))
            }
        }
    }

    fn hello_of(&self, membership: Option<v1::Membership>) -> v1::HelloResponse {
        let Door { slot, address, peers, process, .. } = &*self.0;
        v1::HelloResponse {
            slot: *slot,
            address: address.clone(),
            peers: peers.to_wire(),
            membership,
            process: *process,
            feature_level_known: FEATURE_LEVEL,
            clock_nanos: Some(self.0.clock.now().nanos()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

#[tonic::async_trait]
impl v1::masters_server::Masters for MastersService {
    async fn hello(
        &self,
        _request: Request<v1::HelloRequest>,
    ) -> Result<Response<v1::HelloResponse>, Status> {
        let raft = match self.0.standing() {
            // An answer would be taken for that of an empty master.
            Standing::Opening => {
                let reason = "this master opens its folder";
                return Err(forebay_proto::to_status(ErrorKind::Unavailable, reason));
            }
            Standing::Empty => return Ok(Response::new(self.hello_of(None))),
            Standing::Member(raft, _) => raft,
        };
        let status = raft.status();
        // A cluster that has no name yet is not formed yet.
        let membership = raft.mark().map(|mark| v1::Membership {
            cluster_id: mark.cluster.bytes().to_vec().into(),
            incarnation: mark.incarnation.get(),
            node: raft.node(),
            leader: status.leader.map_or_else(String::new, |leader| leader.address),
            role: membership::role(status.role).to_owned(),
            term: status.term,
            last_applied: status.last_applied.map_or(0, forebay_types::LogIndex::get),
        });
        Ok(Response::new(self.hello_of(membership)))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let mut request = request.into_inner();
        let (raft, sealing) = self.member()?;
        if request.slot == 0 || request.peers.len() > MASTERS_MAX {
            let reason = "a master that joins says which slot it has, and which masters it knows";
            return Err(forebay_proto::to_status(ErrorKind::InvalidArgument, reason));
        }
        let peers = PeerList::of_wire(std::mem::take(&mut request.peers));
        let v1::JoinRequest { slot, address, feature_level_known, .. } = &request;
        let known = hello::level(*feature_level_known);
        let joining = Joining { slot: *slot, address, known };
        let node = membership::take_in(&raft, &joining, &peers).await?;
        let mark = raft.mark().ok_or_else(|| {
            forebay_proto::to_status(ErrorKind::Unavailable, "the cluster is not formed yet")
        })?;
        Ok(Response::new(v1::JoinResponse {
            cluster_id: mark.cluster.bytes().to_vec().into(),
            incarnation: mark.incarnation.get(),
            node,
            sealing_key: sealing.secret().to_vec().into(),
        }))
    }

    async fn list_masters(
        &self,
        _request: Request<v1::ListMastersRequest>,
    ) -> Result<Response<v1::ListMastersResponse>, Status> {
        let (raft, _) = self.member()?;
        membership::must_lead(&raft)?;
        let masters = membership::report(&raft, &self.0.peers).await;
        Ok(Response::new(v1::ListMastersResponse { masters }))
    }

    async fn add_master(
        &self,
        request: Request<v1::ChangeMasterRequest>,
    ) -> Result<Response<v1::ChangeMasterResponse>, Status> {
        membership::add(&self.member()?.0, request.into_inner().slot).await?;
        Ok(Response::new(v1::ChangeMasterResponse {}))
    }

    async fn remove_master(
        &self,
        request: Request<v1::ChangeMasterRequest>,
    ) -> Result<Response<v1::ChangeMasterResponse>, Status> {
        membership::remove(&self.member()?.0, request.into_inner().slot, &self.0.peers).await?;
        Ok(Response::new(v1::ChangeMasterResponse {}))
    }

    async fn replace_master(
        &self,
        request: Request<v1::ChangeMasterRequest>,
    ) -> Result<Response<v1::ChangeMasterResponse>, Status> {
        membership::replace(&self.member()?.0, request.into_inner().slot).await?;
        Ok(Response::new(v1::ChangeMasterResponse {}))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::ChangeMasterRequest>,
    ) -> Result<Response<v1::ChangeMasterResponse>, Status> {
        membership::transfer(&self.member()?.0, request.into_inner().slot).await?;
        Ok(Response::new(v1::ChangeMasterResponse {}))
    }
}
