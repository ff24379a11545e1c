//! Lives of workers as the registry sees them, with a clock that the test moves.

use super::*;
use forebay_types::{Fingerprint, Incarnation, MountId, Timestamp, UnderStoreKey, VersionDescriptor};

pub(super) fn at(seconds: u64) -> BootInstant {
    BootInstant::from_boot(Duration::from_secs(seconds))
}

/// The registry of a master that leads.
pub(super) fn leading() -> Registry {
    let mut registry = Registry::new(1);
    registry.lead(at(0), 1);
    registry
}

pub(super) fn registration(address: &str) -> Registration {
    Registration {
        address: address.to_owned(),
        host: HostId::new("host"),
        local_socket: String::new(),
        group: String::new(),
        tiers: vec![v1::TierUsage { capacity_bytes: 10, ..v1::TierUsage::default() }],
    }
}

pub(super) fn register(registry: &mut Registry, now: BootInstant, id: WorkerId, address: &str) -> u64 {
    registry.register(now, id, registration(address)).expect("there is room")
}

pub(super) fn file(counter: u64) -> FileId {
    FileId { incarnation: Incarnation::new(1), counter }
}

#[test]
fn a_silent_worker_is_lost_and_comes_back_with_a_heartbeat() {
    let mut registry = leading();
    let id = WorkerId::new(1);
    let life = register(&mut registry, at(0), id, "a:1");
    let before = registry.epoch();
    assert!(registry.tick(at(5), Duration::from_secs(10)).is_empty());
    assert_eq!(registry.tick(at(11), Duration::from_secs(10)), [id]);
    assert!(registry.epoch() > before);
    assert!(registry.heartbeat(at(12), id, life, Heartbeat::default(), &[]));
    assert_eq!(registry.map().workers[0].state, WorkerState::Live);
}

#[test]
fn an_earlier_life_is_not_heard_and_its_reports_are_void() {
    let mut registry = leading();
    let id = WorkerId::new(1);
    let old = register(&mut registry, at(0), id, "a:1");
    let holding = Holding { cached: ByteCount::new(3), complete: true };
    assert!(registry.heartbeat(at(0), id, old, Heartbeat::default(), &[(file(1), holding)]));
    let new = register(&mut registry, at(1), id, "a:1");
    assert!(!registry.heartbeat(at(1), id, old, Heartbeat::default(), &[(file(2), holding)]));
    assert!(registry.heartbeat(at(1), id, new, Heartbeat::default(), &[]));
    assert_eq!(registry.locations.of(file(1)).len() + registry.locations.of(file(2)).len(), 0);
}

#[test]
fn only_a_worker_that_holds_a_version_is_told_to_forget_it() {
    let mut registry = leading();
    let (one, two) = (WorkerId::new(1), WorkerId::new(2));
    let life = register(&mut registry, at(0), one, "a:1");
    register(&mut registry, at(0), two, "a:2");
    let holding = Holding { cached: ByteCount::new(3), complete: true };
    assert!(registry.heartbeat(at(0), one, life, Heartbeat::default(), &[(file(1), holding)]));
    registry.forget(&[file(1), file(2)]);
    let list = registry.forget_list(one, Some(0));
    assert_eq!(list.files, [file(1)]);
    assert!(registry.forget_list(two, Some(0)).files.is_empty());
    assert!(registry.forget_list(one, Some(list.sequence)).files.is_empty());
}

#[test]
fn a_worker_that_registers_again_is_still_to_forget_what_it_was_told_and_did_not_take() {
    let mut registry = leading();
    let id = WorkerId::new(1);
    let life = register(&mut registry, at(0), id, "a:1");
    let holding = Holding { cached: ByteCount::new(3), complete: true };
    assert!(registry.heartbeat(at(0), id, life, Heartbeat::default(), &[(file(1), holding)]));
    registry.forget(&[file(1)]);
    registry.forget_list(id, Some(0));
    register(&mut registry, at(1), id, "a:1");
    assert_eq!(registry.forget_list(id, Some(0)).files, [file(1)]);
}

#[test]
fn registering_again_unchanged_moves_no_block() {
    let mut registry = leading();
    register(&mut registry, at(0), WorkerId::new(1), "a:1");
    let epoch = registry.epoch();
    register(&mut registry, at(1), WorkerId::new(1), "a:1");
    assert_eq!(registry.epoch(), epoch);
    register(&mut registry, at(2), WorkerId::new(1), "a:9");
    assert!(registry.epoch() > epoch);
}

#[test]
fn the_room_is_what_live_workers_can_hold_as_far_as_they_say() {
    let mut registry = leading();
    let (one, two) = (WorkerId::new(1), WorkerId::new(2));
    let life = register(&mut registry, at(0), one, "a:1");
    register(&mut registry, at(5), two, "a:2");
    assert_eq!(registry.room(), 20, "nobody has said how full file systems are");
    let tiers = registration("a:1").tiers;
    let beat = |usable| Heartbeat { tiers: tiers.clone(), usable, ..Heartbeat::default() };
    let epoch = registry.epoch();
    assert!(registry.heartbeat(at(1), one, life, beat(vec![4]), &[]));
    assert_eq!(registry.room(), 14);
    assert!(registry.heartbeat(at(1), one, life, beat(vec![40]), &[]));
    assert_eq!((registry.room(), registry.epoch()), (20, epoch), "no block is placed otherwise for it");
    registry.tick(at(12), LOST_AFTER);
    assert_eq!(registry.room(), 10);
}

