//! A follower's disk is lost. It joins again under another id, catches up and votes, and the cluster can then do without another one.

use forebay_integration_tests::Watched;
use serde_json::Value;

#[test]
fn a_follower_without_its_disk_joins_as_another_voter_and_nothing_is_lost() {
    let mut watched = Watched::start(12);
    let leader = watched.masters.wait_for_leader();
    let (wiped, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let before = node_id(&watched, wiped);
    watched.note(&format!("master {}: its disk is lost", wiped + 1));
    watched.masters.kill(wiped);
    watched.masters.wipe(wiped);
    watched.wait_for_answers(30);
    watched.masters.spawn(wiped);
    watched.masters.wait_for_voters(3);
    assert_ne!(node_id(&watched, wiped), before, "never again under the id of the voter that lost its vote");
    // Now what the new one has is needed.
    watched.note(&format!("master {}: killed", third + 1));
    watched.masters.kill(third);
    watched.wait_for_answers(30);
    watched.masters.spawn(third);
    watched.masters.wait_for_voters(3);
    let counts = watched.judged().counts();
    assert_eq!((counts.unknown, counts.unanswered_reads), (0, 0), "{counts:?}");
}

fn node_id(watched: &Watched, master: usize) -> Value {
    watched.masters.wait_for_leader();
    let report = watched.masters.report().expect("a master leads");
    let masters = report["masters"].as_array().expect("a list");
    let slot = u64::try_from(master + 1).expect("few");
    masters.iter().find(|of| of["id"] == slot).expect("it is known")["node_id"].clone()
}
