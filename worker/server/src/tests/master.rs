//! A master for tests: it answers what a test told it to and remembers what workers said.

use std::net::SocketAddr;
use std::sync::Arc;

use forebay_proto::v1::cluster_server::{Cluster, ClusterServer};
use forebay_proto::{to_status, v1};
use forebay_types::{CapabilityKey, ClusterId, ErrorKind};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What it says and heard.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) cluster: ClusterId,
    pub(super) keys: Vec<CapabilityKey>,
    pub(super) mounts: Vec<v1::MountCredentials>,
    pub(super) mounts_revision: u64,
    /// What it tells workers to forget until they say that they took the list of this number.
    forget: (u64, Vec<v1::FileId>),
    /// What it tells them to disown with that list.
    disown: Vec<v1::FileId>,
    /// It tells them again even then, as one whose hearing is behind.
    pub(super) repeats_itself: bool,
    /// Whether the list was given away with an answer that was lost.
    pub(super) lost_lists: u64,
    /// How many more answers to heartbeats are lost on their way.
    pub(super) answers_to_lose: u64,
    pub(super) register_again: bool,
    /// It does not lead: it takes in what it hears of workers that tell all masters, and tells nothing.
    pub(super) follows: bool,
    /// It takes requests and answers none.
    pub(super) is_stopped: bool,
    /// The other masters, where it says so.
    pub(super) others: Option<Vec<String>>,
    /// Which life of its state it tells of.
    pub(super) incarnation: u32,
    pub(super) registrations: Vec<v1::RegisterRequest>,
    pub(super) reports: Vec<v1::VersionReport>,
    pub(super) latest: v1::HeartbeatRequest,
}

#[derive(Clone, Debug)]
pub(super) struct TestMaster {
    pub(super) address: SocketAddr,
    pub(super) script: Arc<Mutex<Script>>,
    beats: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Service {
    script: Arc<Mutex<Script>>,
    beats: watch::Sender<u64>,
}

pub(super) fn key() -> CapabilityKey {
    CapabilityKey::new(5, [7; 32])
}

impl Script {
    /// Tells workers to forget these versions.
    pub(super) fn tell_to_forget(&mut self, files: Vec<v1::FileId>) {
        self.forget = (self.forget.0 + 1, files);
    }

    /// Tells workers that these versions are not known any more.
    pub(super) fn tell_to_disown(&mut self, files: Vec<v1::FileId>) {
        (self.forget.0, self.disown) = (self.forget.0 + 1, files);
    }
}

impl TestMaster {
    pub(super) async fn start(mounts: Vec<v1::MountCredentials>) -> Self {
        let script = Script {
            cluster: ClusterId::new([3; 16]),
            keys: vec![key()],
            mounts,
            mounts_revision: 1,
            forget: (0, Vec::new()),
            disown: Vec::new(),
            repeats_itself: false,
            lost_lists: 0,
            answers_to_lose: 0,
            register_again: false,
            follows: false,
            is_stopped: false,
            others: None,
            incarnation: 1,
            registrations: Vec::new(),
            reports: Vec::new(),
            latest: v1::HeartbeatRequest::default(),
        };
        let script = Arc::new(Mutex::new(script));
        let (sender, beats) = watch::channel(0);
        let service = Service { script: Arc::clone(&script), beats: sender };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(
            Server::builder()
                .add_service(ClusterServer::new(service))
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        Self { address, script, beats }
    }

    /// Waits for a heartbeat that was answered after this call began.
    pub(super) async fn next_beat(&self) {
        let mut beats = self.beats.clone();
        let now = *beats.borrow_and_update();
        beats.wait_for(|count| *count > now + 1).await.expect("the master lives");
    }

    /// What the worker is known to have of a version.
    pub(super) fn reported(&self, file: v1::FileId) -> Option<v1::VersionReport> {
        self.script.lock().reports.iter().rev().find(|report| report.file == Some(file)).copied()
    }
}

impl Service {
    /// Ends at once, or never for a request to a master that is stopped now.
    async fn may_answer(&self) {
        let is_stopped = self.script.lock().is_stopped;
        if is_stopped {
            std::future::pending::<()>().await;
        }
    }
}

#[tonic::async_trait]
impl Cluster for Service {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let request = request.into_inner();
        self.may_answer().await;
        let mut script = self.script.lock();
        if script.follows && !(request.to_any_master && request.worker != 0) {
            return Err(to_status(ErrorKind::NotLeader, "this master does not lead"));
        }
        script.registrations.push(request.clone());
        // The id of another cluster's worker means nothing here.
        let is_other = !request.cluster_id.is_empty() && request.cluster_id[..] != script.cluster.bytes()[..];
        let worker = match request.worker {
            _ if is_other => 12,
            0 => 11,
            known => known,
        };
        script.register_again = false;
        Ok(Response::new(v1::RegisterResponse {
            worker,
            cluster_id: script.cluster.bytes().to_vec().into(),
            incarnation: script.incarnation,
            registration: script.registrations.len() as u64,
            heartbeat_interval_nanos: 10_000_000,
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let request = request.into_inner();
        self.may_answer().await;
        let mut script = self.script.lock();
        let is_known = request.registration == script.registrations.len() as u64;
        if script.register_again || !is_known {
            return Ok(Response::new(v1::HeartbeatResponse { register_again: true, ..Default::default() }));
        }
        script.reports.extend(&request.versions);
        if script.follows {
            script.latest = request;
            self.beats.send_modify(|count| *count += 1);
            return Ok(Response::new(v1::HeartbeatResponse { follows: true, ..Default::default() }));
        }
        let mounts = if request.mounts_revision == script.mounts_revision {
            Vec::new()
        } else {
            script.mounts.clone()
        };
        if request.forget_taken == Some(script.forget.0) && !script.repeats_itself {
            script.forget.1.clear();
            script.disown.clear();
        }
        script.latest = request;
        if script.answers_to_lose > 0 {
            script.answers_to_lose -= 1;
            script.lost_lists += u64::from(!script.forget.1.is_empty());
            return Err(to_status(ErrorKind::Unavailable, "lost on the way"));
        }
        let answer = v1::HeartbeatResponse {
            register_again: false,
            map_epoch: 1,
            keys: script.keys.iter().map(Into::into).collect(),
            forget: script.forget.1.clone(),
            disown: script.disown.clone(),
            mounts,
            mounts_revision: script.mounts_revision,
            forget_sequence: script.forget.0,
            mounts_end_at: 0,
            follows: false,
            others: script.others.clone().map(|addresses| v1::OtherMasters { addresses }),
        };
        self.beats.send_modify(|count| *count += 1);
        Ok(Response::new(answer))
    }

    async fn report_client(
        &self,
        _request: Request<v1::ReportClientRequest>,
    ) -> Result<Response<v1::ReportClientResponse>, Status> {
        Err(to_status(ErrorKind::Unsupported, "no worker asks this"))
    }

    async fn get_cluster_map(
        &self,
        _request: Request<v1::GetClusterMapRequest>,
    ) -> Result<Response<v1::GetClusterMapResponse>, Status> {
        Err(to_status(ErrorKind::Unsupported, "no worker asks this"))
    }

    async fn get_report(
        &self,
        _request: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::GetReportResponse>, Status> {
        Err(to_status(ErrorKind::Unsupported, "no worker asks this"))
    }
}
