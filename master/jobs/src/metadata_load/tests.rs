//! The load of metadata against a small tree, with a shell that carries actions out when told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use forebay_types::{ByteCount, FileId, Fingerprint, Incarnation, JobFailure, MountId, Timestamp};
use forebay_types::{UnderStoreKey, VersionDescriptor};
use proptest::prelude::*;

use super::*;

struct World {
    nodes: BTreeMap<NamespacePath, (InodeId, bool)>,
    next_id: u64,
    paths: Vec<NamespacePath>,
    /// How listings of a directory fail, one after the other.
    faults: BTreeMap<NamespacePath, VecDeque<ErrorKind>>,
    /// Which directories were listed, as often as they were.
    listed: Vec<NamespacePath>,
    part_max: usize,
    now: Duration,
    engine: MetadataLoadJob,
    waiting: Vec<Action>,
    at_once: usize,
    durable: (JobProgress, u64, Vec<JobFailure>),
    end: Option<JobState>,
}

fn path(text: &str) -> NamespacePath {
    text.parse().unwrap()
}

impl World {
    fn new(files: &[&str]) -> Self {
        let mut world = Self {
            nodes: BTreeMap::new(),
            next_id: 1,
            paths: Vec::new(),
            faults: BTreeMap::new(),
            listed: Vec::new(),
            part_max: usize::MAX,
            now: Duration::from_secs(100),
            engine: MetadataLoadJob::new(),
            waiting: Vec::new(),
            at_once: 0,
            durable: (JobProgress::default(), 0, Vec::new()),
            end: None,
        };
        files.iter().for_each(|file| world.add(&path(file), true));
        world
    }

    fn add(&mut self, at: &NamespacePath, is_file: bool) {
        if let Some(parent) = at.parent()
            && !self.nodes.contains_key(&parent)
        {
            self.add(&parent, false);
        }
        self.next_id += 1;
        self.nodes.insert(at.clone(), (InodeId::new(self.next_id), is_file));
    }

    fn remove(&mut self, at: &str) {
        let at = path(at);
        self.nodes.retain(|known, _| !known.names().starts_with(at.names()));
    }

    fn begin(&mut self, paths: &[&str]) {
        self.paths = paths.iter().map(|text| path(text)).collect();
        self.durable = (JobProgress::default(), 0, Vec::new());
        self.restart();
    }

    fn restart(&mut self) {
        self.engine = MetadataLoadJob::resuming(self.durable.0, self.durable.1);
        self.waiting.clear();
        self.tell(Event::Tick);
    }

    fn tell(&mut self, event: Event) {
        for action in self.engine.handle(self.now, event) {
            assert!(self.end.is_none(), "no action follows the end: {action:?}");
            match action {
                Action::End { state, progress, directories_done, failures, reason } => {
                    assert_eq!(reason, None);
                    self.durable.2.extend(failures);
                    (self.durable.0, self.durable.1) = (progress, directories_done);
                    self.end = Some(state);
                }
                other => self.waiting.push(other),
            }
        }
        let listings = |action: &&Action| matches!(action, Action::ListWhole { .. });
        self.at_once = self.at_once.max(self.waiting.iter().filter(listings).count());
    }

    fn step(&mut self, place: usize) {
        let action = self.waiting.remove(place);
        let event = self.carry_out(action);
        self.tell(event);
    }

    fn run(&mut self) -> JobState {
        for _ in 0..100_000 {
            match self.end {
                Some(state) => return state,
                None if self.waiting.is_empty() => self.pass(),
                None => self.step(0),
            }
        }
        panic!("the job does not end");
    }

    fn pass(&mut self) {
        self.now += Duration::from_millis(100);
        self.tell(Event::Tick);
    }

    fn carry_out(&mut self, action: Action) -> Event {
        match action {
            Action::ReadPaths { request, row } => {
                Event::Paths { request, paths: Ok((row == 0).then(|| self.paths.clone())) }
            }
            Action::Resolve { request, path } => {
                let found = self.nodes.get(&path).map(|node| found(*node));
                Event::Found { request, found: found.ok_or_else(|| fault(ErrorKind::NotFound)) }
            }
            Action::ListWhole { request, directory } => {
                let outcome = self.path_of(directory).and_then(|at| {
                    self.listed.push(at.clone());
                    let kind = self.faults.get_mut(&at).and_then(VecDeque::pop_front);
                    kind.map_or(Ok(()), |kind| Err(fault(kind)))
                });
                Event::ListedWhole { request, outcome }
            }
            Action::List { request, directory, after, limit, begun } => {
                assert!(begun <= self.now);
                let page = self.path_of(directory).map(|at| self.page(&at, after.as_ref(), limit));
                Event::Listed { request, page }
            }
            Action::Persist { begins, progress, directories_done, failures } => {
                if begins {
                    self.durable.2.clear();
                }
                self.durable.2.extend(failures);
                (self.durable.0, self.durable.1) = (progress, directories_done);
                Event::Persisted { is_durable: true }
            }
            other => panic!("a load of metadata has nothing to do with data: {other:?}"),
        }
    }

