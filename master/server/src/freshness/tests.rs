//! What is fresh, what is due, and what is asked for alone.

use super::*;

const DIRECTORY: InodeId = InodeId::new(7);

fn at(seconds: u64) -> BootInstant {
    BootInstant::from_boot(Duration::from_secs(seconds))
}

fn bound(seconds: u64) -> Freshness {
    Freshness::Bound(Duration::from_secs(seconds))
}

#[test]
fn a_listing_serves_until_its_bound_and_is_renewed_when_well_over_half_of_it_is_over() {
    let mut checks = Checks::default();
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(0)), Verdict::Over);
    checks.listed(DIRECTORY, bound(60), at(0), Duration::ZERO);
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(10)), Verdict::Fresh(Duration::from_secs(50)));
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(40)), Verdict::Aging(Duration::from_secs(20)));
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(60)), Verdict::Over);
    assert_eq!(checks.verdict(DIRECTORY, bound(0), at(0)), Verdict::Over);
}

#[test]
fn a_reader_goes_on_with_what_was_fresh_when_it_began_or_is_younger() {
    let mut checks = Checks::default();
    assert!(!checks.is_good_for(DIRECTORY, bound(60), at(100)), "never listed");
    checks.listed(DIRECTORY, bound(60), at(100), Duration::ZERO);
    for (begun, is_good) in [(50, true), (100, true), (159, true), (160, false)] {
        assert_eq!(checks.is_good_for(DIRECTORY, bound(60), at(begun)), is_good, "{begun}");
    }
    assert!(
        checks.is_good_for(DIRECTORY, bound(0), at(100)) && !checks.is_good_for(DIRECTORY, bound(0), at(101))
    );
    assert!(checks.is_good_for(DIRECTORY, Freshness::Immutable, at(1 << 30)));
    checks.failed(DIRECTORY, bound(60), at(120));
    assert!(checks.is_good_for(DIRECTORY, bound(60), at(110)), "an outage since changes nothing");
}

#[test]
fn an_immutable_mount_is_listed_once() {
    let mut checks = Checks::default();
    assert_eq!(checks.verdict(DIRECTORY, Freshness::Immutable, at(0)), Verdict::Over);
    checks.listed(DIRECTORY, Freshness::Immutable, at(0), Duration::ZERO);
    let verdict = checks.verdict(DIRECTORY, Freshness::Immutable, at(1 << 30));
    assert_eq!(verdict, Verdict::Fresh(limits::IMMUTABLE_VALIDITY));
}

#[test]
fn a_failed_listing_is_not_tried_again_at_once_and_never_makes_old_news_fresh() {
    let mut checks = Checks::default();
    checks.listed(DIRECTORY, bound(60), at(0), Duration::ZERO);
    checks.failed(DIRECTORY, bound(60), at(100));
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(101)), Verdict::OverAndFailing);
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(103)), Verdict::Over);
}

#[test]
fn an_outage_of_very_many_directories_is_remembered_within_the_maximum() {
    let mut checks = Checks::default();
    let directories = limits::CHECKED_DIRECTORIES_MAX as u64 + 10;
    (0..directories).for_each(|directory| checks.failed(InodeId::new(directory), bound(60), at(directory)));
    assert!(checks.directories.len() <= limits::CHECKED_DIRECTORIES_MAX);
    assert_eq!(checks.due.len(), checks.directories.len());
    let last = InodeId::new(directories - 1);
    assert_eq!(checks.verdict(last, bound(60), at(directories)), Verdict::OverAndFailing);
}

#[test]
fn a_listing_that_began_earlier_does_not_make_a_later_one_younger() {
    let mut checks = Checks::default();
    checks.listed(DIRECTORY, bound(60), at(10), Duration::ZERO);
    checks.listed(DIRECTORY, bound(60), at(5), Duration::ZERO);
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(20)), Verdict::Fresh(Duration::from_secs(50)));
}

