//! Every way in which what has returned can be explained.
//!
//! What keeps it small: an answered read or a refusal is taken as soon as the tree explains it, since it changes nothing; and of two
//! ways to the same tree the one is dropped that has used up more of what nobody saw the outcome of.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::conflicts::conflict;
use super::trees::{TreeId, Trees};
use super::{Effort, Violation};
use crate::history::Recorded;
use crate::limits::{CONFIGURATIONS_MAX, STEPS_MAX, TREES_MAX, TREES_SHOWN_MAX, UNDER_WAY_MAX};
use crate::operation::Outcome;

/// A set of places.
type Places = u128;

/// The bound that a check has met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound(pub(super) &'static str);

/// What one check may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) configurations: usize,
    pub(super) steps: u64,
    pub(super) trees: usize,
}

/// One way of the past: the tree that it leads to, and what of what is under way it has carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Configuration {
    tree: TreeId,
    done: Places,
}

#[derive(Debug)]
pub(super) struct Frontier<'a> {
    operations: &'a [Recorded],
    trees: Trees<'a>,
    configurations: HashSet<Configuration>,
    /// The operations under way, each at its place.
    places: [Option<usize>; UNDER_WAY_MAX],
    /// Those that change nothing: answered reads, and refusals.
    reading: Places,
    /// Those that change the tree, and those of them that nobody knows the outcome of.
    changing: Places,
    unknown: Places,
    bounds: Bounds,
    effort: Effort,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { configurations: CONFIGURATIONS_MAX, steps: STEPS_MAX, trees: TREES_MAX }
    }
}

impl<'a> Frontier<'a> {
    /// Nothing has happened, and the tree is empty.
    pub(super) fn new(operations: &'a [Recorded], bounds: Bounds) -> Self {
        Self {
            operations,
            trees: Trees::new(operations, bounds.trees),
            configurations: HashSet::from([Configuration { tree: 0, done: 0 }]),
            places: [None; UNDER_WAY_MAX],
            reading: 0,
            changing: 0,
            unknown: 0,
            bounds,
            effort: Effort { configurations_most: 1, ..Effort::default() },
        }
    }

    pub(super) const fn effort(&self) -> Effort {
        self.effort
    }

    /// Nothing explains what has returned.
    pub(super) fn is_empty(&self) -> bool {
        self.configurations.is_empty()
    }

    /// An operation began.
    pub(super) fn call(&mut self, operation: usize) -> Result<(), Bound> {
        let place =
            self.places.iter().position(Option::is_none).ok_or(Bound("the bound of operations under way"))?;
        self.places[place] = Some(operation);
        let Recorded { operation: asked, outcome, .. } = &self.operations[operation];
        if asked.is_mutation() && !matches!(outcome, Outcome::Refused(_)) {
            self.changing |= 1 << place;
            if outcome.is_unknown() {
                self.unknown |= 1 << place;
            }
            return Ok(());
        }
        self.reading |= 1 << place;
        let before = std::mem::take(&mut self.configurations);
        for configuration in before {
            let settled = self.settled(configuration)?;
            self.configurations.insert(settled);
        }
        Ok(())
    }

    /// An operation returned: what has not carried it out carries it out now, after whatever of the rest makes that possible.
    pub(super) fn take_return(&mut self, operation: usize) -> Result<(), Bound> {
        let place = self.places.iter().position(|at| *at == Some(operation)).expect("it was called");
        let relevant = self.relevant(place);
        let mut open: Vec<_> = std::mem::take(&mut self.configurations).into_iter().collect();
        let mut met: HashSet<_> = open.iter().copied().collect();
        let mut explained = HashSet::new();
        while let Some(configuration) = open.pop() {
            if configuration.done & (1 << place) != 0 {
                explained.insert(Configuration { done: configuration.done & !(1 << place), ..configuration });
                continue;
            }
            for next in self.next(configuration, relevant)? {
                if met.insert(next) {
                    open.push(next);
                }
            }
            if met.len() > self.bounds.configurations {
                return Err(Bound("the bound of ways of the past"));
            }
        }
        self.effort.configurations_most = self.effort.configurations_most.max(met.len());
        self.places[place] = None;
        self.reading &= !(1 << place);
        self.changing &= !(1 << place);
        self.configurations = self.without_the_dominated(explained);
        self.retire();
        self.effort.quiet_points += usize::from((self.reading | self.changing) & !self.unknown == 0);
        Ok(())
    }

