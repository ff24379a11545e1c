//! `forebay.v1.Cluster`: workers' lives and heartbeats, the cluster map, clients' counters and the report.

use std::sync::Arc;

use forebay_metadata::{AdmitWorker, Command, Rejection, StateReader, Success, query};
use forebay_proto::{OptionSource, WireDefect, v1};
use forebay_types::limits::{MOUNTS_MAX, WORKERS_MAX};
use forebay_types::{ByteCount, ErrorKind, FileId, HostId, WorkerId};
use tonic::{Request, Response, Status};

use crate::error::MasterError;
use crate::limits;
use crate::membership;
use crate::registry::{Full, Heartbeat, Holding, Registration};
use crate::report::report;
use crate::service::{admission_length, mounts_revision, wire_mode};
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
        let identity = |state: &dyn StateReader| Ok(query::identity(state)?.ok_or(Rejection::NotFormatted)?);
        // A master that follows can tell who the cluster is, and takes in whoever has an id.
        let identity = if request.to_any_master && request.worker != 0 && !self.0.leads() {
            identity(&self.0.raft.local_view().map_err(MasterError::from)?.moment())?
        } else {
            self.0.query(identity).await?
        };
        // An id of another cluster means nothing here. What such a worker holds is told apart by its identity.
        let is_of_here =
            request.cluster_id.is_empty() || request.cluster_id[..] == identity.cluster.bytes()[..];
        let known = Some(WorkerId::new(request.worker)).filter(|id| is_of_here && *id != WorkerId::default());
        let registration = Registration {
            address: request.address,
            host: HostId::new(request.host),
            local_socket: request.local_socket,
            group: request.group,
            tiers: request.tiers,
        };
        // Before an id is given to a worker that asks again and again.
        self.0.registry.lock().make_room(known, &registration).map_err(full)?;
        let worker = match known {
            Some(id) => id,
            None => {
                membership::must_lead(&self.0.raft)?;
                self.admit().await?
            }
        };
        let address = registration.address.clone();
        let now = self.0.clock.boot_instant();
        let registration = self.0.registry.lock().register(now, worker, registration).map_err(full)?;
        tracing::info!(worker = %worker, address, "worker registered");
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
        check_mounts(&request.mounts)?;
        let worker = WorkerId::new(request.worker);
        let mut versions = Vec::with_capacity(request.versions.len());
        for report in request.versions {
            let file = report.file.ok_or(WireDefect::Missing("file"))?.into();
            versions.push((
                file,
                Holding { cached: ByteCount::new(report.cached_bytes), complete: report.complete },
            ));
        }
        if request.usable_bytes.len() > limits::TIERS_MAX {
            return Err(MasterError::Invalid("more usable rooms than a worker has tiers".to_owned()).into());
        }
        let beat = Heartbeat {
            tiers: request.tiers,
            usable: request.usable_bytes,
            reads: request.reads.unwrap_or_default(),
            mounts: Arc::new(request.mounts),
            mounts_revision: request.mounts_revision,
            clock_ahead_nanos: request
                .clock_nanos
                .map(|theirs| theirs.saturating_sub(self.0.clock.now().nanos())),
            had_many_versions: versions.len() >= limits::REPORTS_CAUGHT_UP_BELOW,
        };
        if !self.take_in(worker, request.registration, beat, &versions).await {
            return Ok(Response::new(v1::HeartbeatResponse { register_again: true, ..Default::default() }));
        }
        let (known, place) = (request.mounts_revision, request.mounts_place.unwrap_or_default());
        let Some(page) = self.told_of_mounts(request.to_any_master, known, place).await? else {
            return Ok(Response::new(v1::HeartbeatResponse { follows: true, ..Default::default() }));
        };
        let mut registry = self.0.registry.lock();
        let forget = registry.forget_list(worker, request.forget_taken);
        let map_epoch = registry.epoch().get();
        drop(registry);
        Ok(Response::new(v1::HeartbeatResponse {
            register_again: false,
            map_epoch,
            keys: self.0.capabilities.keys(self.0.clock.now()).iter().map(Into::into).collect(),
            forget: forget.files.into_iter().map(Into::into).collect(),
            disown: forget.disowned.into_iter().map(Into::into).collect(),
            mounts: page.mounts,
            mounts_revision: page.revision,
            forget_sequence: forget.sequence,
            mounts_end_at: page.end_at,
            follows: false,
            others: Some(v1::OtherMasters { addresses: self.other_masters() }),
        }))
    }

    async fn report_client(
        &self,
        request: Request<v1::ReportClientRequest>,
    ) -> Result<Response<v1::ReportClientResponse>, Status> {
        let request = request.into_inner();
        let reads = request.reads.ok_or(WireDefect::Missing("reads"))?;
        check_mounts(&request.mounts)?;
        membership::must_lead(&self.0.raft)?;
        let now = self.0.clock.boot_instant();
        self.0.registry.lock().clients.record(now, request.client, reads, request.mounts);
        Ok(Response::new(v1::ReportClientResponse {}))
    }

    async fn get_cluster_map(
        &self,
        _request: Request<v1::GetClusterMapRequest>,
    ) -> Result<Response<v1::GetClusterMapResponse>, Status> {
        // The map of one that does not lead has another epoch; it may have lost the lead and not know it yet.
        self.0.query(|_| Ok(())).await?;
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
    /// Takes a heartbeat, some versions at a time: others ask about files meanwhile. One that leads and is not sure of it
    /// takes in what it hears, too: it may be the one that goes on.
    async fn take_in(
        &self,
        worker: WorkerId,
        registration: u64,
        beat: Heartbeat,
        versions: &[(FileId, Holding)],
    ) -> bool {
        let last = versions.len() - versions.len() % limits::REPORTS_TAKEN_AT_ONCE;
        let (first, last) = versions.split_at(last);
        let number = self.0.registry.lock().begin_heartbeat(worker);
        for some in first.chunks(limits::REPORTS_TAKEN_AT_ONCE) {
            let is_taken = {
                let mut registry = self.0.registry.lock();
                registry.is_newest(worker, number) && registry.report(worker, registration, some)
            };
            if !is_taken {
                return false;
            }
            tokio::task::yield_now().await;
        }
        let now = self.0.clock.boot_instant();
        let mut registry = self.0.registry.lock();
        registry.is_newest(worker, number) && registry.heartbeat(now, worker, registration, beat, last)
    }

    /// Gives a new worker an id that no worker ever had.
    async fn admit(&self) -> Result<WorkerId, MasterError> {
        let command = Command::AdmitWorker(AdmitWorker);
        match self.0.propose(None, command).await? {
            Success::WorkerAdmitted { worker } => Ok(worker),
            _ => Err(MasterError::WrongAnswer("admit worker")),
        }
    }

    /// Whom a worker reports to beside this master.
    fn other_masters(&self) -> Vec<String> {
        let (raft, own) = (&self.0.raft, self.0.raft.node());
        let others = raft.members().into_iter().filter(|member| member.node != own);
        others.map(|member| member.address).collect()
    }

    /// See [`mounts_unless_known`](Self::mounts_unless_known); `None` where this master does not lead and need not.
    async fn told_of_mounts(
        &self,
        to_any_master: bool,
        known: u64,
        place: v1::MountsPlace,
    ) -> Result<Option<MountsPage>, MasterError> {
        if to_any_master && !self.0.leads() {
            return Ok(None);
        }
        match self.0.query(|state| self.mounts_unless_known(state, known, place)).await {
            // It has just lost the lead.
            Err(error) if to_any_master && error.kind() == ErrorKind::NotLeader => Ok(None),
            page => page.map(Some),
        }
    }

    /// The mounts with their credentials, unless the worker has this very table. One page at most, which goes on at
    /// `place` if that is a place in this table.
    fn mounts_unless_known(
        &self,
        state: &dyn StateReader,
        known: u64,
        place: v1::MountsPlace,
    ) -> Result<MountsPage, MasterError> {
        let mut mounts = query::mounts(state)?;
        mounts.sort_unstable_by_key(|mount| mount.id);
        let revision = mounts_revision(&mounts);
        let mut page = MountsPage { revision, ..MountsPage::default() };
        if revision == known {
            return Ok(page);
        }
        let after = if place.revision == revision { place.after } else { 0 };
        let mut length = 0;
        for mount in mounts.iter().filter(|mount| mount.id.get() > after) {
            let options = self.0.under_stores.for_worker(&mount.path, &mount.options)?;
            let uri = mount.uri.to_string();
            length += MOUNT_FIELDS_LENGTH_MAX + uri.len() + admission_length(&mount.options.admission);
            length += options.iter().map(|(name, source)| option_length(name, source)).sum::<usize>();
            if length > limits::MOUNTS_PAGE_BYTES_MAX
                && let Some(last) = page.mounts.last()
            {
                page.end_at = last.mount;
                break;
            }
            let options = options.into_iter().map(|(name, source)| (name, source.into())).collect();
            let mode = wire_mode(mount.options.mode).into();
            let admission = Some((&mount.options.admission).into());
            page.mounts.push(v1::MountCredentials { mount: mount.id.get(), uri, options, mode, admission });
        }
        Ok(page)
    }
}

