//! Histories that are right by how they were made are accepted, those of broken clusters are not, and a search without any
//! cleverness agrees with ours.

use proptest::prelude::*;

use super::conflicts::conflict;
use super::*;
use crate::operation::{Answer, Operation, Outcome, Refusal};
use crate::planted::{Fault, Twin, plant};
use crate::tree::Tree;

fn history(lines: &str) -> History {
    format!("forebay-history 1\n{lines}").parse().expect("a history")
}

fn verdict(lines: &str) -> Checked {
    check(&history(lines))
}

fn is_accepted(history: &History) -> bool {
    matches!(check(history), Checked::Linearizable(_))
}

fn is_violated(history: &History) -> bool {
    matches!(check(history), Checked::Violated(_))
}

#[test]
fn operations_that_overlap_may_have_been_in_either_order() {
    let made =
        "op 1 0 1 mkdir /a 0001 = made 2\nop 1 10 30 chmod /a 0002 = done\nop 2 20 40 chmod /a 0003 = done\n";
    for (last, is_right) in [("0002", true), ("0003", true), ("0001", false)] {
        let history = history(&format!("{made}op 3 50 51 stat /a = seen 2 {last}\n"));
        assert_eq!(is_accepted(&history), is_right, "{last}");
    }
}

#[test]
fn what_nobody_knows_may_be_carried_out_at_any_later_time_or_never() {
    let unknown = "op 1 0 5 mkdir /a 0001 = unknown gone\n";
    for reads in [
        "op 2 10 11 stat /a = refused not-found\nop 2 20 21 stat /a = seen 2 0001\n",
        "op 2 10 11 stat /a = refused not-found\nop 2 20 21 stat /a = refused not-found\n",
    ] {
        assert!(is_accepted(&history(&format!("{unknown}{reads}"))), "{reads}");
    }
    let twice =
        "op 2 10 11 stat /a = seen 2 0001\nop 2 12 13 rmdir /a = done\nop 2 20 21 stat /a = seen 2 0001\n";
    let Checked::Violated(violation) = verdict(&format!("{unknown}{twice}")) else {
        panic!("it was carried out twice")
    };
    assert_eq!(violation.recorded.to_string(), "2 20 21 stat /a = seen 2 0001");
    assert_eq!((&violation.trees[..], violation.trees_count), (&["{}".to_owned()][..], 1));
}

#[test]
fn an_unknown_outcome_that_answers_show_is_unknown_no_more() {
    let lines = "op 1 0 5 mkdir /a 0001 = unknown gone\nop 2 10 11 stat /a = seen 2 0001\n";
    let Checked::Linearizable(effort) = verdict(lines) else { panic!("it is right") };
    assert_eq!((effort.unknown_found_done, effort.quiet_points), (1, 1));
}

#[test]
fn a_read_without_an_answer_tells_nothing() {
    let lines = "op 1 0 1 mkdir /a 0001 = made 2\nop 2 10 11 stat /a = unknown gone\n";
    assert!(matches!(verdict(lines), Checked::Linearizable(_)));
}

#[test]
fn a_violation_says_what_was_possible_and_what_was_under_way() {
    let lines =
        "op 1 0 1 mkdir /a 0001 = made 2\nop 2 2 9 mkdir /b 0002 = made 3\nop 3 3 4 list 1 = names a c\n";
    assert_eq!(
        verdict(lines).to_string(),
        "not linearizable: nothing explains `3 3 4 list 1 = names a c`\n  1 trees were possible before, among them:\n    \
         {/a 2 0001}\n  under way, or given up with an unknown outcome: 1\n    2 2 9 mkdir /b 0002 = made 3"
    );
}