    fn path_of(&self, directory: InodeId) -> Result<NamespacePath, Fault> {
        let at = self.nodes.iter().find(|(_, (inode, _))| *inode == directory).map(|(at, _)| at.clone());
        at.ok_or_else(|| fault(ErrorKind::NotFound))
    }

    fn page(&self, at: &NamespacePath, after: Option<&ListingPosition>, limit: usize) -> Page {
        let below = self.nodes.iter().filter(|(path, _)| path.parent().as_ref() == Some(at));
        let named = |(path, node): (&NamespacePath, &(InodeId, bool))| NamedFound {
            name: path.names().last().unwrap().clone(),
            found: found(*node),
        };
        let mut entries: Vec<_> = below.map(named).collect();
        entries.sort_by_cached_key(NamedFound::position);
        entries.retain(|entry| after.is_none_or(|after| entry.position() > *after));
        let is_last = entries.len() <= limit.min(self.part_max);
        entries.truncate(limit.min(self.part_max));
        Page { entries, is_last }
    }

    fn failed(&self) -> Vec<String> {
        self.durable.2.iter().map(|failure| failure.path.to_string()).collect()
    }

    /// Files, directories and failures as they were written down last.
    fn figures(&self) -> (u64, u64, u64) {
        let (progress, directories, _) = &self.durable;
        assert_eq!((progress.bytes_total, progress.bytes_done, progress.under_store_bytes), (0, 0, 0));
        (progress.files_done, *directories, progress.files_failed)
    }
}

fn fault(kind: ErrorKind) -> Fault {
    Fault::new(kind, format!("{kind}, as the test wants it"))
}

fn found((inode, is_file): (InodeId, bool)) -> Found {
    let version = || VersionDescriptor {
        file: FileId { incarnation: Incarnation::new(1), counter: inode.get() },
        mount: MountId::new(1),
        key: UnderStoreKey::default(),
        fingerprint: Fingerprint {
            tag: None,
            version_id: None,
            length: ByteCount::new(9),
            modified: Timestamp::default(),
            local: None,
        },
        block_length: ByteCount::new(1 << 20),
    };
    let kind = if is_file { EntryKind::File } else { EntryKind::Directory };
    Found { inode, kind, version: is_file.then(version), refused: None }
}

fn tree() -> World {
    World::new(&["/d/a", "/d/b/x", "/d/b/y", "/d/c/deep/z", "/e/z"])
}

