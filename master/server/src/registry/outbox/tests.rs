//! What each worker is told of the rows of the outbox, and when they are done.

use super::super::tests::{LOST_AFTER, at, file, leading, register};
use super::super::{Heartbeat, Holding};
use super::*;
use forebay_types::{ByteCount, FileId};

const ONE: WorkerId = WorkerId::new(1);
const TWO: WorkerId = WorkerId::new(2);
const BEGIN: OutboxSequence = OutboxSequence::new(0);

const fn row(number: u64) -> OutboxSequence {
    OutboxSequence::new(number)
}

/// Workers, the outbox, and a master that sees both.
struct Scene {
    registry: Registry,
    rows: Vec<(OutboxSequence, OutboxRow)>,
    now: u64,
    lives: std::collections::BTreeMap<WorkerId, u64>,
    taken: std::collections::BTreeMap<WorkerId, u64>,
}

impl Scene {
    /// Each of `rows` frees one version, the one of its number.
    fn new(rows: u64) -> Self {
        let free = |number| OutboxRow { task: Task::FreeVersions(vec![file(number)]) };
        Self {
            registry: leading(),
            rows: (1..=rows).map(|number| (row(number), free(number))).collect(),
            now: 0,
            lives: Default::default(),
            taken: Default::default(),
        }
    }

    fn last(&self) -> OutboxSequence {
        self.rows.last().map_or(BEGIN, |(sequence, _)| *sequence)
    }

    fn register(&mut self, worker: WorkerId) {
        let life = register(&mut self.registry, at(self.now), worker, "a:1");
        self.lives.insert(worker, life);
        self.taken.insert(worker, 0);
    }

    /// A heartbeat with these versions; what it is told. It takes that at once.
    fn beat(&mut self, worker: WorkerId, held: &[FileId]) -> Vec<FileId> {
        self.now += 1;
        let holding = Holding { cached: ByteCount::new(3), complete: true };
        let versions: Vec<_> = held.iter().map(|file| (*file, holding)).collect();
        let (life, now) = (self.lives[&worker], at(self.now));
        assert!(self.registry.heartbeat(now, worker, life, Heartbeat::default(), &versions));
        let list = self.registry.forget_list(worker, Some(self.taken[&worker]));
        self.taken.insert(worker, list.sequence);
        list.files
    }

    /// Two heartbeats of a worker that has nothing to report, and a look; what it is told.
    fn pass(&mut self, worker: WorkerId) -> Vec<FileId> {
        let told = [self.beat(worker, &[]), self.beat(worker, &[])].concat();
        self.look();
        told
    }

    /// One look of the master, with pages of two rows.
    fn look(&mut self) {
        self.registry.look_at_outbox(self.last());
        while let Some(after) = self.registry.outbox_wanted() {
            let page: Vec<_> =
                self.rows.iter().filter(|(sequence, _)| *sequence > after).take(2).cloned().collect();
            let through = if page.len() == 2 { page[1].0 } else { row(u64::MAX) };
            self.registry.tell_outbox(after, &page, through);
        }
    }

    fn done(&self) -> OutboxSequence {
        self.registry.outbox_done(self.last())
    }
}

#[test]
fn a_worker_that_has_reported_all_is_told_what_it_holds_of_rows_that_an_earlier_master_wrote() {
    let mut scene = Scene::new(5);
    scene.register(ONE);
    assert_eq!(scene.beat(ONE, &[file(2), file(5), file(9)]), []);
    scene.look();
    assert_eq!((scene.beat(ONE, &[]), scene.done()), (vec![], BEGIN));
    assert_eq!(scene.beat(ONE, &[]), []);
    scene.look();
    assert_eq!(scene.beat(ONE, &[]), [], "what came while it told its list may follow");
    scene.look();
    assert_eq!(scene.beat(ONE, &[]), [file(2), file(5)]);
    assert_eq!(scene.done(), BEGIN, "it was told and has not taken it");
    assert_eq!(scene.beat(ONE, &[]), []);
    assert_eq!(scene.done(), row(5));
}

