//! Clusters of several nodes in this process, over real connections.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_metadata::store::Row;
use forebay_metadata::{FEATURE_LEVEL, StateReader, Table};
use forebay_types::LogIndex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::*;
use crate::settings::RaftSettings;
use crate::testing::{self, CLUSTER, ClosedNode, SECRET, mount, soon};
use crate::{Joining, Reads, Role, Tuning, limits};

/// One master: its folder, its port and, while it runs, its node.
struct Place {
    dir: tempfile::TempDir,
    address: String,
    slot: u32,
    running: Option<Running>,
}

struct Running {
    node: ClosedNode,
    _effects: crate::Effects,
    port: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

fn mark() -> ClusterMark {
    ClusterMark { cluster: CLUSTER, incarnation: Incarnation::new(1) }
}

fn tuning() -> Tuning {
    Tuning { snapshot_every_entries: 20, kept_entries: 1, purged_entries_min: 1, ..Tuning::default() }
}

impl Place {
    /// A place with an address of its own, where nothing runs yet.
    async fn new(slot: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { dir: tempfile::tempdir().unwrap(), address, slot, running: None }
    }

    async fn start(&mut self, node: Option<u64>) {
        let election_timeout = Duration::from_millis(500);
        let settings = RaftSettings { election_timeout, ..RaftSettings::new(self.dir.path(), &self.address) };
        self.start_with(node, settings).await;
    }

    async fn start_with(&mut self, node: Option<u64>, mut settings: RaftSettings) {
        settings.slot = self.slot;
        settings.node = node;
        settings.mark = node.map(|_| mark());
        settings.tuning = tuning();
        let (node, effects) = testing::start(settings).await;
        let (port, routes) = (CancellationToken::new(), Routes::new(node.service()));
        let listener = TcpListener::bind(&self.address).await.unwrap();
        let serving = forebay_proto::transport::serve(listener, routes, port.clone());
        let served = tokio::spawn(async move { serving.await.unwrap() });
        self.running = Some(Running { node, _effects: effects, port, served });
    }

    /// Ends it as a crash would, but for the databases, which are closed.
    async fn stop(&mut self) {
        let Running { node, port, served, .. } = self.running.take().unwrap();
        served.abort();
        port.cancel();
        node.shutdown(soon()).await.unwrap();
        drop(served.await);
    }

    fn node(&self) -> &ClosedNode {
        &self.running.as_ref().unwrap().node
    }
}

/// A master of this version that is to be taken in.
fn joining(address: &str, slot: u32) -> Joining<'_> {
    Joining { address, slot, known: FEATURE_LEVEL }
}

/// A cluster of three that all vote. The first one leads.
async fn three() -> Vec<Place> {
    three_with(|place| {
        let election_timeout = Duration::from_millis(500);
        RaftSettings { election_timeout, ..RaftSettings::new(place.dir.path(), &place.address) }
    })
    .await
}

async fn three_with(settings: impl Fn(&Place) -> RaftSettings) -> Vec<Place> {
    let mut places = vec![Place::new(1).await, Place::new(2).await, Place::new(3).await];
    let first = settings(&places[0]);
    places[0].start_with(None, first).await;
    places[0].node().form(CLUSTER, Incarnation::new(1), SECRET, soon()).await.unwrap();
    let mut voters = BTreeSet::from([1]);
    for slot in 1..3 {
        let address = places[slot].address.clone();
        let id = places[0].node().add_learner(&joining(&address, places[slot].slot), soon()).await.unwrap();
        assert!(voters.insert(id), "an id that was given twice");
        let settings = settings(&places[slot]);
        places[slot].start_with(Some(id), settings).await;
    }
    places[0].node().set_voters(voters, soon()).await.unwrap();
    places
}

/// Proposes at whichever node leads, until one takes it.
async fn propose(places: &[Place], number: usize) -> LogIndex {
    loop {
        for place in places.iter().filter(|place| place.running.is_some()) {
            if place.node().status().role != Role::Leader {
                continue;
            }
            let proposed = place.node().propose(None, mount(number), soon()).await;
            if let Ok(committed) = proposed {
                return committed.index;
            }
        }
        tokio::task::yield_now().await;
    }
}