#[test]
fn more_than_a_check_may_hold_is_not_decided() {
    let unknown: String =
        (0..200).map(|n| format!("op {n} {n} 900 mkdir /a{n} 0001 = unknown gone\n")).collect();
    let Checked::NotDecided { bound, returned } = verdict(&unknown) else { panic!("too many") };
    assert_eq!((bound, returned), ("the bound of operations under way", 0));
    let unknown: String =
        (0..60).map(|n| format!("op {n} {n} 900 mkdir /a{n} 0001 = unknown gone\n")).collect();
    let hopeless = history(&format!("{unknown}op 90 1000 1001 list 1 = refused not-found\n"));
    let bounds = |configurations, steps, trees| Bounds { configurations, steps, trees };
    for (bounds, bound) in [
        (bounds(1000, 1_000_000, 1_000_000), "the bound of ways of the past"),
        (bounds(1_000_000, 1000, 1_000_000), "the bound of operations that are tried"),
        (bounds(1_000_000, 1_000_000, 1000), "the bound of trees"),
    ] {
        assert_eq!(check_within(&hopeless, bounds), Checked::NotDecided { bound, returned: 1 });
    }
}

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn path(&mut self) -> String {
        let name = |dice: &mut Self| ["a", "b"][usize::from(dice.below(2) == 0)];
        (0..=self.below(2)).map(|_| format!("/{}", name(self))).collect()
    }

    fn operation(&mut self, mode: u16, last_inode: u64) -> Operation {
        let path = self.path();
        match self.below(8) {
            0..=2 => Operation::MakeDirectory { path, mode },
            3 => Operation::RemoveDirectory { path },
            4 => Operation::Rename { from: path, to: self.path() },
            5 => Operation::SetMode { path, mode },
            6 => Operation::Stat { path },
            _ => Operation::List { inode: 1 + self.below(last_inode) },
        }
    }
}

/// What a cluster that carries out one operation after the other answers to random ones, with calls and returns around those
/// moments. Some outcomes are not known, whether the operation was carried out or not. A broken cluster does each of so many
/// operations as the fault says.
fn executed(seed: u64, count: u64, overlap: u64, broken: Option<Fault>) -> History {
    let mut dice = Dice(seed);
    let (mut tree, mut before) = (Tree::default(), Tree::default());
    let mut history = History { seed, ..History::default() };
    let mut last_inode = 1;
    for number in 0..count {
        let moment = 1_000 * (number + 1) + overlap;
        let operation = dice.operation(u16::try_from(number).expect("few"), last_inode);
        let fault = broken.filter(|_| dice.below(4) == 0);
        let (was, is_unknown) = (tree.clone(), dice.below(if count > 200 { 60 } else { 12 }) == 0);
        let is_carried_out = !is_unknown || dice.below(2) == 0;
        let made = (!is_unknown).then_some(last_inode + 1);
        let told = match fault {
            Some(Fault::StaleRead) if !operation.is_mutation() => before.apply(&operation, made),
            Some(Fault::LostWrite) => tree.clone().apply(&operation, made),
            _ if !is_carried_out => Ok(Answer::Done),
            _ => tree.apply(&operation, made),
        };
        if fault == Some(Fault::DoubleExecution) {
            // Whatever lies between the two is what was done before it; the second time is after one more change.
            let _ = tree.apply(&Operation::RemoveDirectory { path: operation_path(&operation) }, None);
            let _ = tree.apply(&operation, Some(last_inode + 2));
        }
        if fault == Some(Fault::Inversion) {
            tree = was.clone();
        }
        if tree != was {
            before = was;
        }
        last_inode += 2;
        let outcome = match told {
            // What nobody was told the id of is told by nobody.
            Ok(Answer::Seen { inode: 0, mode }) => {
                Outcome::Ok(Answer::Seen { inode: 9_000 + u64::from(mode), mode })
            }
            _ if is_unknown => Outcome::Unknown("gone".into()),
            Ok(answer) => Outcome::Ok(answer),
            Err(refusals) => Outcome::Refused(*refusals.first().expect("a reason")),
        };
        let (called, returned) = (moment - dice.below(overlap + 1), moment + dice.below(overlap + 1));
        history.operations.push(Recorded { client: 1, called, returned, operation, outcome });
    }
    history
}

fn operation_path(operation: &Operation) -> String {
    match operation {
        Operation::Rename { to: path, .. }
        | Operation::MakeDirectory { path, .. }
        | Operation::RemoveDirectory { path }
        | Operation::SetMode { path, .. }
        | Operation::Stat { path } => path.clone(),
        Operation::List { .. } => "/a".to_owned(),
    }
}