#[test]
fn a_directory_in_use_is_due_from_half_of_its_freshness_on_and_one_that_nobody_asks_about_no_more() {
    let mut checks = Checks::default();
    // From half of it to five eighths.
    let (early, late) = (29, 38);
    checks.listed(DIRECTORY, bound(60), at(0), Duration::ZERO);
    assert_eq!(checks.take_due(at(early), 9), []);
    checks.verdict(DIRECTORY, bound(60), at(10));
    assert_eq!(checks.take_due(at(late), 9), [DIRECTORY]);
    assert_eq!(checks.take_due(at(late + 1), 9), [], "it is being listed");
    checks.listed(DIRECTORY, bound(60), at(late), Duration::ZERO);
    assert_eq!(checks.take_due(at(late + early), 9), []);
    assert_eq!(checks.take_due(at(late + late), 9), [DIRECTORY]);
    checks.failed(DIRECTORY, bound(60), at(80));
    assert_eq!((checks.take_due(at(94), 9), checks.take_due(at(95), 9)), (vec![], vec![DIRECTORY]));
    checks.listed(DIRECTORY, bound(60), at(110), Duration::ZERO);
    assert_eq!(checks.take_due(at(150), 9), [DIRECTORY]);
    checks.listed(DIRECTORY, bound(60), at(153), Duration::ZERO);
    assert_eq!(checks.take_due(at(191), 9), [], "the last question was over three minutes ago");
    checks.verdict(DIRECTORY, bound(60), at(192));
    checks.listed(DIRECTORY, bound(60), at(193), Duration::ZERO);
    assert_eq!(checks.take_due(at(193 + late), 9), [DIRECTORY]);
}

#[test]
fn what_was_used_under_a_grant_for_all_of_it_is_in_use_for_twice_the_freshness_from_then() {
    let mut checks = Checks::default();
    checks.listed(DIRECTORY, bound(60), at(0), Duration::ZERO);
    // A client gets a grant for a minute, and opens by it until that is over, of which the master hears nothing.
    checks.verdict(DIRECTORY, bound(60), at(0));
    for renewed in [40_u64, 80, 120, 160] {
        assert_eq!(checks.take_due(at(renewed), 9), [DIRECTORY], "{renewed} s after the question");
        checks.listed(DIRECTORY, bound(60), at(renewed), Duration::ZERO);
    }
    assert_eq!(checks.take_due(at(199), 9), [], "it was used over two minutes ago");
}

#[test]
fn a_directory_that_was_listed_and_about_which_nobody_asks_is_not_renewed_for_ever() {
    let (mut checks, mut now, mut renewals) = (Checks::default(), 0, 0);
    checks.listed(DIRECTORY, bound(60), at(0), Duration::ZERO);
    while now < 10_000 {
        now += 1;
        for due in checks.take_due(at(now), 9) {
            checks.listed(due, bound(60), at(now), Duration::ZERO);
            renewals += 1;
        }
    }
    // Three minutes, at half a minute each at the least.
    assert!((1..=6).contains(&renewals), "{renewals}");
}

#[test]
fn directories_that_were_listed_at_once_are_not_due_at_once() {
    let times: std::collections::BTreeSet<_> =
        (1..100).map(|id| due_after(InodeId::new(id), Duration::from_secs(60))).collect();
    assert!(times.len() > 50, "{times:?}");
    assert!(times.iter().all(|due| (30..38).contains(&due.as_secs())), "{times:?}");
}

#[test]
fn what_never_changes_and_what_is_asked_for_each_time_is_never_due() {
    for freshness in [Freshness::Immutable, bound(0)] {
        let mut checks = Checks::default();
        checks.listed(DIRECTORY, freshness, at(0), Duration::ZERO);
        assert_eq!(checks.take_due(at(1 << 30), 9), []);
        checks.listed(DIRECTORY, bound(60), at(1 << 30), Duration::ZERO);
        checks.listed(DIRECTORY, freshness, at((1 << 30) + 1), Duration::ZERO);
        assert!(checks.due.is_empty(), "the mount has another freshness now");
    }
}

