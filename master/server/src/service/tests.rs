//! The services over a real port, where long answers meet the limit of a message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Command, Mount, MountOptions, OptionValue};
use forebay_proto::v1::cluster_client::ClusterClient;
use forebay_proto::v1::mounts_client::MountsClient;
use forebay_proto::{WireError, v1};
use forebay_runtime::{Shutdown, SystemClock};
use forebay_types::limits::{MOUNTS_MAX, RPC_LENGTH_MAX, WORKERS_MAX};
use forebay_types::{ErrorKind, HostId, WorkerId};
use prost::Message;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Channel;

use crate::limits;
use crate::registry::Registration;
use crate::server::{Master, MasterSettings};
use crate::shared::Shared;

/// A master that is asked over a port, as a release of today asks it.
struct Served {
    shared: Arc<Shared>,
    channel: Channel,
    dir: TempDir,
    shutdown: Shutdown,
    served: CancellationToken,
}

impl Served {
    async fn new() -> Self {
        let (dir, shutdown) = (TempDir::new().expect("a folder"), Shutdown::new());
        let settings = MasterSettings {
            dir: dir.path().join("master"),
            private_folders: Vec::new(),
            slot: 1,
            address: "127.0.0.1:1".to_owned(),
            peers: crate::PeerList::default(),
            election_timeout: std::time::Duration::from_secs(1),
            reads: forebay_raft::Reads::default(),
            clock: Arc::new(SystemClock),
            environment: BTreeMap::new(),
            requests_per_second_max: 0,
            loaded_entries_max: 0,
            registry: prometheus::Registry::new(),
        };
        let master = Master::new(settings).expect("settings");
        master.start(&shutdown).await.expect("started");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (routes, served) = (master.add_routes(Routes::default()), CancellationToken::new());
        tokio::spawn(forebay_proto::transport::serve(listener, routes, served.clone()));
        let channel = forebay_proto::transport::endpoint(&address).expect("an address").connect_lazy();
        Self { shared: master.shared(), channel, dir, shutdown, served }
    }

    fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone()).max_decoding_message_size(RPC_LENGTH_MAX)
    }

    fn mounts(&self) -> MountsClient<Channel> {
        MountsClient::new(self.channel.clone()).max_decoding_message_size(RPC_LENGTH_MAX)
    }

    /// Makes mounts without a look at their under-stores.
    async fn mount_all(&self, mounts: Vec<(String, String, MountOptions)>) {
        let proposals = mounts.into_iter().map(|(path, uri, options)| {
            let (path, uri) = (path.parse().expect("legal"), uri.parse().expect("legal"));
            self.shared.propose(None, Command::Mount(Mount { path, uri, options }))
        });
        for outcome in futures::future::join_all(proposals).await {
            outcome.expect("mounted");
        }
    }

    /// Asks for a mount and gives the refusal.
    async fn refusal(&self, path: &str, uri: &str, options: &[(&str, &str)]) -> WireError {
        let reference =
            |text: &str| v1::OptionValue { value: Some(v1::option_value::Value::Reference(text.to_owned())) };
        let stamp = v1::MutationStamp { session: 1, sequence: 1, lowest_unanswered: 1 };
        let request = v1::MountRequest {
            header: Some(v1::RequestHeader { stamp: Some(stamp), ..Default::default() }),
            path: path.to_owned().into_bytes().into(),
            uri: uri.to_owned(),
            options: options.iter().map(|(name, text)| ((*name).to_owned(), reference(text))).collect(),
            check_only: true,
            ..Default::default()
        };
        self.mounts().mount(request).await.expect_err("refused").into()
    }

    /// Mounts a bucket that nobody serves at `/m`, or changes how it is mounted.
    async fn mount(&self, sequence: u64, request: v1::MountRequest) -> v1::MountResponse {
        let stamp = v1::MutationStamp { session: 1, sequence, lowest_unanswered: sequence };
        let request = v1::MountRequest {
            header: Some(v1::RequestHeader { stamp: Some(stamp), ..Default::default() }),
            path: "/m".into(),
            uri: "s3://b4x".to_owned(),
            ..request
        };
        self.mounts().mount(request).await.expect("mounted").into_inner()
    }

    async fn stop(self) {
        self.served.cancel();
        self.shutdown.finish(Duration::from_secs(10)).await.expect("stops in time");
    }
}

