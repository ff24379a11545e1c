//! The leader of three masters dies while clients change the tree: they wait, see no error, and what they were told stays true.

use std::time::Duration;

use forebay_integration_tests::Watched;

/// What the product promises is 3 s; the rest is for a busy machine.
const NO_WRITE_AT_MOST: Duration = Duration::from_secs(10);

#[test]
fn no_client_sees_an_error_when_leaders_die_and_nothing_acknowledged_is_lost() {
    let mut watched = Watched::start(11);
    for _ in 0..3 {
        let leader = watched.masters.wait_for_leader();
        watched.note(&format!("master {}: killed, and it led", leader + 1));
        assert!(watched.masters.kill(leader), "it ran");
        watched.wait_for_answers(30);
        assert_ne!(watched.masters.wait_for_leader(), leader);
        watched.masters.spawn(leader);
        watched.masters.wait_for_voters(3);
        watched.wait_for_answers(30);
    }
    let counts = watched.judged().counts();
    assert_eq!((counts.unknown, counts.unanswered_reads), (0, 0), "{counts:?}");
    let without = Duration::from_nanos(counts.longest_without_write_nanos);
    println!("{counts:?}, no write for {without:?} at most");
    assert!(without < NO_WRITE_AT_MOST, "no write for {without:?}");
}
