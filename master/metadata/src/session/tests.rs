//! A retry is answered from memory; what is no longer known is said to be so.

use super::*;
use crate::command::{Command, ExpireSessions};
use crate::reply::Success;
use crate::testing::{World, mount, stamp};
use crate::{Effect, query};

fn mounted(reply: &Reply) -> bool {
    matches!(reply, Ok(Success::Mounted { already: false, .. }))
}

#[test]
fn a_repeated_mutation_is_answered_alike_and_not_applied_again() {
    let mut world = World::formatted();
    let first = world.propose(Some(stamp(7, 1, 1)), mount("/a", "s3://a"));
    assert!(mounted(&first));
    world.unmount("/a").unwrap();
    assert_eq!(world.propose(Some(stamp(7, 1, 1)), mount("/a", "s3://a")), first);
    assert_eq!((world.at("/a"), world.effects.clone()), (None, Vec::<Effect>::new()));
}

#[test]
fn a_refusal_is_remembered_too() {
    let mut world = World::formatted();
    let refused =
        world.propose(Some(stamp(7, 1, 1)), Command::Unmount(crate::Unmount { path: "/a".parse().unwrap() }));
    world.mount("/a", "s3://a").unwrap();
    let again =
        world.propose(Some(stamp(7, 1, 1)), Command::Unmount(crate::Unmount { path: "/a".parse().unwrap() }));
    assert_eq!(again, refused);
    assert!(again.is_err() && world.at("/a").is_some());
}

#[test]
fn a_large_refusal_is_remembered_by_its_kind() {
    let mut world = World::formatted();
    let long = format!("/{}", "x".repeat(200));
    let unmount = || Command::Unmount(crate::Unmount { path: long.parse().unwrap() });
    let refused = world.propose(Some(stamp(7, 1, 1)), unmount()).unwrap_err();
    let again = world.propose(Some(stamp(7, 1, 1)), unmount()).unwrap_err();
    assert_eq!(again, Rejection::RefusedBefore { kind: refused.kind() });
    assert_eq!(again.kind(), refused.kind());
}

#[test]
fn a_large_success_is_remembered_as_done() {
    let mut rows_of = crate::store::MemoryStore::new();
    let mut rows = Overlay::new(&rows_of);
    let reply = Ok(Success::DoneBefore);
    remember(&mut rows, &stamp(1, 1, 1), &reply);
    let mutations = rows.into_mutations();
    crate::StateWriter::commit(&mut rows_of, mutations).unwrap();
    let remembered: Option<RememberedReply> =
        read(&rows_of, &reply_key(SessionId::new(1), Sequence::new(1))).unwrap();
    assert_eq!(remembered.unwrap().into_reply(), reply);
    assert_eq!(RememberedReply::Done.into_reply(), Ok(Success::DoneBefore));
}

#[test]
fn mutations_may_come_in_any_order_within_the_window() {
    let mut world = World::formatted();
    for sequence in [3, 1, 2] {
        let reply = world.propose(
            Some(stamp(7, sequence, 1)),
            mount(&format!("/{sequence}"), &format!("s3://{sequence}")),
        );
        assert!(mounted(&reply), "{reply:?}");
    }
}

#[test]
fn what_the_client_has_is_forgotten_and_not_answered_again() {
    let mut world = World::formatted();
    for sequence in 1..=5 {
        world.propose(Some(stamp(7, sequence, 1)), mount("/a", "s3://a")).unwrap();
    }
    let rows =
        |world: &World| crate::StateReader::scan(&world.store, Table::Sessions, &[], None, 99).unwrap().len();
    assert_eq!(rows(&world), 1 + 5);
    world.propose(Some(stamp(7, 6, 5)), mount("/a", "s3://a")).unwrap();
    assert_eq!(rows(&world), 1 + 2, "replies 5 and 6 are left");
    let (session, sequence) = (SessionId::new(7), Sequence::new(4));
    let late = world.propose(Some(stamp(7, 4, 1)), mount("/b", "s3://b"));
    assert_eq!(late, Err(Rejection::SessionExpired { session, sequence }));
    assert_eq!(world.at("/b"), None);
}

#[test]
fn a_mutation_beyond_the_window_is_refused_and_changes_nothing() {
    let mut world = World::formatted();
    let window = SESSION_WINDOW_MAX as u64;
    let beyond = world.propose(Some(stamp(7, 1 + window, 1)), mount("/a", "s3://a"));
    assert!(matches!(beyond, Err(Rejection::SessionWindow { .. })), "{beyond:?}");
    assert_eq!(query::session(world.reader(), SessionId::new(7)).unwrap(), None);
    assert!(mounted(&world.propose(Some(stamp(7, window, 1)), mount("/a", "s3://a"))));
    world.propose(Some(stamp(7, 10 * window, 10 * window)), mount("/a", "s3://a")).unwrap();
}

#[test]
fn only_sessions_that_were_not_used_are_expired_and_their_late_retries_are_told() {
    let mut world = World::formatted();
    for (session, at) in [(1, "/a"), (2, "/b")] {
        world.propose(Some(stamp(session, 1, 1)), mount(at, &format!("s3:/{at}"))).unwrap();
    }
    let between = Timestamp::from_nanos(world.clock);
    world.propose(Some(stamp(2, 2, 2)), mount("/b", "s3://b")).unwrap();
    let expire = |before| Command::ExpireSessions(ExpireSessions { before });
    assert_eq!(world.apply(expire(between)), Ok(Success::SessionsExpired { ended: 1, more: false }));
    let left: Vec<_> =
        query::sessions(world.reader(), None, 9).unwrap().iter().map(|view| view.session.get()).collect();
    assert_eq!(left, [2]);
    let late = world.propose(Some(stamp(1, 2, 2)), mount("/c", "s3://c"));
    assert_eq!(
        late,
        Err(Rejection::SessionExpired { session: SessionId::new(1), sequence: Sequence::new(2) })
    );
    assert_eq!(world.at("/c"), None);
}

#[test]
fn a_session_cannot_expire_itself() {
    let mut world = World::formatted();
    let far = Command::ExpireSessions(ExpireSessions { before: Timestamp::from_nanos(i64::MAX) });
    let reply = world.propose(Some(stamp(7, 1, 1)), far.clone());
    assert_eq!(reply, Ok(Success::SessionsExpired { ended: 0, more: false }));
    assert_eq!(world.propose(Some(stamp(7, 1, 1)), far), reply);
}

#[test]
fn sessions_are_listed_page_by_page() {
    let mut world = World::formatted();
    for session in [5, 1, u64::MAX] {
        world.propose(Some(stamp(session, 1, 1)), mount("/a", "s3://a")).unwrap();
    }
    let ids = |after: Option<u64>, limit| {
        let views = query::sessions(world.reader(), after.map(SessionId::new), limit).unwrap();
        views.iter().map(|view| view.session.get()).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 9), [1, 5, u64::MAX]);
    assert_eq!(ids(None, 1), [1]);
    assert_eq!(ids(Some(1), 1), [5]);
    assert_eq!(ids(Some(u64::MAX), 1), [0; 0]);
}