fn dump(node: &ClosedNode) -> Vec<(&'static str, Vec<Row>)> {
    let view = node.local_view().unwrap();
    let moment = view.moment();
    Table::ALL
        .iter()
        .map(|table| (table.name(), moment.scan(*table, &[], None, usize::MAX).unwrap()))
        .collect()
}

async fn caught_up(place: &Place, index: LogIndex) {
    place.node().wait_until(soon(), |status| status.last_applied >= Some(index)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_masters_apply_the_same_and_go_on_without_their_leader() {
    let mut places = three().await;
    let mut last = LogIndex::new(0);
    for number in 0..10 {
        last = propose(&places, number).await;
    }
    for place in &places {
        caught_up(place, last).await;
        assert_eq!(dump(place.node()), dump(places[0].node()));
    }
    places[0].stop().await;
    let last = propose(&places, 10).await;
    for place in &places[1..] {
        caught_up(place, last).await;
        assert_eq!(dump(place.node()), dump(places[1].node()));
    }
    // Whoever comes back follows, and disturbs nobody.
    let term = places[1].node().status().term;
    places[0].start(None).await;
    caught_up(&places[0], last).await;
    assert_eq!(dump(places[0].node()), dump(places[1].node()));
    assert_eq!(places[1].node().status().term, term);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_lost_its_folder_is_replaced_under_a_new_id_from_a_snapshot() {
    let mut places = three().await;
    for number in 0..40 {
        propose(&places, number).await;
    }
    places[2].stop().await;
    places[2].dir = tempfile::tempdir().unwrap();
    let (members, address) = (places[0].node().members(), places[2].address.clone());
    let old = members.iter().find(|member| member.slot == 3).unwrap().node;
    let new = places[0].node().add_learner(&joining(&address, 3), soon()).await.unwrap();
    assert!(new > old && members.iter().all(|member| member.node != new));
    places[2].start(Some(new)).await;
    let last = propose(&places, 40).await;
    caught_up(&places[2], last).await;
    assert!(places[2].node().status().purged.is_some(), "it came by entries alone, and not by a snapshot");
    assert_eq!(dump(places[2].node()), dump(places[0].node()));
    let voters = members.iter().map(|member| if member.node == old { new } else { member.node }).collect();
    places[0].node().set_voters(voters, soon()).await.unwrap();
    let slots: Vec<_> = places[0].node().members().iter().map(|member| (member.slot, member.votes)).collect();
    assert_eq!(slots, [(1, true), (2, true), (3, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_to_whom_it_is_given() {
    let places = three().await;
    let last = propose(&places, 0).await;
    caught_up(&places[1], last).await;
    let to = places[1].node().node();
    places[0].node().transfer_leader(to, soon()).await.unwrap();
    assert_eq!(places[1].node().status().role, Role::Leader);
    propose(&places, 1).await;
    let refused = places[0].node().transfer_leader(to, soon()).await.unwrap_err();
    assert!(matches!(refused, RaftError::NotLeader { leader: Some(_) }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_majority_that_is_gone_lets_nothing_through_and_nothing_be_read() {
    let mut places = three().await;
    propose(&places, 0).await;
    places[1].stop().await;
    places[2].stop().await;
    let brief = || tokio::time::Instant::now() + Duration::from_millis(300);
    let lost = places[0].node().propose(None, mount(1), brief()).await.unwrap_err();
    assert!(
        matches!(lost, RaftError::TimedOut { .. } | RaftError::NotLeader { .. } | RaftError::OutcomeUnknown),
        "{lost}"
    );
    places[0].node().read(brief()).await.expect_err("nobody confirms that it leads");
    places[1].start(None).await;
    propose(&places, 2).await;
}

/// Three whose leader answers from its lease, which lasts for longer than a test; and the clock of the first one.
async fn three_with_leases() -> (Vec<Place>, Arc<testing::SetClock>) {
    let clock = testing::set_clock();
    let first = clock.clone();
    let places = three_with(move |place| {
        let mut settings = RaftSettings::new(place.dir.path(), &place.address);
        settings.election_timeout = limits::ELECTION_TIMEOUT_MAX;
        settings.reads = Reads::Lease;
        if place.slot == 1 {
            settings.clock = first.clone();
        }
        settings
    });
    (places.await, clock)
}

fn brief() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_millis(300)
}

#[tokio::test(flavor = "multi_thread")]
async fn within_its_lease_a_leader_answers_alone_unless_its_machine_was_suspended() {
    let (mut places, clock) = three_with_leases().await;
    propose(&places, 0).await;
    places[0].node().read(soon()).await.expect("the first question asks a majority");
    places[1].stop().await;
    places[2].stop().await;
    places[0].node().read(soon()).await.expect("the lease lasts for half a minute");
    clock.suspend(Duration::from_secs(20));
    places[0].node().read(brief()).await.expect_err("another one may lead by now");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gave_the_lead_away_answers_nothing_from_its_lease() {
    let (mut places, _clock) = three_with_leases().await;
    propose(&places, 0).await;
    places[0].node().read(soon()).await.unwrap();
    let to = places[1].node().node();
    places[1].stop().await;
    places[2].stop().await;
    places[0].node().read(soon()).await.expect("the lease lasts for half a minute");
    places[0].node().transfer_leader(to, brief()).await.expect_err("nobody is there to take it");
    places[0].node().read(brief()).await.expect_err("whoever was asked may lead by now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_has_just_started_votes_for_nobody() {
    let (mut places, _clock) = three_with_leases().await;
    propose(&places, 0).await;
    places[0].node().read(soon()).await.unwrap();
    // It may have promised the leader its vote until the end of the lease, and does not know.
    places[1].stop().await;
    let mut settings = RaftSettings::new(places[1].dir.path(), &places[1].address);
    settings.election_timeout = limits::ELECTION_TIMEOUT_MAX;
    places[1].start_with(None, settings).await;
    let endpoint = forebay_proto::transport::endpoint(&places[1].address).unwrap();
    let mut client = forebay_proto::v1::raft_client::RaftClient::new(endpoint.connect_lazy());
    let sender = Peers::new(places[2].node().node());
    sender.belongs_to(mark());
    let ask = async |client: &mut forebay_proto::v1::raft_client::RaftClient<_>, transfer| {
        let ballot = crate::types::RaftVote::new(1000, places[2].node().node());
        let mut request = openraft::raft::VoteRequest::new(ballot, Some(crate::types::log_id(1000, 1000)));
        request.leadership_transfer = transfer;
        let envelope = sender.envelope(places[1].node().node()).unwrap();
        client.vote(wire::vote_message(envelope, &request, false)).await
    };
    let refused = ask(&mut client, false).await.unwrap_err();
    assert!(refused.message().contains("just started"), "{refused}");
    let granted = ask(&mut client, true).await.expect("the leader itself asked for it").into_inner();
    assert!(wire::vote_response(granted).unwrap().vote_granted);
}

#[test]
fn what_is_meant_for_another_master_is_refused_with_both_names() {
    let peers = Peers::new(7);
    let sender = Peers::new(1);
    sender.belongs_to(mark());
    assert!(peers.refuses(sender.envelope(7).as_ref()).unwrap().contains("no cluster yet"));
    peers.belongs_to(mark());
    assert_eq!(peers.refuses(sender.envelope(7).as_ref()), None);
    assert!(peers.refuses(None).is_some());
    let other = peers.refuses(sender.envelope(8).as_ref()).unwrap();
    assert!(other.contains("node 7") && other.contains("node 8"), "{other}");
    let earlier = Peers::new(1);
    earlier.belongs_to(ClusterMark { incarnation: Incarnation::new(9), ..mark() });
    let refused = peers.refuses(earlier.envelope(7).as_ref()).unwrap();
    assert!(refused.contains("belongs to the cluster"), "{refused}");
}
