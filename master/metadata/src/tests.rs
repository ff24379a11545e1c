//! Random commands against a naive tree, the same log on two masters, and the bytes of the log.

use std::collections::BTreeMap;

use forebay_types::{ErrorKind, FileId, InodeId, LogIndex, OutboxSequence, Timestamp};
use proptest::prelude::*;

use crate::command::{ApplyListing, Command, DescribeMount, MakeDirectory, Reap, SetAttributes};
use crate::store::{MemoryStore, StateReader, StateWriter, StoreError, Table};
use crate::testing::{World, directory, file, format, mount, name, path, stamp, symlink, tagged};
use crate::{Effect, Proposal, Reply, Success, Task, apply, apply_all, query, snapshot};

mod codec;
mod golden;
mod jobs;
mod model;

use model::{Model, Seen};

/// One random step. Paths are taken from a few names, so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    Mount { at: String, uri: usize },
    Unmount { at: String },
    List { at: String, lag: u64, entries: Vec<(usize, usize)>, removals: Vec<usize>, complete: bool },
    Supersede { at: String, tag: Option<usize> },
    Forget { at: String },
    Describe { at: String, lag: u64, mode: u32 },
    Make { at: String, parents: bool, mode: u32 },
    Remove { at: String },
    Rename { from: String, to: String },
    SetMode { at: String, mode: u32 },
    Pin { at: String },
    Unpin { at: String },
    Reap { limit: u32 },
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const URIS: [&str; 4] = ["s3://one", "s3://one/deeper", "s3://two", "file:///three"];
const TAGS: [&str; 3] = ["1", "22", "333"];

/// Mostly at or just below `/a`, where each run begins with a mount.
fn any_path() -> impl Strategy<Value = String> {
    let below = |first: Vec<usize>, more| {
        proptest::collection::vec(0..NAMES.len(), more).prop_map(move |rest| {
            let path: String = first.iter().chain(&rest).map(|part| format!("/{}", NAMES[*part])).collect();
            if path.is_empty() { "/".to_owned() } else { path }
        })
    };
    prop_oneof![3 => below(vec![0], 0..2), 1 => below(vec![0], 2..3), 1 => below(Vec::new(), 0..4)]
}

/// Mostly where no mount is at first.
fn own_path() -> impl Strategy<Value = String> {
    let own = proptest::collection::vec(0..NAMES.len(), 0..3).prop_map(|rest| {
        let below: String = rest.iter().map(|part| format!("/{}", NAMES[*part])).collect();
        format!("/{}{below}", NAMES[1])
    });
    prop_oneof![4 => own, 1 => any_path(), 1 => (0..NAMES.len()).prop_map(|part| format!("/{}", NAMES[part]))]
}

fn any_step() -> impl Strategy<Value = Step> {
    let entries = proptest::collection::vec((0..NAMES.len(), 0..6_usize), 0..4);
    let removals = proptest::collection::vec(0..NAMES.len(), 0..2);
    let list = (any_path(), 0..4_u64, entries, removals, any::<bool>()).prop_map(
        |(at, lag, entries, removals, complete)| Step::List { at, lag, entries, removals, complete },
    );
    let make = (own_path(), any::<bool>(), 0..3_u32).prop_map(|(at, parents, mode)| Step::Make {
        at,
        parents,
        mode,
    });
    prop_oneof![
        5 => make,
        2 => own_path().prop_map(|at| Step::Remove { at }),
        4 => (own_path(), own_path()).prop_map(|(from, to)| Step::Rename { from, to }),
        2 => (own_path(), 0..3_u32).prop_map(|(at, mode)| Step::SetMode { at, mode }),
        2 => prop_oneof![any_path(), own_path()].prop_map(|at| Step::Pin { at }),
        1 => prop_oneof![any_path(), own_path()].prop_map(|at| Step::Unpin { at }),
        1 => (own_path(), 0..URIS.len()).prop_map(|(at, uri)| Step::Mount { at, uri }),
        3 => (any_path(), 0..URIS.len()).prop_map(|(at, uri)| Step::Mount { at, uri }),
        2 => any_path().prop_map(|at| Step::Unmount { at }),
        8 => list,
        3 => (any_path(), proptest::option::of(0..TAGS.len())).prop_map(|(at, tag)| Step::Supersede { at, tag }),
        1 => any_path().prop_map(|at| Step::Forget { at }),
        2 => (any_path(), 0..4_u64, 0..3_u32).prop_map(|(at, lag, mode)| Step::Describe { at, lag, mode }),
        1 => (1..4_u32).prop_map(|limit| Step::Reap { limit }),
    ]
}