    /// Of the changes under way those whose order with the operation at `place` can matter, directly or by others of them. All
    /// others can be carried out after it just as well.
    fn relevant(&self, place: usize) -> Places {
        let at = |place: usize| &self.operations[self.places[place].expect("it is under way")].operation;
        let (mut relevant, mut open) = (1 << place, vec![place]);
        while let Some(one) = open.pop() {
            let mut left = self.changing & !relevant;
            while left != 0 {
                let other = left.trailing_zeros() as usize;
                left &= left - 1;
                if conflict(at(one), at(other)) {
                    relevant |= 1 << other;
                    open.push(other);
                }
            }
        }
        relevant & self.changing
    }

    /// The ways that one more change of these leads to.
    fn next(&mut self, from: Configuration, of: Places) -> Result<Vec<Configuration>, Bound> {
        let (mut next, mut left) = (Vec::new(), of & !from.done);
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            self.effort.steps += 1;
            if self.effort.steps > self.bounds.steps {
                return Err(Bound("the bound of operations that are tried"));
            }
            let operation = self.places[place].expect("what changes a tree is under way");
            let Some(tree) = self.trees.step(from.tree, operation)? else { continue };
            // What changes nothing, and may not have been carried out at all, can just as well wait.
            if tree == from.tree && self.unknown & (1 << place) != 0 {
                continue;
            }
            next.push(self.settled(Configuration { tree, done: from.done | (1 << place) })?);
        }
        Ok(next)
    }

    /// The same way, with all reads and refusals that its tree explains.
    fn settled(&mut self, mut configuration: Configuration) -> Result<Configuration, Bound> {
        let mut left = self.reading & !configuration.done;
        while left != 0 {
            let operation = self.places[left.trailing_zeros() as usize].expect("it is under way");
            if self.trees.step(configuration.tree, operation)?.is_some() {
                configuration.done |= left & left.wrapping_neg();
            }
            left &= left - 1;
        }
        Ok(configuration)
    }

    /// Of the ways that differ only in what of the unknown they have carried out, those that have done least: they can go on in
    /// each way in which the others can.
    fn without_the_dominated(&self, all: HashSet<Configuration>) -> HashSet<Configuration> {
        if self.unknown == 0 {
            return all;
        }
        let mut least: HashMap<(TreeId, Places), Vec<Places>> = HashMap::new();
        for Configuration { tree, done } in all {
            let of_it = least.entry((tree, done & !self.unknown)).or_default();
            let unknown = done & self.unknown;
            if of_it.iter().all(|less| less & unknown != *less) {
                of_it.retain(|more| more & unknown != unknown);
                of_it.push(unknown);
            }
        }
        let ways = least.into_iter().flat_map(|((tree, known), unknown)| {
            unknown.into_iter().map(move |unknown| Configuration { tree, done: known | unknown })
        });
        ways.collect()
    }

    /// What of the unknown each way has carried out is known by now.
    fn retire(&mut self) {
        let in_all = self.configurations.iter().fold(self.unknown, |all, of| all & of.done);
        if in_all == 0 || self.is_empty() {
            return;
        }
        self.effort.unknown_found_done += in_all.count_ones() as usize;
        let before = std::mem::take(&mut self.configurations);
        self.configurations =
            before.into_iter().map(|of| Configuration { done: of.done & !in_all, ..of }).collect();
        self.unknown &= !in_all;
        self.changing &= !in_all;
        for place in (0..UNDER_WAY_MAX).filter(|place| in_all & (1 << place) != 0) {
            self.places[place] = None;
        }
    }

    /// What a violation at the next return would tell.
    pub(super) fn before(&self) -> (BTreeSet<TreeId>, Vec<usize>) {
        let trees = self.configurations.iter().map(|configuration| configuration.tree).collect();
        (trees, self.places.iter().copied().flatten().collect())
    }

    /// That nothing explains the return of `operation`, with what was [`before`](Self::before) it.
    pub(super) fn violation(&self, before: (BTreeSet<TreeId>, Vec<usize>), operation: usize) -> Violation {
        let (trees, under_way) = before;
        let shown = trees.iter().take(TREES_SHOWN_MAX).map(|id| self.trees.tree(*id).to_string());
        let others = under_way.into_iter().filter(|other| *other != operation);
        Violation {
            recorded: self.operations[operation].clone(),
            trees: shown.collect(),
            trees_count: trees.len(),
            under_way: others.map(|other| self.operations[other].clone()).collect(),
        }
    }
}