#[test]
fn what_was_reported_only_after_the_wake_up_is_told_from_the_row() {
    let mut scene = Scene::new(0);
    scene.register(ONE);
    scene.beat(ONE, &[]);
    scene.look();
    scene.rows = Scene::new(1).rows;
    scene.registry.forget(&[file(1)]);
    assert_eq!(scene.beat(ONE, &[file(1)]), [], "it was not known to hold it");
    let told: Vec<_> = (0..4).flat_map(|_| scene.pass(ONE)).collect();
    assert_eq!(told, [file(1)]);
    assert_eq!(scene.done(), row(1));
}

#[test]
fn a_row_of_which_nobody_holds_anything_is_done_and_nobody_is_told() {
    let mut scene = Scene::new(3);
    scene.register(ONE);
    scene.look();
    assert_eq!(scene.beat(ONE, &[file(7)]), []);
    scene.look();
    assert_eq!(scene.done(), BEGIN, "what it had when they were written may not be reported yet");
    assert_eq!(scene.pass(ONE), []);
    assert_eq!(scene.done(), row(3));
    assert_eq!(scene.pass(ONE), []);
}

#[test]
fn a_worker_that_has_more_to_report_is_waited_for() {
    let mut scene = Scene::new(1);
    scene.register(ONE);
    let many: Vec<_> = (10..10 + limits::REPORTS_CAUGHT_UP_BELOW as u64).map(file).collect();
    for _ in 0..4 {
        scene.beat(ONE, &many);
        scene.look();
    }
    assert_eq!(scene.done(), BEGIN);
    scene.beat(ONE, &[file(1)]);
    let told: Vec<_> = (0..3).flat_map(|_| scene.pass(ONE)).collect();
    assert_eq!((told, scene.done()), (vec![file(1)], row(1)));
}

#[test]
fn a_lost_worker_holds_rows_up_until_it_is_back_and_was_told_or_is_not_remembered_any_more() {
    for comes_back in [true, false] {
        let mut scene = Scene::new(0);
        scene.register(ONE);
        scene.register(TWO);
        scene.beat(ONE, &[file(1)]);
        scene.now += 11;
        scene.beat(TWO, &[]);
        assert_eq!(scene.registry.tick(at(scene.now), LOST_AFTER), [ONE]);
        scene.rows = Scene::new(1).rows;
        for _ in 0..4 {
            scene.look();
            scene.beat(TWO, &[]);
            scene.beat(TWO, &[]);
        }
        assert_eq!(scene.done(), BEGIN);
        if comes_back {
            scene.beat(ONE, &[]);
            scene.look();
            scene.beat(ONE, &[]);
            scene.beat(ONE, &[]);
            scene.look();
            assert_eq!(scene.beat(ONE, &[]), [file(1)]);
            scene.beat(ONE, &[]);
        } else {
            scene.now += limits::WORKER_DROPPED_AFTER.as_secs() + 1;
            scene.beat(TWO, &[]);
            scene.registry.tick(at(scene.now), LOST_AFTER);
        }
        assert_eq!(scene.done(), row(1));
    }
}

#[test]
fn a_worker_that_begins_a_new_life_is_compared_with_all_rows_anew() {
    let mut scene = Scene::new(2);
    scene.register(ONE);
    for _ in 0..3 {
        scene.look();
        scene.beat(ONE, &[]);
        scene.beat(ONE, &[]);
    }
    assert_eq!(scene.done(), row(2));
    scene.register(ONE);
    assert_eq!(scene.done(), BEGIN);
    let told: Vec<_> = (0..3)
        .flat_map(|_| {
            scene.look();
            [scene.beat(ONE, &[file(2)]), scene.beat(ONE, &[])].concat()
        })
        .collect();
    assert_eq!(told, [file(2)]);
    scene.beat(ONE, &[]);
    assert_eq!(scene.done(), row(2));
}