/// Runs steps in the state and in the model side by side, and compares after each.
struct Pair {
    world: World,
    model: Model,
    /// Which version of the state each version of the model is.
    versions: BTreeMap<u64, FileId>,
    forgotten: Vec<FileId>,
    /// Those of them that no file has any more.
    freed: Vec<FileId>,
}

impl Pair {
    fn run(steps: &[Step]) -> Self {
        let world = World::formatted();
        let mut pair = Self {
            world,
            model: Model::new(),
            versions: BTreeMap::new(),
            forgotten: Vec::new(),
            freed: Vec::new(),
        };
        let first = Step::Mount { at: "/a".to_owned(), uri: 0 };
        for step in std::iter::once(&first).chain(steps) {
            pair.world.effects.clear();
            pair.step(step);
            pair.note_forgotten();
            pair.compare();
        }
        pair
    }

    fn step(&mut self, step: &Step) {
        let index = self.world.index().next().get();
        if let Some((got, expected)) = self.own_step(step, index) {
            return assert_eq!(outcome(got), expected, "{step:?}");
        }
        let (got, expected) = match step {
            Step::Mount { at, uri } => {
                (self.world.mount(at, URIS[*uri]), self.model.mount(at, URIS[*uri], index))
            }
            Step::Unmount { at } => (self.world.unmount(at), self.model.unmount(at, index)),
            Step::Forget { at } => {
                let Some(id) = self.world.at(at) else { return };
                (self.world.forget(id), self.model.forget(at, index))
            }
            Step::Describe { at, lag, mode } => {
                let Some(root) = self.world.at(at) else { return };
                let begun_at = (index - 1).saturating_sub(*lag);
                let command = DescribeMount {
                    root,
                    begun_at: LogIndex::new(begun_at),
                    mode: Some(*mode),
                    uid: None,
                    gid: None,
                    modified: Timestamp::default(),
                };
                let expected = self.model.describe(at, *mode, begun_at, index);
                (self.world.apply(Command::DescribeMount(command)), expected)
            }
            Step::Make { .. }
            | Step::Remove { .. }
            | Step::Rename { .. }
            | Step::SetMode { .. }
            | Step::Pin { .. }
            | Step::Unpin { .. } => return,
            Step::Reap { limit } => (self.world.apply(Command::Reap(Reap { limit: *limit })), Ok(())),
            Step::Supersede { at, tag } => {
                let Some(id) = self.world.at(at) else { return };
                let inode = query::attributes(self.world.reader(), id).unwrap().unwrap();
                let seen = inode
                    .version()
                    .map_or(FileId { incarnation: Default::default(), counter: 0 }, |v| v.file);
                let fingerprint = tag.map(|tag| tagged(TAGS[tag]));
                (
                    self.world.supersede(id, seen, fingerprint),
                    self.model.supersede(at, tag.map(|tag| TAGS[tag]), index),
                )
            }
            Step::List { at, lag, entries, removals, complete } => {
                let Some(id) = self.world.at(at) else { return };
                let begun_at = (index - 1).saturating_sub(*lag);
                let upserts = entries.iter().map(|(entry, what)| match what {
                    0..3 => file(NAMES[*entry], TAGS[*what]),
                    3 | 4 => directory(NAMES[*entry]),
                    _ => symlink(NAMES[*entry], "x"),
                });
                let command = ApplyListing {
                    directory: id,
                    begun_at: LogIndex::new(begun_at),
                    upserts: upserts.collect(),
                    removals: removals.iter().map(|entry| name(NAMES[*entry])).collect(),
                    complete: *complete,
                };
                let expected = self.model.list(at, &command, index);
                (self.world.apply(Command::ApplyListing(command)), expected)
            }
        };
        assert_eq!(outcome(got), expected, "{step:?}");
    }

    /// A step with directories outside of mounts, or with pins; `None` for any other.
    fn own_step(&mut self, step: &Step, index: u64) -> Option<(Reply, Result<(), ErrorKind>)> {
        let done = match step {
            Step::Make { at, parents, mode } => {
                let command = MakeDirectory {
                    path: path(at),
                    parents: *parents,
                    mode: Some(*mode),
                    uid: None,
                    gid: None,
                };
                let expected = self.model.make(at, *parents, *mode, index);
                (self.world.apply(Command::MakeDirectory(command)), expected)
            }
            Step::Remove { at } => (self.world.remove(at), self.model.remove(at)),
            Step::Rename { from, to } => (self.world.rename(from, to), self.model.rename(from, to, index)),
            Step::SetMode { at, mode } => {
                let command = SetAttributes { path: path(at), mode: Some(*mode), uid: None, gid: None };
                (self.world.apply(Command::SetAttributes(command)), self.model.set_mode(at, *mode))
            }
            Step::Pin { at } => (self.world.pin(at), self.model.pin(at)),
            Step::Unpin { at } => (self.world.unpin(at), self.model.unpin(at)),
            _ => return None,
        };
        Some(done)
    }

