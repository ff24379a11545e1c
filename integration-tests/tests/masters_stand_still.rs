//! The leader stands still while others go on without it. When it comes back it does not know that yet, and still tells nothing old
//! and takes no write.

use std::time::Duration;

use forebay_history::{Answer, Operation, Outcome};
use forebay_integration_tests::{Watched, wait_until};
use rustix::process::Signal;

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_leader_that_stood_still_serves_no_stale_read_and_takes_no_write() {
    let mut watched = Watched::start(14);
    let leader = watched.masters.wait_for_leader();
    let all = watched.clients.connect_to_all(20);
    assert!(matches!(all.ask(make("/paused", 1)), Outcome::Ok(Answer::Made(_))));
    // It is told of this one alone, and finds the others by what that says.
    let of_old = watched.clients.connect(21, vec![watched.masters.address(leader)]);
    assert!(!of_old.ask(stat("/paused")).is_unknown());
    watched.note(&format!("master {}: stands still", leader + 1));
    watched.masters.signal(leader, Signal::STOP);
    let set = Operation::SetMode { path: "/paused".into(), mode: 2 };
    assert_eq!(all.ask(set), Outcome::Ok(Answer::Done), "others lead");
    let asked = [
        of_old.begin_to_ask(stat("/paused")),
        of_old.begin_to_ask(make("/paused/late", 3)),
        of_old.begin_to_ask(stat("/paused")),
    ];
    wait_until("the questions lie there", WITHIN, || watched.masters.has_unread_requests(leader));
    watched.note(&format!("master {}: goes on", leader + 1));
    watched.masters.signal(leader, Signal::CONT);
    let [first, made, second] = asked.map(|asked| of_old.wait(asked));
    for seen in [&first, &second] {
        assert!(matches!(seen, Outcome::Ok(Answer::Seen { mode: 2, .. })), "{seen}");
    }
    // By whoever leads now, to whom it was sent on.
    assert!(matches!(made, Outcome::Ok(Answer::Made(_))), "{made}");
    watched.wait_for_answers(30);
    let counts = watched.judged().counts();
    assert_eq!((counts.unknown, counts.unanswered_reads), (0, 0), "{counts:?}");
}

fn make(path: &str, mode: u16) -> Operation {
    Operation::MakeDirectory { path: path.into(), mode }
}

fn stat(path: &str) -> Operation {
    Operation::Stat { path: path.into() }
}