#[test]
fn a_version_is_known_to_be_whole_where_one_worker_has_all_of_it() {
    let mut locations = Locations::default();
    let version = |length, block| VersionDescriptor {
        file: file(1),
        mount: MountId::new(1),
        key: UnderStoreKey::default(),
        fingerprint: Fingerprint {
            tag: None,
            version_id: None,
            length: ByteCount::new(length),
            modified: Timestamp::default(),
            local: None,
        },
        block_length: ByteCount::new(block),
    };
    let part = |cached, complete| Holding { cached: ByteCount::new(cached), complete };
    assert!(!locations.is_whole(&version(10, 10)) && locations.is_whole(&version(0, 10)));
    locations.record(WorkerId::new(1), file(1), part(6, false));
    locations.record(WorkerId::new(2), file(1), part(4, false));
    assert!(!locations.is_whole(&version(10, 5)), "both may have the same part");
    locations.record(WorkerId::new(2), file(1), part(10, true));
    assert!(locations.is_whole(&version(10, 10)));
    locations.set_lost(WorkerId::new(2), true);
    assert!(!locations.is_whole(&version(10, 10)));
}

#[test]
fn a_heartbeat_that_is_taken_in_pieces_ends_with_the_next_one_of_its_worker() {
    let (mut registry, id) = (leading(), WorkerId::new(1));
    register(&mut registry, at(0), id, "a:1");
    let first = registry.begin_heartbeat(id);
    assert!(registry.is_newest(id, first));
    let second = registry.begin_heartbeat(id);
    assert!(!registry.is_newest(id, first) && registry.is_newest(id, second));
    let unknown = WorkerId::new(2);
    let none = registry.begin_heartbeat(unknown);
    assert!(!registry.is_newest(unknown, none));
}

#[test]
fn versions_are_taken_before_their_heartbeat_from_the_life_that_is_known_only() {
    let (mut registry, id) = (leading(), WorkerId::new(1));
    let life = register(&mut registry, at(0), id, "a:1");
    let holding = Holding { cached: ByteCount::new(3), complete: true };
    assert!(registry.report(id, life, &[(file(1), holding)]));
    assert_eq!(registry.locations.of(file(1)), [(id, holding)]);
    register(&mut registry, at(1), id, "a:1");
    assert!(!registry.report(id, life, &[(file(1), holding)]), "its life is over");
    assert!(!registry.report(WorkerId::new(2), life, &[(file(1), holding)]));
    assert!(registry.locations.of(file(1)).is_empty());
}

pub(super) const LOST_AFTER: Duration = Duration::from_secs(10);

/// A registry with one worker that holds one version of three bytes.
fn with_one_holder() -> (Registry, WorkerId, u64) {
    let (mut registry, id) = (leading(), WorkerId::new(1));
    let life = register(&mut registry, at(0), id, "a:1");
    let holding = Holding { cached: ByteCount::new(3), complete: true };
    assert!(registry.heartbeat(at(0), id, life, Heartbeat::default(), &[(file(1), holding)]));
    (registry, id, life)
}

#[test]
fn what_a_lost_worker_holds_counts_again_when_it_comes_back() {
    let (mut registry, id, life) = with_one_holder();
    assert_eq!(registry.locations.cached(file(1)), ByteCount::new(3));
    registry.tick(at(11), LOST_AFTER);
    assert_eq!(registry.locations.cached(file(1)), ByteCount::ZERO);
    assert_eq!(registry.locations.of(file(1)).len(), 0);
    registry.forget(&[file(1)]);
    assert!(registry.heartbeat(at(12), id, life, Heartbeat::default(), &[]));
    assert_eq!(registry.locations.cached(file(1)), ByteCount::new(3));
    assert_eq!(registry.forget_list(id, Some(0)).files, [file(1)], "told while it was lost");
    registry.tick(at(30), LOST_AFTER);
    register(&mut registry, at(31), id, "a:1");
    let holding = Holding { cached: ByteCount::new(2), complete: false };
    let life = registry.next_registration;
    assert!(registry.heartbeat(at(31), id, life, Heartbeat::default(), &[(file(1), holding)]));
    assert_eq!(registry.locations.cached(file(1)), ByteCount::new(2), "a new life is not lost");
}