    fn reap_all(&mut self) {
        while query::needs_reaping(self.world.reader()).unwrap() {
            self.world.apply(Command::Reap(Reap { limit: 3 })).unwrap();
            self.note_forgotten();
        }
    }

    fn note_forgotten(&mut self) {
        self.forgotten.extend(self.world.forgotten());
        let freed = self.world.effects.iter().filter_map(|effect| match effect {
            Effect::ForgetVersions(files) => Some(files),
            _ => None,
        });
        self.freed.extend(freed.flatten());
    }

    fn compare(&mut self) {
        let mut seen = Vec::new();
        self.model.walk(&mut |path, entry| seen.push((path.to_owned(), entry)));
        let mut found = 0;
        for (path, entry) in &seen {
            let id = self.world.at(path).unwrap_or_else(|| panic!("{path} is missing"));
            let inode = query::attributes(self.world.reader(), id).unwrap().unwrap();
            match entry {
                Seen::Directory { loaded, children, mode } => {
                    assert_eq!(inode.mode, *mode, "{path}");
                    assert_eq!(query::is_loaded(self.world.reader(), id).unwrap(), *loaded, "{path}");
                    assert_eq!(self.world.names(id), *children, "{path}");
                    found += children.len();
                }
                Seen::Symlink => assert!(inode.symlink_target().is_some(), "{path}"),
                Seen::File { tag, version } => {
                    let descriptor = inode.version().unwrap_or_else(|| panic!("{path} is no file"));
                    assert_eq!(descriptor.fingerprint, tagged(tag), "{path}");
                    let known = *self.versions.entry(*version).or_insert(descriptor.file);
                    assert_eq!(known, descriptor.file, "{path} has another version than it should");
                }
            }
        }
        assert_eq!(found + 1, seen.len());
        let mounts = query::mounts(self.world.reader()).unwrap().into_iter();
        let mut mounts: Vec<_> =
            mounts.map(|mount| (mount.path.to_string(), mount.uri.to_string())).collect();
        mounts.sort();
        let mut expected: Vec<_> =
            self.model.mounts().into_iter().map(|(path, uri)| (path, uri.to_owned())).collect();
        expected.sort();
        assert_eq!(mounts, expected);
        let pins = query::pins(self.world.reader(), InodeId::new(0), usize::MAX).unwrap();
        let mut pins: Vec<_> = pins.into_iter().filter_map(|(_, path)| Some(path?.to_string())).collect();
        pins.sort();
        assert_eq!(pins, self.model.pins());
    }
}

fn outcome(reply: Reply) -> Result<(), ErrorKind> {
    reply.map(drop).map_err(|rejection| rejection.kind())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_do_what_a_naive_tree_does(steps in proptest::collection::vec(any_step(), 1..60)) {
        let mut pair = Pair::run(&steps);
        pair.reap_all();
        pair.compare();
        // Each version that was ever given is either a file's or was given up, once.
        let mut rest = std::mem::take(&mut pair.forgotten);
        let mut alive: Vec<FileId> = Vec::new();
        pair.model.walk(&mut |_, entry| if let Seen::File { version, .. } = entry { alive.push(pair.versions[&version]) });
        rest.extend(&alive);
        rest.sort_unstable();
        let given = rest.len();
        rest.dedup();
        prop_assert_eq!(rest.len(), given, "a version was given up twice, or while a file has it");
        prop_assert_eq!(query::totals(pair.world.reader()).unwrap().files, alive.len() as u64);
        let waiting = query::outbox(pair.world.reader(), OutboxSequence::new(0), usize::MAX).unwrap();
        let waiting: Vec<FileId> = waiting.into_iter().flat_map(|(_, row)| { let Task::FreeVersions(files) = row.task; files }).collect();
        prop_assert_eq!(waiting, std::mem::take(&mut pair.freed), "the outbox has what is to be freed, in its order");
        for version in pair.versions.values() {
            prop_assert!(rest.binary_search(version).is_ok(), "{version} was never given up");
        }
    }

    #[test]
    fn the_same_log_gives_equal_states_whatever_its_batches(
        steps in proptest::collection::vec(any_step(), 1..60),
        sizes in proptest::collection::vec(1..9_usize, 1..20),
    ) {
        let world = Pair::run(&steps).world;
        let mut store = MemoryStore::new();
        let mut outcomes = Vec::new();
        let mut log = &world.log[..];
        for size in sizes.iter().cycle() {
            if log.is_empty() {
                break;
            }
            let (batch, rest) = log.split_at((*size).min(log.len()));
            let applied = apply_all(&store, batch.iter().map(|(index, proposal)| (*index, proposal))).unwrap();
            store.commit(applied.mutations).unwrap();
            outcomes.extend(applied.outcomes);
            log = rest;
        }
        prop_assert_eq!(snapshot::dump_digest(&store).unwrap(), snapshot::dump_digest(world.reader()).unwrap());
        let mut one_by_one = MemoryStore::new();
        for ((index, proposal), outcome) in world.log.iter().zip(&outcomes) {
            let applied = apply(&one_by_one, *index, proposal).unwrap();
            one_by_one.commit(applied.mutations).unwrap();
            prop_assert_eq!((&applied.reply, &applied.effects), (&outcome.reply, &outcome.effects));
        }
        prop_assert!(snapshot::dump(&store).map(Result::unwrap).eq(snapshot::dump(&one_by_one).map(Result::unwrap)));
    }
}