#[test]
fn a_worker_with_much_to_forget_is_told_more_once_it_has_taken_that() {
    let count = limits::FORGET_AHEAD_MAX as u64 + 10;
    let mut scene = Scene::new(count);
    scene.register(ONE);
    let all: Vec<_> = (1..=count).map(file).collect();
    scene.beat(ONE, &all);
    for _ in 0..2 {
        scene.look();
        scene.beat(ONE, &[]);
        scene.beat(ONE, &[]);
    }
    let waiting = scene.registry.workers[&ONE].forgetting.len();
    assert!(waiting <= limits::FORGET_AHEAD_MAX, "{waiting} wait");
    scene.look();
    let mut told = 0;
    while scene.done() < row(count) {
        let list = scene.beat(ONE, &[]);
        assert!(list.len() <= limits::FORGET_PER_HEARTBEAT_MAX);
        told += list.len() as u64;
        scene.look();
    }
    assert!(told <= count, "each is told once");
}

#[test]
fn a_worker_that_can_be_told_again_meanwhile_misses_no_row_before_the_page() {
    let mut scene = Scene::new(3);
    scene.register(ONE);
    scene.register(TWO);
    for _ in 0..2 {
        scene.registry.look_at_outbox(row(3));
        for worker in [ONE, TWO] {
            scene.beat(worker, &[file(1)]);
            scene.beat(worker, &[]);
        }
    }
    scene.registry.look_at_outbox(row(3));
    let page = scene.rows.clone();
    // The page after row 1 is read for one that is as far; the other is not, and was not looked for.
    scene.registry.tell_outbox(row(1), &page[1..], row(u64::MAX));
    assert_eq!(scene.registry.outbox_wanted(), Some(BEGIN));
    scene.look();
    assert_eq!((scene.beat(ONE, &[]), scene.beat(TWO, &[])), (vec![file(1)], vec![file(1)]));
}

#[test]
fn without_workers_all_rows_are_done() {
    assert_eq!(Scene::new(3).done(), row(3));
}

#[test]
fn a_master_that_takes_over_tells_what_workers_hold_of_all_rows_whoever_told_it_before() {
    let mut scene = Scene::new(3);
    scene.registry.follow();
    scene.register(ONE);
    scene.beat(ONE, &[file(1), file(3)]);
    // The wake-ups came here, too, and the leader of before may have told it or not.
    scene.registry.forget(&[file(1), file(3)]);
    (0..4).for_each(|_| assert_eq!(scene.beat(ONE, &[]), []));
    scene.registry.lead(at(scene.now), 2);
    scene.look();
    assert_eq!(scene.done(), BEGIN, "nothing is done that was not compared");
    let told: Vec<_> = (0..4).flat_map(|_| scene.pass(ONE)).collect();
    assert_eq!(told, [file(1), file(3)]);
    scene.beat(ONE, &[]);
    assert_eq!(scene.done(), row(3));
}

#[test]
fn what_was_told_in_an_earlier_reign_and_not_taken_is_told_again_before_its_row_is_done() {
    let mut scene = Scene::new(1);
    scene.register(ONE);
    scene.beat(ONE, &[file(1)]);
    let mut told = Vec::new();
    while told.is_empty() {
        told = scene.pass(ONE);
    }
    // It was told, and never says that it took it.
    scene.taken.insert(ONE, 0);
    scene.registry.follow();
    scene.registry.lead(at(scene.now), 2);
    scene.look();
    assert_eq!(scene.done(), BEGIN);
    let told: Vec<_> = (0..4).flat_map(|_| scene.pass(ONE)).collect();
    assert_eq!(told, [file(1)]);
    scene.beat(ONE, &[]);
    assert_eq!(scene.done(), row(1));
}

#[test]
fn a_row_is_overdue_from_when_it_was_first_seen_as_the_oldest_and_could_have_gone() {
    let mut registry = leading();
    registry.note_oldest_row(Some(row(1)), at(10), at(50));
    assert_eq!(registry.outbox_overdue(at(40)), Duration::ZERO, "rows do not go yet");
    registry.note_oldest_row(Some(row(1)), at(60), at(50));
    assert_eq!(registry.outbox_overdue(at(60)), Duration::from_secs(10));
    registry.note_oldest_row(Some(row(2)), at(70), at(50));
    assert_eq!(registry.outbox_overdue(at(75)), Duration::from_secs(5));
    registry.note_oldest_row(None, at(80), at(50));
    assert_eq!(registry.outbox_overdue(at(90)), Duration::ZERO);
}