#[test]
fn clients_lag_behind_by_the_coherence_bound_at_most_unless_they_hear_of_changes() {
    let minute = Duration::from_secs(60);
    let relaxed = Validity { alone: limits::COHERENCE_BOUND, granted: minute };
    assert_eq!(validity(minute, bound(60), Coherence::Relaxed), relaxed);
    assert_eq!(validity(minute, bound(60), Coherence::Strict), Validity::default());
    let immutable = Validity { alone: minute, granted: minute };
    assert_eq!(validity(minute, Freshness::Immutable, Coherence::Relaxed), immutable);
}

#[test]
fn a_directory_is_dear_while_its_last_listing_cost_more_than_the_bound_and_is_never_due_then() {
    let seconds = Duration::from_secs;
    let mut checks = Checks::default();
    assert!(!checks.is_dear(DIRECTORY, bound(60)), "nobody knows");
    checks.listed(DIRECTORY, bound(60), at(0), seconds(60));
    assert!(!checks.is_dear(DIRECTORY, bound(60)) && checks.is_dear(DIRECTORY, bound(59)));
    checks.takes(DIRECTORY, seconds(50));
    assert!(!checks.is_dear(DIRECTORY, bound(60)), "a listing that is not over cost less so far");
    checks.takes(DIRECTORY, seconds(61));
    assert!(checks.is_dear(DIRECTORY, bound(60)));
    assert_eq!(checks.take_due(at(60), 9), [], "it has become dear since");
    checks.listed(DIRECTORY, bound(60), at(100), seconds(61));
    checks.failed(DIRECTORY, bound(60), at(200));
    assert!(checks.due.is_empty());
    checks.listed(DIRECTORY, bound(60), at(300), seconds(1));
    assert!(!checks.is_dear(DIRECTORY, bound(60)) && !checks.due.is_empty());
    assert!(!checks.is_dear(DIRECTORY, Freshness::Immutable));
    assert!(checks.is_dear(DIRECTORY, bound(0)) && checks.is_dear(InodeId::new(8), bound(0)));
}

#[test]
fn whether_a_directory_is_still_dear_is_learned_once_in_a_while_and_not_by_listing_it_without_pause() {
    let memory = limits::LISTING_COST_MEMORY.as_secs();
    for cost in [61, memory] {
        let mut checks = Checks::default();
        checks.listed(DIRECTORY, bound(60), at(0), Duration::from_secs(cost));
        let pause = memory.max(cost * u64::from(limits::LISTING_COST_PART));
        assert!(!checks.take_to_measure(DIRECTORY, bound(60), at(pause - 1)));
        assert!(checks.take_to_measure(DIRECTORY, bound(60), at(pause)));
        assert!(!checks.take_to_measure(DIRECTORY, bound(60), at(pause + 1)), "it was told");
        assert!(checks.take_to_measure(DIRECTORY, bound(60), at(2 * pause)), "it failed, perhaps");
        assert!(!checks.take_to_measure(DIRECTORY, Freshness::Immutable, at(9 * pause)));
        assert!(!checks.take_to_measure(DIRECTORY, bound(0), at(9 * pause)), "always dear");
    }
}

#[test]
fn an_answer_about_a_single_name_ends_an_outage_and_makes_nothing_else_fresh() {
    let mut checks = Checks::default();
    checks.answered(DIRECTORY, at(5));
    assert_eq!(checks.last_used(DIRECTORY), Some(at(5)), "all that is known after a fail-over");
    checks.failed(DIRECTORY, bound(60), at(10));
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(11)), Verdict::OverAndFailing);
    checks.answered(DIRECTORY, at(11));
    assert_eq!(checks.verdict(DIRECTORY, bound(60), at(11)), Verdict::Over);
}