#[test]
fn time_never_goes_back() {
    let mut world = World::formatted();
    world.clock = 5000;
    world.mount("/a", "s3://a").unwrap();
    assert_eq!(query::clock(world.reader()).unwrap(), Timestamp::from_nanos(5001));
    world.clock = 10;
    world.mount("/b", "s3://b").unwrap();
    assert_eq!(query::clock(world.reader()).unwrap(), Timestamp::from_nanos(5001));
    let mounts = query::mounts(world.reader()).unwrap();
    assert_eq!(mounts[1].mounted_time, Timestamp::from_nanos(5001));
}

#[test]
fn a_refused_command_leaves_the_clock_and_its_sessions_reply_and_nothing_else() {
    let (mut world, _) = World::mounted();
    let rows = |world: &World| snapshot::dump(world.reader()).map(|row| row.unwrap()).collect::<Vec<_>>();
    let before = rows(&world);
    world.propose(Some(stamp(7, 1, 1)), mount("/data", "s3://other")).unwrap_err();
    let written: Vec<_> =
        rows(&world).into_iter().filter(|row| !before.contains(row)).map(|row| row.table).collect();
    assert_eq!(written, [Table::Counters, Table::Sessions, Table::Sessions]);
}

/// A store that fails at each read of one table.
struct Failing<'s>(&'s MemoryStore, Table);

impl Failing<'_> {
    fn check(&self, table: Table) -> Result<(), StoreError> {
        if table == self.1 {
            return Err(StoreError::Backend { table: table.name(), source: "the disk is gone".into() });
        }
        Ok(())
    }
}

impl StateReader for Failing<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check(table)?;
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.check(table)?;
        self.0.scan(table, start, end, limit)
    }
}

#[test]
fn a_state_that_cannot_be_read_is_an_error_and_never_a_refusal() {
    let (world, _) = World::mounted();
    let proposal =
        |command| Proposal { issued_at: Timestamp::default(), session: Some(stamp(1, 1, 1)), command };
    for table in [Table::Counters, Table::Mounts, Table::Children, Table::Inodes, Table::Sessions] {
        let failing = Failing(&world.store, table);
        let failed = apply(&failing, LogIndex::new(9), &proposal(mount("/new", "s3://new"))).unwrap_err();
        assert!(failed.to_string().contains("the disk is gone"), "{failed}");
        assert_eq!(failed.kind(), ErrorKind::Io);
    }
}

#[test]
fn a_format_within_a_batch_counts_for_the_entries_after_it() {
    let entry = |command| Proposal { issued_at: Timestamp::default(), session: None, command };
    let log = [mount("/a", "s3://a"), Command::Format(format(1)), mount("/a", "s3://a")].map(entry);
    let store = MemoryStore::new();
    let applied =
        apply_all(&store, log.iter().enumerate().map(|(at, entry)| (LogIndex::new(at as u64 + 1), entry)));
    let replies: Vec<_> =
        applied.unwrap().outcomes.into_iter().map(|outcome| outcome.reply.is_ok()).collect();
    assert_eq!(replies, [false, true, true]);
}

#[test]
fn a_reply_tells_what_a_listing_did() {
    let (mut world, root) = World::mounted();
    let reply = world.list(root, vec![file("f", "1")], &["g"]);
    assert_eq!(reply, Ok(Success::Listed { created: 1, changed: 0, removed: 0, newer: 0, mounts: 0 }));
}