fn registration(text: usize) -> Registration {
    Registration {
        address: "a".repeat(text),
        host: HostId::new(""),
        local_socket: String::new(),
        group: String::new(),
        tiers: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_mounts_that_is_too_long_for_one_message_comes_to_a_worker_in_pages() {
    let served = Served::new().await;
    let options = (0..60).map(|number| (format!("{number:04000}"), OptionValue::Plain("v".repeat(4000))));
    let options = MountOptions { options: options.collect(), ..MountOptions::default() };
    let mounts = (0..10).map(|number| (format!("/m{number}"), format!("s3://b{number}xx"), options.clone()));
    served.mount_all(mounts.collect()).await;
    let mut cluster = served.cluster();
    let life = cluster.register(v1::RegisterRequest::default()).await.expect("registered").into_inner();
    let mut request =
        v1::HeartbeatRequest { worker: life.worker, registration: life.registration, ..Default::default() };
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let answer = cluster.heartbeat(request.clone()).await.expect("it fits").into_inner();
        assert!(answer.mounts.iter().all(|mount| mount.options.len() == 60));
        ids.extend(answer.mounts.iter().map(|mount| mount.mount));
        pages += 1;
        if answer.mounts_end_at == 0 {
            request.mounts_revision = answer.mounts_revision;
            break;
        }
        let place = v1::MountsPlace { revision: answer.mounts_revision, after: answer.mounts_end_at };
        request.mounts_place = Some(place);
    }
    assert_eq!((ids, pages), ((1..=10).collect(), 3));
    let known = cluster.heartbeat(request.clone()).await.expect("answered").into_inner();
    assert!(known.mounts.is_empty());
    let other = v1::MountsPlace { revision: 1, after: 5 };
    request = v1::HeartbeatRequest { mounts_revision: 0, mounts_place: Some(other), ..request };
    let anew = cluster.heartbeat(request).await.expect("answered").into_inner();
    assert_eq!(anew.mounts[0].mount, 1, "a place in another table is the beginning of this one");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_in_maintenance_is_made_without_a_look_and_workers_are_told_of_each_change_of_its_mode() {
    let served = Served::new().await;
    let mut cluster = served.cluster();
    let life = cluster.register(v1::RegisterRequest::default()).await.expect("registered").into_inner();
    let mut known = 0;
    let mut told = async || {
        let request = v1::HeartbeatRequest {
            worker: life.worker,
            registration: life.registration,
            mounts_revision: known,
            ..Default::default()
        };
        let answer = cluster.heartbeat(request).await.expect("answered").into_inner();
        known = answer.mounts_revision;
        answer.mounts.iter().map(v1::MountCredentials::mode).collect::<Vec<_>>()
    };
    let shown = async || {
        let mounts = served.mounts().list_mounts(v1::ListMountsRequest::default()).await.expect("listed");
        let mount = mounts.into_inner().mounts.remove(0);
        (mount.state.clone(), mount.mode(), mount.on_outage(), mount.read_only)
    };
    let fail = v1::OnOutage::Fail;
    let mode = |mode: v1::MountMode| v1::MountRequest { mode: mode.into(), ..Default::default() };
    let new = v1::MountRequest { on_outage: fail.into(), ..mode(v1::MountMode::NoAccess) };
    assert!(!served.mount(1, new).await.already);
    assert_eq!(told().await, [v1::MountMode::NoAccess]);
    assert_eq!(shown().await, ("MAINTENANCE".to_owned(), v1::MountMode::NoAccess, fail, true));
    let again = served.mount(2, v1::MountRequest::default()).await;
    assert_eq!((again.already, again.changed, told().await), (true, false, vec![]), "what is not said stays");
    for (sequence, to) in [(3, v1::MountMode::Normal), (4, v1::MountMode::ReadOnly)] {
        let hearing = async {
            loop {
                let modes = told().await;
                if !modes.is_empty() {
                    // It says that it knows with the next one.
                    return (modes, told().await);
                }
            }
        };
        let (changed, heard) = tokio::join!(served.mount(sequence, mode(to)), hearing);
        assert_eq!((changed.changed, changed.workers_behind, heard), (true, 0, (vec![to], vec![])));
        assert_eq!(shown().await, ("READY".to_owned(), to, fail, true));
    }
    let unheard = served.mount(5, mode(v1::MountMode::NoAccess)).await;
    assert_eq!((unheard.changed, unheard.workers_behind), (true, 1));
    served.stop().await;
}

/// Mounts as many as there can be, with as much text as they can have and the largest numbers.
fn longest_mounts() -> Vec<v1::MountReport> {
    let half = limits::MOUNTS_TEXT_MAX / MOUNTS_MAX / 2;
    let mount = |mount| v1::MountEntry {
        mount,
        path: vec![b'p'; half].into(),
        uri: "u".repeat(half),
        read_only: true,
        freshness: Some(forebay_proto::Freshness::Bound(Duration::from_nanos(u64::MAX)).into()),
        coherence: v1::Coherence::Relaxed.into(),
        state: "UNREACHABLE".to_owned(),
        files: u64::MAX,
        on_outage: v1::OnOutage::Fail.into(),
        mode: v1::MountMode::ReadOnly.into(),
        unreachable_since_nanos: Some(i64::MAX),
        reason: "r".repeat(limits::OUTAGE_REASON_LENGTH_MAX),
        admission: Some(v1::Admission {
            rule: Some(v1::admission::Rule::SmallBytesMax(u64::MAX)),
            ..Default::default()
        }),
    };
    let counters = |mount| v1::MountCounters {
        mount,
        hit_bytes: u64::MAX,
        miss_bytes: u64::MAX,
        under_store_read_bytes: u64::MAX,
        under_store_requests: u64::MAX,
        cached_bytes: u64::MAX,
    };
    let ids = (0..MOUNTS_MAX).map(|number| u32::MAX - u32::try_from(number).expect("few"));
    ids.map(|id| v1::MountReport { mount: Some(mount(id)), counters: Some(counters(id)) }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_lists_of_mounts_and_workers_that_there_can_be_fit_one_message() {
    let served = Served::new().await;
    let text = limits::WORKERS_TEXT_MAX / WORKERS_MAX - 64;
    for id in 1..=1000 {
        let (now, id) = (served.shared.clock.boot_instant(), WorkerId::new(u32::MAX - id));
        served.shared.registry.lock().register(now, id, registration(text)).expect("there is room");
    }
    let refused = served.cluster().register(v1::RegisterRequest::default()).await.expect_err("full");
    let refused = WireError::from(refused);
    assert_eq!(refused.kind, ErrorKind::LimitExceeded, "{refused}");
    assert!(refused.message.contains("has 1000 live workers"), "{refused}");
    let map = served.cluster().get_cluster_map(v1::GetClusterMapRequest::default()).await.expect("it fits");
    assert_eq!(map.into_inner().map.expect("a map").workers.len(), WORKERS_MAX);
    let report = served.cluster().get_report(v1::GetReportRequest::default()).await.expect("it fits");
    let mut report = report.into_inner();
    assert_eq!(report.workers.len(), WORKERS_MAX);
    report.mounts = longest_mounts();
    assert!(report.encoded_len() < RPC_LENGTH_MAX * 7 / 8, "{}", report.encoded_len());
    let mounts = report.mounts.into_iter().filter_map(|mount| mount.mount).collect();
    assert!(v1::ListMountsResponse { mounts }.encoded_len() < RPC_LENGTH_MAX / 2);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_refer_to_pipes_and_devices_are_refused_and_the_master_answers_on() {
    let served = Served::new().await;
    let pipe = served.dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("run").success());
    let references = [format!("file:{}", pipe.display()), "file:/dev/zero".to_owned()];
    for reference in references.iter().cycle().take(8) {
        let error = served.refusal("/x", "s3://b4x", &[("secret_access_key", reference)]).await;
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
        assert!(error.message.contains(reference) && error.message.contains("no regular file"), "{error}");
    }
    served.cluster().get_report(v1::GetReportRequest::default()).await.expect("it lives");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_worker_holds_is_not_reported_as_cached_but_what_it_served_is() {
    let served = Served::new().await;
    let mount = ("/m".to_owned(), "s3://b4x".to_owned(), MountOptions::default());
    served.mount_all(vec![mount]).await;
    let mut cluster = served.cluster();
    let life = cluster.register(v1::RegisterRequest::default()).await.expect("registered").into_inner();
    let counters = v1::MountCounters { mount: 1, hit_bytes: 5, cached_bytes: 7, ..Default::default() };
    let request = v1::HeartbeatRequest {
        worker: life.worker,
        registration: life.registration,
        mounts: vec![counters],
        ..Default::default()
    };
    cluster.heartbeat(request).await.expect("answered");
    let mut reported = async || {
        let report = cluster.get_report(v1::GetReportRequest::default()).await.expect("answered");
        let counters = report.into_inner().mounts[0].counters.expect("counted");
        (counters.hit_bytes, counters.cached_bytes)
    };
    assert_eq!(reported().await, (5, 7));
    let now = served.shared.clock.boot_instant();
    served.shared.registry.lock().tick(now.saturating_add(Duration::from_secs(60)), Duration::from_secs(10));
    assert_eq!(reported().await, (5, 0));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_of_a_heartbeat_are_known_however_many_it_has_and_those_of_an_earlier_life_are_not() {
    let served = Served::new().await;
    let mut cluster = served.cluster();
    let life = cluster.register(v1::RegisterRequest::default()).await.expect("registered").into_inner();
    let file = |counter| v1::FileId { incarnation: 1, counter };
    let mut beat = async |registration, versions: std::ops::Range<u64>| {
        let report =
            |counter| v1::VersionReport { file: Some(file(counter)), cached_bytes: 1, complete: true };
        let versions = versions.map(report).collect();
        let request =
            v1::HeartbeatRequest { worker: life.worker, registration, versions, ..Default::default() };
        cluster.heartbeat(request).await.expect("answered").into_inner().register_again
    };
    let known = |counter| served.shared.registry.lock().locations.of(file(counter).into()).len();
    let some = limits::REPORTS_TAKEN_AT_ONCE as u64;
    let mut first = 1;
    for count in [0, 1, some - 1, some, some + 1, 2 * some + 3] {
        assert!(!beat(life.registration, first..first + count).await);
        assert!((first..first + count).all(|counter| known(counter) == 1), "{count}");
        first += count;
    }
    assert!(beat(life.registration - 1, first..first + 2 * some).await);
    assert_eq!(known(first), 0);
    served.stop().await;
}
