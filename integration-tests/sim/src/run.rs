//! Runs plans, and makes one that breaks a rule as small as it can.

use std::rc::Rc;
use std::time::Duration;

use crate::limits::{FREED_WITHIN, MASTERS_AGREE_WITHIN};
use crate::oracle::{Counts, Violation};
use crate::plan::{Fault, Plan};
use crate::random::Random;
use crate::world::World;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Equal for equal runs.
    pub hash: u64,
    /// How much was checked.
    pub counts: Counts,
    /// How much time passed in the simulation.
    pub simulated: Duration,
    /// What was wrong, if anything.
    pub violation: Option<Violation>,
}

/// Runs a plan to its end or the first violation.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    run_with_lines(plan, 0).0
}

/// The same, with the last lines of the trace, whatever they are about.
#[must_use]
pub fn run_with_lines(plan: &Plan, most: usize) -> (Outcome, Vec<String>) {
    let world = World::new(plan.clone());
    let mut random = Random::new(plan.seed, "schedule");
    while world.step.get() < plan.steps && world.oracle.violation().is_none() {
        world.step.set(world.step.get() + 1);
        if !world.executor.step(&mut random) {
            break;
        }
    }
    if world.oracle.violation().is_none() {
        see_what_was_freed_leave(&world, &mut random);
    }
    world.history.compare(&world);
    let outcome = Outcome {
        hash: world.trace.hash(),
        counts: world.oracle.counts(),
        simulated: world.now(),
        violation: world.oracle.violation(),
    };
    let lines = world.trace.about(&[String::new()], most);
    world.end();
    (outcome, lines)
}

/// After the last step: all trouble ends, and what was freed until then must be gone after a while.
fn see_what_was_freed_leave(world: &Rc<World>, random: &mut Random) {
    let (ended_at, committed) = (world.now(), world.history.last());
    crate::trouble::end(world);
    let mut agree = false;
    while world.now() < ended_at + FREED_WITHIN && world.oracle.violation().is_none() {
        if !world.executor.step(random) {
            break;
        }
        if !agree && world.now() >= ended_at + MASTERS_AGREE_WITHIN {
            agree = true;
            world.history.compare_at_the_end(world, committed);
        }
    }
    world.oracle.check_freed(world, ended_at);
}

/// The smallest run found that breaks the same rule: without each kind of trouble that it does not need, and no longer
/// than it needs.
#[must_use]
pub fn shrink(plan: &Plan, violation: &Violation) -> (Plan, Violation) {
    let (mut plan, mut violation) = (plan.clone(), violation.clone());
    plan.steps = violation.step;
    let room = violation.step.saturating_mul(2);
    for fault in Fault::ALL.into_iter().filter(|fault| plan.has(*fault)).collect::<Vec<_>>() {
        let mut fewer = plan.clone();
        fewer.faults.remove(&fault);
        // Other things happen without it, perhaps a little later.
        fewer.steps = room;
        if let Some(found) = run(&fewer).violation.filter(|found| found.rule == violation.rule) {
            fewer.steps = found.step;
            (plan, violation) = (fewer, found);
        }
    }
    (plan, violation)
}