#[test]
fn a_lost_worker_that_held_nothing_is_dropped_and_later_any_lost_one() {
    let (mut registry, holder, _) = with_one_holder();
    register(&mut registry, at(0), WorkerId::new(2), "a:2");
    let ids = |registry: &Registry| registry.workers.keys().copied().collect::<Vec<_>>();
    registry.tick(at(11), LOST_AFTER);
    registry.tick(at(3600), LOST_AFTER);
    assert_eq!(ids(&registry).len(), 2);
    let before = registry.epoch();
    registry.tick(at(3601), LOST_AFTER);
    assert_eq!(ids(&registry), [holder]);
    assert!(registry.epoch() > before);
    registry.tick(at(7 * 24 * 3600 + 1), LOST_AFTER);
    assert!(ids(&registry).is_empty());
    assert_eq!(registry.locations.holders(file(1)).count(), 0);
}

#[test]
fn a_thousand_and_one_workers_still_make_a_map_that_clients_take() {
    let mut registry = leading();
    for id in 1..=1000 {
        register(&mut registry, at(u64::from(id)), WorkerId::new(id), "a:1");
    }
    let late = WorkerId::new(1001);
    assert_eq!(registry.register(at(1001), late, registration("a:1")), Err(Full::Workers));
    assert_eq!(registry.make_room(None, &registration("a:1")), Err(Full::Workers));
    register(&mut registry, at(1001), WorkerId::new(7), "a:1");
    registry.tick(at(1001), LOST_AFTER * 99);
    register(&mut registry, at(1002), late, "a:1");
    let map = registry.map();
    let ids: Vec<_> = map.workers.iter().map(|worker| worker.id.get()).collect();
    assert_eq!((ids.len(), ids[0], ids[999]), (1000, 2, 1001), "the longest lost made room");
    ClusterMap::try_from(v1::ClusterMap::from(&map)).expect("clients take it");
}

#[test]
fn workers_that_say_too_much_of_themselves_are_refused() {
    let mut registry = leading();
    let long = |length| Registration { group: "g".repeat(length), ..registration("a:1") };
    let half = limits::WORKERS_TEXT_MAX / 2;
    registry.register(at(0), WorkerId::new(1), long(half)).expect("there is room");
    assert_eq!(registry.register(at(0), WorkerId::new(2), long(half)), Err(Full::Text));
    registry.register(at(0), WorkerId::new(1), long(half)).expect("it takes its own place");
    let tiers = vec![v1::TierUsage { directory: "d".repeat(half * 2), ..v1::TierUsage::default() }];
    let beat = Heartbeat { tiers, ..Heartbeat::default() };
    let life = registry.next_registration;
    assert!(!registry.heartbeat(at(0), WorkerId::new(1), life, beat, &[]), "it must register again");
    assert!(registry.heartbeat(at(0), WorkerId::new(1), life, Heartbeat::default(), &[]));
}

#[test]
fn a_master_that_takes_over_knows_the_workers_and_what_they_hold_and_its_map_is_newer() {
    let (mut registry, id) = (Registry::new(1), WorkerId::new(1));
    let life = register(&mut registry, at(0), id, "a:1");
    let holding = Holding { cached: ByteCount::new(3), complete: true };
    assert!(registry.heartbeat(at(0), id, life, Heartbeat::default(), &[(file(1), holding)]));
    let before = registry.map();
    registry.lead(at(2), 9);
    assert_eq!(registry.map().workers, before.workers);
    assert!(registry.epoch() > before.epoch && registry.epoch() >= Epoch::new(9 << 12));
    assert_eq!(registry.locations.of(file(1)).len(), 1);
    assert!(registry.heartbeat(at(2), id, life, Heartbeat::default(), &[]), "it need not register again");
}

#[test]
fn on_a_master_that_follows_nothing_waits_to_be_forgotten() {
    let (mut registry, id) = (Registry::new(1), WorkerId::new(1));
    let life = register(&mut registry, at(0), id, "a:1");
    let holding = Holding { cached: ByteCount::new(3), complete: true };
    assert!(registry.heartbeat(at(0), id, life, Heartbeat::default(), &[(file(1), holding)]));
    registry.forget(&[file(1)]);
    registry.disown(&[file(1)]);
    assert!(registry.workers[&id].forgetting.is_empty(), "nobody would ever take it");
}

#[test]
fn a_leader_lacks_the_workers_that_it_knows_until_they_report_or_are_lost() {
    let mode = |expected, live| SafeMode { workers_expected: expected, workers_live: live };
    let mut registry = Registry::new(1);
    registry.lead(at(0), 1);
    assert_eq!(registry.safe_mode(), mode(1, 0));
    assert!(registry.safe_mode().is_active(), "no byte can be read");
    registry.follow();
    let lives = [1, 2, 3].map(|id| register(&mut registry, at(1), WorkerId::new(id), "a:1"));
    registry.lead(at(2), 1);
    assert_eq!(registry.safe_mode(), mode(3, 0));
    for (id, life) in (1..).zip(&lives[..2]) {
        assert!(registry.heartbeat(at(2), WorkerId::new(id), *life, Heartbeat::default(), &[]));
    }
    assert_eq!(registry.safe_mode(), mode(3, 2));
    assert!(registry.safe_mode().is_active());
    assert_eq!(registry.tick(at(12), LOST_AFTER), [WorkerId::new(3)]);
    assert_eq!(registry.safe_mode(), mode(2, 2));
    assert!(!registry.safe_mode().is_active());
}
