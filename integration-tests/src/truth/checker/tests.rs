//! Histories of a few changes, with observations that are just legal and just not.

use std::time::Duration;

use super::{History, Key, Moment, Observation, Seen, State, Wrong};

const KEY: Key = Key(0);
const BOUND: Duration = Duration::from_millis(1000);

fn at(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

fn version(number: u32) -> State {
    State::Version { number, length: u64::from(number) * 100 }
}

/// One of a key and these changes: state, sent, acknowledged, in milliseconds.
fn history(changes: &[(State, u64, u64)]) -> History {
    let mut history = History::new(1, BOUND);
    for (state, sent, acknowledged) in changes {
        history.send(KEY, *state, at(*sent));
        history.acknowledge(KEY, at(*acknowledged));
    }
    history
}

fn check(history: &History, seen: Seen, asked: u64, answered: u64) -> Result<Duration, Wrong> {
    history.check(&Observation { key: KEY, seen, asked: at(asked), answered: at(answered) })
}

/// Version 1 from 100 to 200, replaced by 2 from 5000 to 5010, deleted from 9000 to 9020, added as 3 from 12000 on.
fn all_kinds() -> History {
    let absent = State::Absent;
    history(&[
        (version(1), 100, 200),
        (version(2), 5000, 5010),
        (absent, 9000, 9020),
        (version(3), 12000, 12010),
    ])
}

#[test]
fn a_legal_history_passes() {
    let all = all_kinds();
    let legal = [
        (Seen::Absent, 50, 60),
        (Seen::Absent, 1200, 1201),
        (Seen::Version(1), 50, 100),
        (Seen::Version(1), 4000, 4001),
        (Seen::Length(100), 4000, 4001),
        (Seen::Version(1), 6010, 6011),
        (Seen::Version(2), 4000, 5000),
        (Seen::Present, 10_020, 10_021),
        (Seen::Version(2), 10_020, 10_021),
        (Seen::Absent, 9000, 9001),
        (Seen::Absent, 13_010, 13_500),
        (Seen::Version(3), 11_000, 12_000),
        (Seen::Version(3), 99_000, 99_000),
        (Seen::Gone, 5000, 5000),
        (Seen::Gone, 13_010, 13_020),
    ];
    for (seen, asked, answered) in legal {
        let outcome = check(&all, seen.clone(), asked, answered);
        assert!(outcome.is_ok(), "{seen:?} {asked} {answered}: {outcome:?}");
    }
}

#[test]
fn a_planted_stale_read_is_caught() {
    let all = all_kinds();
    assert_eq!(check(&all, Seen::Version(1), 6011, 6012), Err(Wrong::Stale));
    assert_eq!(check(&all, Seen::Length(100), 6011, 6012), Err(Wrong::Stale), "by its length");
    assert_eq!(check(&all, Seen::Version(2), 13_100, 13_200), Err(Wrong::Stale), "with a deletion between");
}

#[test]
fn a_planted_mixed_read_is_caught() {
    let mixed = Seen::Mixed("at 4096".to_owned());
    assert_eq!(check(&all_kinds(), mixed, 5000, 5010), Err(Wrong::Mixed));
}

#[test]
fn a_planted_lost_deletion_is_caught() {
    let all = all_kinds();
    for seen in [Seen::Present, Seen::Length(200), Seen::Version(2)] {
        assert_eq!(check(&all, seen, 10_021, 10_022), Err(Wrong::LostDeletion));
    }
}

#[test]
fn a_planted_missing_new_key_is_caught() {
    let all = all_kinds();
    assert_eq!(check(&all, Seen::Absent, 1201, 1202), Err(Wrong::MissingKey));
    assert_eq!(check(&all, Seen::Absent, 13_011, 13_012), Err(Wrong::MissingKey));
}

#[test]
fn what_never_was_or_was_not_yet_is_caught() {
    let all = all_kinds();
    assert_eq!(check(&all, Seen::Version(9), 4000, 4001), Err(Wrong::NeverWas));
    assert_eq!(check(&all, Seen::Length(7), 4000, 4001), Err(Wrong::NeverWas));
    assert_eq!(check(&all, Seen::Version(2), 4000, 4999), Err(Wrong::NeverWas), "its request was not sent");
    assert_eq!(check(&all, Seen::Present, 10, 99), Err(Wrong::NeverWas));
}

#[test]
fn errors_and_losses_without_a_change_are_caught() {
    let all = all_kinds();
    assert_eq!(check(&all, Seen::Error("EIO".to_owned()), 5000, 5010), Err(Wrong::Error));
    assert_eq!(check(&all, Seen::Gone, 3000, 4999), Err(Wrong::GoneWithoutChange));
    assert_eq!(check(&all, Seen::Gone, 13_011, 14_000), Err(Wrong::GoneWithoutChange));
    assert_eq!(check(&History::new(1, BOUND), Seen::Gone, 1, 2), Err(Wrong::GoneWithoutChange));
}

#[test]
fn a_change_that_is_not_acknowledged_may_be_seen_or_not() {
    let mut history = history(&[(version(1), 100, 200)]);
    history.send(KEY, version(2), at(5000));
    for seen in [Seen::Version(1), Seen::Version(2), Seen::Gone] {
        assert_eq!(check(&history, seen, 9000, 9001), Ok(Duration::ZERO));
    }
    assert_eq!(check(&history, Seen::Absent, 9000, 9001), Err(Wrong::MissingKey));
    assert_eq!(check(&history, Seen::Version(2), 4000, 4999), Err(Wrong::NeverWas));
}

#[test]
fn between_two_replacements_in_a_moment_each_may_be_seen() {
    let history = history(&[(version(1), 100, 200), (version(2), 5000, 5001), (version(3), 5001, 5002)]);
    for number in [1, 2, 3] {
        assert!(check(&history, Seen::Version(number), 5900, 5901).is_ok(), "{number}");
    }
    assert_eq!(check(&history, Seen::Version(2), 6003, 6004), Err(Wrong::Stale));
}

#[test]
fn the_age_is_the_least_that_explains_what_was_seen() {
    let all = all_kinds();
    let millis = |result: Result<Duration, Wrong>| result.expect("legal").as_millis();
    assert_eq!(millis(check(&all, Seen::Version(1), 5510, 5511)), 500);
    assert_eq!(millis(check(&all, Seen::Version(2), 5510, 5511)), 0);
    // Absent again later: the later one explains it.
    assert_eq!(millis(check(&all, Seen::Absent, 9100, 9200)), 0);
}

#[test]
fn a_directory_is_there_while_one_of_its_keys_is() {
    let (mut history, keys) = (History::new(2, BOUND), [Key(0), Key(1)]);
    let directory =
        |history: &History, asked, answered| history.check_directory(keys.iter(), at(asked), at(answered));
    assert_eq!(directory(&history, 50, 60), Err(Wrong::NeverWas));
    for (key, added, deleted) in [(Key(0), 100, 1000), (Key(1), 900, 3000)] {
        for (state, sent) in [(version(1), added), (State::Absent, deleted)] {
            history.send(key, state, at(sent));
            history.acknowledge(key, at(sent));
        }
    }
    assert_eq!(directory(&history, 2500, 2501), Ok(Duration::ZERO));
    assert_eq!(directory(&history, 4000, 4001), Ok(Duration::from_millis(1000)));
    assert_eq!(directory(&history, 4001, 4002), Err(Wrong::LostDeletion));
}