#[test]
fn each_directory_below_is_listed_once_and_each_file_counted_once_however_often_they_are_named() {
    let mut world = tree();
    world.begin(&["/d/b", "/d", "/d/a", "/e/z", "/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
    world.listed.sort();
    assert_eq!(world.listed, ["/d", "/d/b", "/d/c", "/d/c/deep"].map(path));
    assert_eq!(world.figures(), (5, 4, 0));
    assert_eq!(world.durable.0.files_total, 5);
}

#[test]
fn a_load_of_nothing_succeeds() {
    let mut world = World::new(&[]);
    world.add(&path("/empty"), false);
    for (paths, directories) in [(&[][..], 0), (&["/empty"], 1)] {
        world.end = None;
        world.begin(paths);
        assert_eq!((world.run(), world.figures()), (JobState::Succeeded, (0, directories, 0)));
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_named_and_the_rest_is_gone_through() {
    let mut world = tree();
    world.faults.insert(path("/d/b"), vec![ErrorKind::PermissionDenied].into());
    world.faults.insert(path("/d/c"), vec![ErrorKind::UnderStore; 2].into());
    world.begin(&["/gone", "/d"]);
    assert_eq!(world.run(), JobState::Failed);
    assert_eq!(world.failed(), ["/gone", "/d/b"]);
    assert_eq!(world.figures(), (2, 3, 2));
    assert!(world.durable.2[1].reason.contains("PERMISSION_DENIED"), "{:?}", world.durable.2);
    assert_eq!(
        world.listed.iter().filter(|at| **at == path("/d/c")).count(),
        3,
        "what may pass is tried again"
    );
}

#[test]
fn a_directory_that_went_after_its_name_was_seen_is_no_failure() {
    let mut world = tree();
    world.begin(&["/d"]);
    while world.listed.is_empty() {
        world.step(0);
    }
    // Its names are read next.
    let place = world.waiting.iter().position(|action| matches!(action, Action::List { .. })).unwrap();
    world.step(place);
    world.remove("/d/c");
    assert_eq!((world.run(), world.failed()), (JobState::Succeeded, vec![]));
    assert_eq!(world.figures(), (3, 2, 0));
}

#[test]
fn a_root_that_goes_with_all_below_it_is_a_failure_that_is_told_once() {
    for is_back in [false, true] {
        let mut world = tree();
        world.begin(&["/d"]);
        while world.durable.0.files_done == 0 {
            match world.waiting.iter().position(|action| !matches!(action, Action::ListWhole { directory, .. } if *directory != world.nodes[&path("/d")].0)) {
                Some(place) => world.step(place),
                None => world.pass(),
            }
        }
        world.remove("/d");
        if is_back {
            world.add(&path("/d/other"), true);
        }
        assert_eq!((world.run(), world.failed()), (JobState::Failed, vec!["/d".to_owned()]));
    }
}

#[test]
fn many_directories_are_listed_at_a_time_and_no_more_than_may_be() {
    let mut world = World::new(&[]);
    for number in 0..40 {
        (0..40).for_each(|below| world.add(&path(&format!("/d/{number}/{below}/f")), true));
    }
    world.begin(&["/d"]);
    // Listings are the last to be carried out, so that as many as may be are under way.
    for _ in 0..10_000 {
        let other = world.waiting.iter().position(|action| !matches!(action, Action::ListWhole { .. }));
        match other {
            Some(place) => world.step(place),
            None if world.at_once >= DIRECTORIES_AT_ONCE_MAX || world.waiting.is_empty() => break,
            None => world.step(0),
        }
    }
    assert_eq!(world.at_once, DIRECTORIES_AT_ONCE_MAX);
    assert_eq!(world.run(), JobState::Succeeded);
    assert_eq!((world.at_once, world.figures()), (DIRECTORIES_AT_ONCE_MAX, (1600, 1641, 0)));
}

#[test]
fn a_directory_of_very_many_directories_is_read_no_faster_than_they_are_begun() {
    let mut world = World::new(&[]);
    (0..3000).for_each(|number| world.add(&path(&format!("/d/{number}")), false));
    world.begin(&["/d"]);
    let mut most = 0;
    while world.end.is_none() {
        match world.waiting.is_empty() {
            true => world.pass(),
            false => world.step(0),
        }
        most = most.max(world.engine.open.iter().map(|directory| directory.below.len()).sum());
    }
    assert!(most <= 2 * LISTING_LIMIT, "{most}");
    assert_eq!(world.figures(), (0, 3001, 0));
}

#[test]
fn a_job_that_is_begun_anew_shows_what_was_written_down_until_it_has_done_as_much() {
    let mut world = tree();
    world.begin(&["/d"]);
    while world.durable.1 < 2 {
        match world.waiting.is_empty() {
            true => world.pass(),
            false => {
                world.now += Duration::from_millis(600);
                world.step(0);
            }
        }
    }
    let before = world.durable.1;
    world.restart();
    assert_eq!(world.engine.directories_done(), before);
    assert_eq!((world.run(), world.figures()), (JobState::Succeeded, (4, 4, 0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_order_of_answers_ends_with_all_that_is_there_listed_and_all_that_is_refused_named(
        files in proptest::collection::btree_set("(/[ab]|/[ab]-){1,4}/f", 0..40),
        refused in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
        gone in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
        order in proptest::collection::vec(any::<u16>(), 64),
        part_max in 1_usize..4,
        restart_after in 0_usize..200,
    ) {
        let files: Vec<_> = files.iter().map(|file| format!("/d{file}")).collect();
        let mut world = World::new(&files.iter().map(String::as_str).collect::<Vec<_>>());
        world.add(&path("/d/empty"), false);
        world.part_max = part_max;
        let directories: Vec<_> = world.nodes.iter().filter(|(at, node)| !node.1 && at.names().len() > 1)
            .map(|(at, _)| at.clone()).collect();
        let refused: BTreeSet<_> = refused.iter().map(|at| at.get(&directories).clone()).collect();
        for at in &refused {
            world.faults.insert(at.clone(), vec![ErrorKind::PermissionDenied; 100].into());
        }
        let mut gone: Vec<_> = gone.iter().map(|at| at.get(&directories).to_string()).collect();
        world.begin(&["/d", "/d/empty"]);
        let mut steps = 0;
        while world.end.is_none() {
            prop_assert!(steps < 100_000, "the job does not end");
            let drawn = usize::from(order[steps % order.len()]);
            steps += 1;
            if steps == restart_after {
                world.restart();
            } else if drawn % 40 == 1 && let Some(at) = gone.pop() {
                // The second root is there to the end.
                if at != "/d/empty" {
                    world.remove(&at);
                }
            } else if world.waiting.is_empty() || drawn % 10 == 0 {
                world.pass();
            } else {
                world.step(drawn % world.waiting.len());
            }
        }
        let named: BTreeSet<_> = world.durable.2.iter().map(|failure| failure.path.clone()).collect();
        prop_assert_eq!(named.len(), world.durable.2.len(), "each is told once");
        prop_assert!(named.is_subset(&refused), "{named:?}");
        let state = if named.is_empty() { JobState::Succeeded } else { JobState::Failed };
        prop_assert_eq!(world.end, Some(state));
        for (at, (_, is_file)) in &world.nodes {
            let is_below = at.names().len() > 1;
            let is_behind = refused.iter().any(|refused| at.names().starts_with(refused.names()));
            if is_below && !is_file && !is_behind {
                prop_assert!(world.listed.contains(at), "{at} was not listed");
            }
        }
        // A directory that is refused itself, and lies below none that is, must be told if it is there.
        for at in refused.iter().filter(|at| world.nodes.contains_key(*at)) {
            let is_seen = !refused.iter().any(|other| other != at && at.names().starts_with(other.names()));
            prop_assert!(!is_seen || named.contains(at), "{at} was refused and is not told");
        }
    }
}