/// Tries each order, and for unknown outcomes also to leave them out.
fn is_linearizable_by_trying_all(tree: &Tree, left: &[&Recorded]) -> bool {
    let must_be: Vec<_> = left.iter().filter(|of| !of.outcome.is_unknown()).collect();
    let Some(first_return) = must_be.iter().map(|of| of.returned).min() else { return true };
    left.iter().enumerate().filter(|(_, of)| of.called <= first_return).any(|(place, chosen)| {
        let mut after = tree.clone();
        if !tree.explains(&chosen.operation, &chosen.outcome) {
            return false;
        }
        if !matches!(chosen.outcome, Outcome::Refused(_)) {
            let made = match chosen.outcome {
                Outcome::Ok(Answer::Made(inode)) => Some(inode),
                _ => None,
            };
            let _ = after.apply(&chosen.operation, made);
        }
        let mut rest = left.to_vec();
        rest.remove(place);
        is_linearizable_by_trying_all(&after, &rest)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_one_tree_answered_is_accepted_however_calls_overlap(seed: u64, overlap in 0..5_000_u64) {
        let history = executed(seed, 120, overlap, None);
        let checked = check(&history);
        prop_assert!(matches!(checked, Checked::Linearizable(_)), "{checked}\n{history}");
    }

    #[test]
    fn operations_that_do_not_conflict_can_change_places(seed: u64) {
        let mut dice = Dice(seed);
        let mut tree = Tree::default();
        for number in 2..20 {
            let _ = tree.apply(&dice.operation(number, 20), Some(u64::from(number)));
        }
        let (one, other) = (dice.operation(30, 20), dice.operation(31, 20));
        let [mut first, mut second] = [tree.clone(), tree.clone()];
        let told = (first.apply(&one, Some(30)), first.apply(&other, Some(31)));
        let told_in_turn = (second.apply(&other, Some(31)), second.apply(&one, Some(30)));
        let same = first == second && told == (told_in_turn.1, told_in_turn.0);
        prop_assert!(same || conflict(&one, &other), "{one}, {other}: {tree}");
    }

    #[test]
    fn trying_all_orders_says_the_same(seed: u64, overlap in 0..4_000_u64, broken: bool) {
        let mut history = executed(seed, 9, overlap, broken.then_some(Fault::StaleRead));
        if broken {
            let mut dice = Dice(seed ^ 1);
            let place = usize::try_from(dice.below(9)).expect("few");
            history.operations[place].outcome = match dice.below(3) {
                0 => Outcome::Refused(Refusal::NotFound),
                1 => Outcome::Refused(Refusal::Exists),
                _ => Outcome::Ok(Answer::Done),
            };
        }
        let all: Vec<_> = history.operations.iter().collect();
        prop_assert_eq!(is_accepted(&history), is_linearizable_by_trying_all(&Tree::default(), &all), "{}", history);
    }

    #[test]
    fn planted_faults_are_found_and_their_right_twins_are_not(seed: u64, overlap in 0..3_000_u64, at in 0..100_usize) {
        let history = executed(seed, 100, overlap, None);
        let at = history.operations[at].returned;
        for fault in Fault::ALL {
            prop_assert!(is_violated(&plant(&history, at, fault, Twin::Faulty)), "{fault:?} at {at}\n{history}");
            prop_assert!(is_accepted(&plant(&history, at, fault, Twin::Right)), "{fault:?} at {at}\n{history}");
        }
    }
}

#[test]
fn clusters_that_break_a_promise_now_and_then_are_found_out() {
    for fault in Fault::ALL {
        let checked: Vec<_> = (0..50).map(|seed| check(&executed(seed, 400, 300, Some(fault)))).collect();
        let found = checked.iter().filter(|checked| matches!(checked, Checked::Violated(_))).count();
        let undecided =
            checked.iter().filter(|checked| matches!(checked, Checked::NotDecided { .. })).count();
        assert!(
            found >= 40 && undecided == 0,
            "{fault:?}: {found} of 50 were found, {undecided} not decided"
        );
    }
}
