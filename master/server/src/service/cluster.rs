//! `forebay.v1.Cluster`: workers' lives and heartbeats, the cluster map, clients' counters and the report.

use std::sync::Arc;

use forebay_metadata::{AdmitWorker, Command, Rejection, StateReader, Success, query};
use forebay_proto::{WireDefect, v1};
use forebay_types::{ByteCount, HostId, WorkerId};
use tonic::{Request, Response, Status};

use crate::error::MasterError;
use crate::limits;
use crate::registry::{Heartbeat, Holding, Registration};
use crate::report::report;
use crate::shared::Shared;

/// The service.
#[derive(Debug)]
pub(crate) struct ClusterService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl v1::cluster_server::Cluster for ClusterService {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let request = request.into_inner();
        check_tiers(&request.tiers)?;
        let identity =
            self.0.query(|state| Ok(query::identity(state)?.ok_or(Rejection::NotFormatted)?)).await?;
        if !request.cluster_id.is_empty() && request.cluster_id[..] != identity.cluster.bytes()[..] {
            let message = format!(
                "this worker holds blocks of another cluster; this one is {}: give it another --dir, or empty its own",
                identity.cluster
            );
            return Err(MasterError::Invalid(message).into());
        }
        let worker = match WorkerId::new(request.worker) {
            id if id == WorkerId::default() => self.admit().await?,
            id => id,
        };
        let registration = Registration {
            address: request.address,
            host: HostId::new(request.host),
            local_socket: request.local_socket,
            group: request.group,
            tiers: request.tiers,
        };
        tracing::info!(worker = %worker, address = registration.address, "worker registered");
        let registration = self.0.registry.lock().register(self.0.clock.boot_instant(), worker, registration);
        Ok(Response::new(v1::RegisterResponse {
            worker: worker.get(),
            cluster_id: identity.cluster.bytes().to_vec().into(),
            incarnation: identity.incarnation.get(),
            registration,
            heartbeat_interval_nanos: u64::try_from(limits::HEARTBEAT_INTERVAL.as_nanos())
                .unwrap_or(u64::MAX),
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        check_tiers(&request.tiers)?;
        if request.versions.len() > limits::REPORTS_PER_HEARTBEAT_MAX {
            return Err(MasterError::Invalid("too many versions in one heartbeat".to_owned()).into());
        }
        let worker = WorkerId::new(request.worker);
        let mut versions = Vec::with_capacity(request.versions.len());
        for report in request.versions {
            let file = report.file.ok_or(WireDefect::Missing("file"))?.into();
            versions.push((
                file,
                Holding { cached: ByteCount::new(report.cached_bytes), complete: report.complete },
            ));
        }
        let beat = Heartbeat {
            tiers: request.tiers,
            reads: request.reads.unwrap_or_default(),
            mounts: request.mounts,
        };
        let known = request.mounts_revision;
        let (mounts_revision, mounts) = self.0.query(|state| self.mounts_unless_known(state, known)).await?;
        let now = self.0.clock.boot_instant();
        let mut registry = self.0.registry.lock();
        if !registry.heartbeat(now, worker, request.registration, beat, &versions) {
            return Ok(Response::new(v1::HeartbeatResponse { register_again: true, ..Default::default() }));
        }
        let forget = registry.forget_list(worker, request.forget_taken);
        let map_epoch = registry.epoch().get();
        drop(registry);
        Ok(Response::new(v1::HeartbeatResponse {
            register_again: false,
            map_epoch,
            keys: self.0.capabilities.keys(self.0.clock.now()).iter().map(Into::into).collect(),
            forget: forget.files.into_iter().map(Into::into).collect(),
            mounts,
            mounts_revision,
            forget_sequence: forget.sequence,
        }))
    }

    async fn report_client(
        &self,
        request: Request<v1::ReportClientRequest>,
    ) -> Result<Response<v1::ReportClientResponse>, Status> {
        let request = request.into_inner();
        let reads = request.reads.ok_or(WireDefect::Missing("reads"))?;
        let now = self.0.clock.boot_instant();
        self.0.registry.lock().clients.record(now, request.client, reads, request.mounts);
        Ok(Response::new(v1::ReportClientResponse {}))
    }

    async fn get_cluster_map(
        &self,
        _request: Request<v1::GetClusterMapRequest>,
    ) -> Result<Response<v1::GetClusterMapResponse>, Status> {
        let map = self.0.registry.lock().map();
        Ok(Response::new(v1::GetClusterMapResponse { map: Some((&map).into()) }))
    }

    async fn get_report(
        &self,
        _request: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::GetReportResponse>, Status> {
        Ok(Response::new(report(&self.0).await?))
    }
}

impl ClusterService {
    /// Gives a new worker an id that no worker ever had.
    async fn admit(&self) -> Result<WorkerId, MasterError> {
        let command = Command::AdmitWorker(AdmitWorker);
        match self.0.propose(None, command).await? {
            Success::WorkerAdmitted { worker } => Ok(worker),
            _ => Err(MasterError::WrongAnswer("admit worker")),
        }
    }

    /// The mounts with their credentials, unless the worker has this very table. The revision is the newest mount's
    /// id and their number: ids are never used twice, so two tables that differ never share both.
    fn mounts_unless_known(
        &self,
        state: &dyn StateReader,
        known: u64,
    ) -> Result<(u64, Vec<v1::MountCredentials>), MasterError> {
        let mounts = query::mounts(state)?;
        let newest = mounts.iter().map(|mount| u64::from(mount.id.get())).max().unwrap_or(0);
        let revision = 1 + (newest << 16 | mounts.len() as u64);
        if revision == known {
            return Ok((revision, Vec::new()));
        }
        let credentials = mounts.iter().map(|mount| {
            let options = self.0.under_stores.for_worker(&mount.path, &mount.options)?;
            Ok(v1::MountCredentials {
                mount: mount.id.get(),
                uri: mount.uri.to_string(),
                options: options.into_iter().map(|(name, source)| (name, source.into())).collect(),
            })
        });
        Ok((revision, credentials.collect::<Result<_, MasterError>>()?))
    }
}

fn check_tiers(tiers: &[v1::TierUsage]) -> Result<(), MasterError> {
    if tiers.len() > limits::TIERS_MAX {
        return Err(MasterError::Invalid(format!("a worker has at most {} tiers", limits::TIERS_MAX)));
    }
    Ok(())
}