/// What a worker is told of the mounts at once.
#[derive(Debug, Default)]
struct MountsPage {
    revision: u64,
    mounts: Vec<v1::MountCredentials>,
    /// The last one of them if more follow, else 0.
    end_at: u32,
}

/// Most bytes of a mount's message but its URI and options.
const MOUNT_FIELDS_LENGTH_MAX: usize = 40;
/// Most bytes of an option's message but its name and value.
const OPTION_FIELDS_LENGTH_MAX: usize = 24;

fn option_length(name: &str, source: &OptionSource) -> usize {
    let (OptionSource::Plain(value) | OptionSource::Reference(value) | OptionSource::Secret(value)) = source;
    OPTION_FIELDS_LENGTH_MAX + name.len() + value.len()
}

fn full(full: Full) -> MasterError {
    let lost_after = limits::WORKER_LOST_AFTER.as_secs();
    MasterError::TooMany(match full {
        Full::Workers => format!(
            "this cluster has {WORKERS_MAX} live workers, which is the most it can have; stop one, and {lost_after} s \
             later another one is taken in"
        ),
        Full::Text => format!(
            "the addresses and tiers of all workers together are longer than {} bytes; give the workers shorter \
             directories and fewer tiers",
            limits::WORKERS_TEXT_MAX
        ),
    })
}

fn check_mounts(mounts: &[v1::MountCounters]) -> Result<(), MasterError> {
    if mounts.len() > MOUNTS_MAX {
        return Err(MasterError::Invalid(format!("counters of more than {MOUNTS_MAX} mounts in one report")));
    }
    Ok(())
}

fn check_tiers(tiers: &[v1::TierUsage]) -> Result<(), MasterError> {
    if tiers.len() > limits::TIERS_MAX {
        return Err(MasterError::Invalid(format!("a worker has at most {} tiers", limits::TIERS_MAX)));
    }
    Ok(())
}
