//! A follower's disk is lost. It joins again under another id, catches up and votes, and the cluster can then do without another one.

use forebay_integration_tests::Watched;

#[test]
fn a_follower_without_its_disk_joins_as_another_voter_and_nothing_is_lost() {
    let mut watched = Watched::start(12);
    let leader = watched.masters.wait_for_leader();
    let (wiped, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let before = watched.masters.node_id(wiped).expect("a master leads");
    watched.note(&format!("master {}: its disk is lost", wiped + 1));
    watched.masters.wipe(wiped);
    watched.wait_for_answers(30);
    watched.masters.spawn(wiped);
    watched.masters.wait_for_voters(3);
    assert_ne!(
        watched.masters.node_id(wiped),
        Some(before),
        "never again under the id of the voter that lost its vote"
    );
    // Now what the new one has is needed.
    watched.note(&format!("master {}: killed", third + 1));
    watched.masters.kill(third);
    watched.wait_for_answers(30);
    watched.masters.spawn(third);
    watched.masters.wait_for_voters(3);
    let counts = watched.judged().counts();
    assert_eq!((counts.unknown, counts.unanswered_reads), (0, 0), "{counts:?}");
}
