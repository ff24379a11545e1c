//! Workers that have all files in their caches, as far as the master can tell: each registers, and reports what it has in
//! heartbeats that follow each other at once, as a worker does after its start.

use std::time::{Duration, Instant};

use forebay_proto::v1;
use forebay_proto::v1::cluster_client::ClusterClient;
use forebay_types::FileId;
use forebay_types::limits::RPC_LENGTH_MAX;
use tonic::transport::Channel;

use super::tree::length;

/// Versions of one heartbeat: as many as a worker tells at once.
const REPORTS_PER_HEARTBEAT: usize = 10_000;

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// One of them.
pub(super) struct Worker {
    cluster: ClusterClient<Channel>,
    /// Its own, so that it is the same worker when it comes back.
    number: u64,
    id: u32,
    cluster_id: Vec<u8>,
    registration: u64,
}

impl Worker {
    pub(super) async fn join(address: &str, number: u64) -> Self {
        let channel = forebay_proto::transport::endpoint(address).expect("an address").connect_lazy();
        let cluster = ClusterClient::new(channel).max_encoding_message_size(RPC_LENGTH_MAX);
        let mut worker = Self { cluster, number, id: 0, cluster_id: Vec::new(), registration: 0 };
        worker.register().await;
        worker
    }

    /// Begins a life, which voids what it reported; how long the master took.
    pub(super) async fn register(&mut self) -> Duration {
        let request = v1::RegisterRequest {
            worker: self.id,
            cluster_id: self.cluster_id.clone().into(),
            address: format!("127.0.0.1:{}", self.number + 1),
            host: format!("host-{}", self.number),
            tiers: vec![tier()],
            to_any_master: true,
            ..v1::RegisterRequest::default()
        };
        let began = Instant::now();
        let answer = self.cluster.register(request).await.expect("registered").into_inner();
        (self.id, self.registration) = (answer.worker, answer.registration);
        self.cluster_id = answer.cluster_id.to_vec();
        began.elapsed()
    }

    /// Tells that it has all of these, by number and version; the longest time that the master took for one heartbeat.
    pub(super) async fn report(&mut self, versions: impl Iterator<Item = (u64, FileId)>) -> Duration {
        let (mut longest, mut batch) = (Duration::ZERO, Vec::with_capacity(REPORTS_PER_HEARTBEAT));
        for (number, file) in versions {
            let file = Some(file.into());
            batch.push(v1::VersionReport { file, cached_bytes: length(number), complete: true });
            if batch.len() == REPORTS_PER_HEARTBEAT {
                longest = longest.max(self.beat(std::mem::take(&mut batch)).await);
            }
        }
        longest.max(self.beat(batch).await)
    }

    /// Says each second that it is there, until the task is ended.
    pub(super) async fn stay(mut self) {
        loop {
            self.beat(Vec::new()).await;
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        }
    }

    async fn beat(&mut self, versions: Vec<v1::VersionReport>) -> Duration {
        let request = v1::HeartbeatRequest {
            worker: self.id,
            registration: self.registration,
            tiers: vec![tier()],
            versions,
            forget_taken: Some(0),
            to_any_master: true,
            ..v1::HeartbeatRequest::default()
        };
        let began = Instant::now();
        let answer = self.cluster.heartbeat(request).await.expect("taken in").into_inner();
        assert!(!answer.register_again, "the master knows this life of the worker");
        began.elapsed()
    }
}

fn tier() -> v1::TierUsage {
    v1::TierUsage {
        name: "disk".to_owned(),
        directory: "/nvme".to_owned(),
        capacity_bytes: 1 << 40,
        used_bytes: 1 << 39,
        health: v1::TierHealth::Up.into(),
    }
}
