//! The oracle works: each mistake that is planted in an actor breaks the rule that forbids it, within a few seeds.

use forebay_sim::{Plan, Planted, run, shrink};

const SEEDS: u64 = 120;
const STEPS: u64 = 20_000;

/// The first seed by which a mistake is found to break a rule; the same run without it is sound.
fn caught(planted: Planted, rule: &str) -> u64 {
    caught_by(planted, rule, |seed| Plan::new(seed, STEPS))
}

/// The same of a mistake that needs several masters.
fn caught_with_three(planted: Planted, rule: &str) -> u64 {
    caught_by(planted, rule, |seed| Plan::new(seed, STEPS).with_masters(3))
}

fn caught_by(planted: Planted, rule: &str, plan_of: impl Fn(u64) -> Plan) -> u64 {
    for seed in 0..SEEDS {
        let plan = plan_of(seed);
        let violation = run(&plan.clone().with(planted)).violation;
        if violation.is_some_and(|violation| violation.rule == rule) {
            assert_eq!(run(&plan).violation, None, "without the mistake");
            return seed;
        }
    }
    panic!("{planted:?} was not found to break {rule} by any of {SEEDS} seeds");
}

#[test]
fn a_client_that_ignores_what_changed_is_caught() {
    caught(Planted::ClientIgnoresNews, "news-are-heard");
}

#[test]
fn a_feed_that_forgets_a_change_is_caught() {
    caught(Planted::FeedForgets, "news-are-heard");
}

#[test]
fn a_listing_that_removes_names_after_it_was_cut_short_is_caught() {
    caught(Planted::CutListingRemoves, "answers-are-fresh");
}

#[test]
fn a_load_that_is_said_to_be_done_with_a_page_missing_is_caught() {
    caught(Planted::LoadLies, "loads-are-whole");
}

#[test]
fn bytes_of_another_version_are_caught() {
    caught(Planted::MixedBytes, "bytes-are-of-the-version");
}

#[test]
fn a_key_that_is_taken_for_its_name_though_a_directory_has_its_place_is_caught() {
    caught(Planted::KeyIsName, "answers-are-fresh");
    caught(Planted::KeyIsName, "news-are-heard");
}

#[test]
fn later_parts_of_a_listing_that_are_as_old_as_the_last_one_are_caught() {
    caught(Planted::LaterPartsAreOld, "answers-are-fresh");
}

#[test]
fn what_was_forgotten_and_is_taken_for_missing_is_caught() {
    caught(Planted::ForgottenIsMissing, "answers-are-fresh");
}

#[test]
fn a_name_that_was_compared_alone_and_is_taken_for_its_directory_is_caught() {
    caught(Planted::SingleNameIsAll, "answers-are-fresh");
}

#[test]
fn old_news_of_a_mount_that_wants_an_error_in_an_outage_are_caught() {
    caught(Planted::OutageIsServed, "answers-are-fresh");
}

#[test]
fn a_listing_that_goes_on_in_maintenance_is_caught() {
    caught(Planted::ListsInMaintenance, "nobody-is-asked-in-maintenance");
}

#[test]
fn an_outbox_that_is_not_read_is_caught() {
    caught(Planted::OutboxIsNotRead, "freed-versions-leave");
}

#[test]
fn a_leader_that_acknowledges_what_no_quorum_has_is_caught() {
    caught_with_three(Planted::QuorumIsOne, "logs-agree");
}

#[test]
fn reads_of_a_master_that_was_deposed_and_does_not_know_it_are_caught() {
    caught_with_three(Planted::ReadsAreNotConfirmed, "changes-are-seen");
    caught_with_three(Planted::ReadsAreNotConfirmed, "news-are-heard");
}

#[test]
fn a_new_leader_that_takes_what_it_knows_for_compared_is_caught() {
    caught_with_three(Planted::TakeOverIsCheck, "answers-are-fresh");
}

#[test]
fn a_change_that_is_made_again_by_the_next_leader_is_caught() {
    caught_with_three(Planted::RetryIsNew, "changes-are-made-once");
}

#[test]
fn a_master_that_was_deposed_and_goes_on_with_a_listing_in_maintenance_is_caught() {
    caught_with_three(Planted::ModeIsLocal, "nobody-is-asked-in-maintenance");
}

#[test]
fn differences_that_do_not_say_when_their_listing_began_are_caught() {
    caught_with_three(Planted::ListingIsYoung, "answers-are-fresh");
}

#[test]
fn a_violation_is_shrunk_to_fewer_kinds_of_trouble_and_shown_with_what_happened_to_the_name() {
    let rule = "answers-are-fresh";
    let seed = caught(Planted::CutListingRemoves, rule);
    let plan = Plan::new(seed, STEPS).with(Planted::CutListingRemoves);
    let violation = run(&plan).violation.expect("it was just found");
    let (smaller, shrunk) = shrink(&plan, &violation);
    assert_eq!(shrunk.rule, rule);
    assert!(smaller.faults.len() < plan.faults.len() && smaller.faults.is_subset(&plan.faults));
    assert_eq!(run(&smaller).violation, Some(shrunk.clone()), "the smaller plan repeats it");
    assert!(shrunk.trace.iter().any(|line| line.contains("VIOLATION")), "{:#?}", shrunk.trace);
}
