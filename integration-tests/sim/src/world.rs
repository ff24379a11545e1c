//! The whole of one run: under-stores, masters, clients, workers, the network between them, and what befalls them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use forebay_metadata::store::MemoryStore;
use forebay_metadata::{
    Coherence, Command, Format, Freshness, Inode, Mount, MountOptions, OnOutage, Proposal, StateWriter,
    apply, query,
};
use forebay_types::{
    ByteCount, ClusterId, ClusterMap, InodeId, LogIndex, MountId, NamespacePath, PAGE_LENGTH, Timestamp,
    WorkerId,
};

use crate::executor::{Executor, Node, Sleep};
use crate::history::History;
use crate::limits::DRIFT_MILLIONTHS;
use crate::master::disk::{MasterDisk, Members, Snapshot};
use crate::master::{INCARNATION, Master};
use crate::network::Network;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::random::Random;
use crate::store::UnderStore;
use crate::trace::Trace;
use crate::worker::{Disk, Worker};

/// How many clients there are.
pub(crate) const CLIENTS: u8 = 3;
/// How many workers there are.
pub(crate) const WORKERS: u8 = 2;
const MOUNTS: usize = 2;
/// The time of day at which runs begin.
const TIME_OF_DAY: i64 = 1_700_000_000_000_000_000;

/// A mount, and its under-store.
#[derive(Debug)]
pub(crate) struct MountedStore {
    /// Its place in the namespace.
    pub(crate) path: NamespacePath,
    /// Its options.
    pub(crate) options: MountOptions,
    /// Its root directory.
    pub(crate) root: InodeId,
    /// Its id.
    pub(crate) id: MountId,
    /// The truth.
    pub(crate) store: UnderStore,
}

impl MountedStore {
    /// Whether clients may go on using what they were told.
    pub(crate) fn grants(&self) -> bool {
        self.options.coherence == Coherence::Relaxed
            && self.options.freshness != Freshness::Bound(Duration::ZERO)
    }

    /// Whether nothing is told past the freshness, not even in an outage.
    pub(crate) fn fails_in_outage(&self) -> bool {
        self.options.on_outage == OnOutage::Fail
    }

    /// How old an answer may be.
    pub(crate) fn freshness(&self) -> Freshness {
        self.options.freshness
    }
}

/// A clock that began at another time and runs a little faster or slower.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begin: Duration,
    /// In millionths of the true speed.
    speed: u64,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    /// What is to happen.
    pub(crate) plan: Plan,
    /// Runs the actors.
    pub(crate) executor: Executor,
    /// What happened.
    pub(crate) trace: Trace,
    /// What is allowed.
    pub(crate) oracle: Oracle,
    /// The way between nodes.
    pub(crate) network: Network,
    /// The under-stores.
    pub(crate) mounts: Vec<MountedStore>,
    /// What was committed.
    pub(crate) history: History,
    /// What survives the masters.
    master_disks: RefCell<Vec<Rc<MasterDisk>>>,
    /// What survives the workers.
    pub(crate) disks: Vec<Disk>,
    /// How many steps were done.
    pub(crate) step: Cell<u64>,
    masters: RefCell<BTreeMap<u8, Rc<Master>>>,
    workers: RefCell<BTreeMap<u8, Rc<Worker>>>,
    clocks: BTreeMap<Node, Clock>,
    /// By how many nanoseconds the time of day is off at each master.
    pub(crate) time_of_day_off: Vec<Cell<i64>>,
    /// Directories that clients make changes in.
    pub(crate) writers: RefCell<Vec<String>>,
    sessions: Cell<u64>,
    dice: RefCell<BTreeMap<&'static str, Random>>,
    /// Where moments of the standard library count from: they cannot be made otherwise.
    epoch: Instant,
}

impl World {
    /// A world in which nothing has happened, with a master, clients and workers that are about to begin.
    pub(crate) fn new(plan: Plan) -> Rc<Self> {
        let mut random = Random::new(plan.seed, "world");
        let nodes = (0..CLIENTS)
            .map(Node::Client)
            .chain((0..WORKERS).map(Node::Worker))
            .chain((0..plan.masters).map(Node::Master))
            .chain([Node::Environment]);
        let clocks = nodes.map(|node| (node, some_clock(&mut random))).collect();
        let mut options: Vec<_> = (0..MOUNTS).map(|_| some_options(&mut random)).collect();
        let mut outages = Random::new(plan.seed, "on-outage");
        for options in options.iter_mut().filter(|_| outages.chance(1, 3)) {
            options.on_outage = OnOutage::Fail;
        }
        let mut mounts: Vec<_> = (0..MOUNTS)
            .zip(&options)
            .map(|(number, options)| MountedStore {
                path: mount_path(number),
                options: options.clone(),
                // The log gives the ids in this order; `begin` looks.
                root: InodeId::new(0),
                id: MountId::new(0),
                store: UnderStore::new(&mut random),
            })
            .collect();
        let snapshot = Rc::new(formatted(&mut mounts, plan.masters));
        let disks = (0..plan.masters).map(|number| {
            let id = u64::from(number) + 1;
            Rc::new(MasterDisk::new(id, Rc::clone(&snapshot)))
        });
        let world = Rc::new(Self {
            history: History::new(&snapshot),
            master_disks: RefCell::new(disks.collect()),
            time_of_day_off: (0..plan.masters).map(|_| Cell::default()).collect(),
            plan,
            executor: Executor::default(),
            trace: Trace::default(),
            oracle: Oracle::default(),
            network: Network::default(),
            mounts,
            disks: (0..WORKERS).map(|_| Disk::default()).collect(),
            step: Cell::default(),
            masters: RefCell::default(),
            workers: RefCell::default(),
            clocks,
            writers: RefCell::default(),
            sessions: Cell::default(),
            dice: RefCell::default(),
            epoch: Instant::now(),
        });
        (0..world.plan.masters).for_each(|number| world.start_master(number));
        (0..CLIENTS).for_each(|number| crate::client::Client::start(&world, number));
        (0..WORKERS).for_each(|number| world.start_worker(number));
        crate::trouble::begin(&world);
        world
    }

    /// Lets go of all actors, which own the world that owns them.
    pub(crate) fn end(&self) {
        self.masters.borrow_mut().clear();
        self.workers.borrow_mut().clear();
        self.executor.end();
    }

    /// Draws for one purpose.
    pub(crate) fn dice<T>(&self, purpose: &'static str, draw: impl FnOnce(&mut Random) -> T) -> T {
        let mut dice = self.dice.borrow_mut();
        draw(dice.entry(purpose).or_insert_with(|| Random::new(self.plan.seed, purpose)))
    }

    /// The true time.
    pub(crate) fn now(&self) -> Duration {
        self.executor.now()
    }

    pub(crate) fn sleep(&self, time: Duration) -> Sleep {
        self.executor.sleep(time)
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) {
        self.trace.add(self.now(), what);
    }

    /// The time since a node's boot, by its own clock.
    pub(crate) fn clock(&self, node: Node) -> Duration {
        let Clock { begin, speed } = self.clocks[&node];
        let micros = u64::try_from(self.now().as_micros()).expect("a short run");
        begin
            + Duration::from_micros(
                micros + micros * speed / 1_000_000 - micros * DRIFT_MILLIONTHS / 1_000_000,
            )
    }

    /// The same as the standard library has it.
    pub(crate) fn instant(&self, node: Node) -> Instant {
        self.epoch + self.clock(node)
    }

    /// The time of day at a master, which jumps.
    pub(crate) fn time_of_day(&self, master: u8) -> Timestamp {
        let now = i64::try_from(self.now().as_nanos()).expect("a short run");
        Timestamp::from_nanos(TIME_OF_DAY + now + self.time_of_day_off[usize::from(master)].get())
    }

    /// A master, while it runs.
    pub(crate) fn master(&self, node: Node) -> Option<Rc<Master>> {
        let Node::Master(number) = node else { return None };
        self.masters.borrow().get(&number).cloned()
    }

    /// The master that leads, as somebody who sees all of them would say.
    pub(crate) fn leader(&self) -> Option<Rc<Master>> {
        let masters = self.masters.borrow();
        let leading = masters.values().filter(|of| of.raft.leads() && !self.executor.is_paused(of.node()));
        leading.max_by_key(|master| master.raft.term()).cloned()
    }

    /// The cluster map, as clients have it.
    pub(crate) fn map(&self) -> ClusterMap {
        self.leader().map(|leader| leader.registry.borrow().map()).unwrap_or_default()
    }

    /// What survives a master.
    pub(crate) fn disk_of(&self, master: u8) -> Rc<MasterDisk> {
        Rc::clone(&self.master_disks.borrow()[usize::from(master)])
    }

    /// The id of a session that nobody had.
    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.set(self.sessions.get() + 1);
        self.sessions.get()
    }

    pub(crate) fn worker(&self, node: Node) -> Option<Rc<Worker>> {
        let Node::Worker(number) = node else { return None };
        self.workers.borrow().get(&number).cloned()
    }

    pub(crate) fn node_of(&self, id: WorkerId) -> Option<Node> {
        (0..WORKERS).find(|number| u32::from(*number) + 1 == id.get()).map(Node::Worker)
    }

    /// Whether somebody is at home.
    pub(crate) fn is_up(&self, node: Node) -> bool {
        match node {
            Node::Master(number) => self.masters.borrow().contains_key(&number),
            Node::Worker(number) => self.workers.borrow().contains_key(&number),
            Node::Client(_) | Node::Environment | Node::Trouble => true,
        }
    }

    /// The number of the mount that an inode lies in.
    pub(crate) fn mount_of(&self, inode: &Inode) -> Option<usize> {
        inode.mount.and_then(|id| self.mount_number(id))
    }

    pub(crate) fn mount_number(&self, id: MountId) -> Option<usize> {
        self.mounts.iter().position(|mount| mount.id == id)
    }

    pub(crate) fn start_master(self: &Rc<Self>, number: u8) {
        let master = Master::start(self, number);
        self.masters.borrow_mut().insert(number, master);
    }

    /// A master ends where it is; what it was asked is not answered.
    pub(crate) fn crash_master(&self, number: u8) {
        self.executor.resume(Node::Master(number));
        drop(self.masters.borrow_mut().remove(&number));
        self.executor.crash(Node::Master(number));
    }

    /// The disk of a master that is down is replaced by an empty one.
    pub(crate) fn lose_disk(&self, number: u8) {
        let mut disks = self.master_disks.borrow_mut();
        let newest = disks.iter().map(|disk| disk.id).max().unwrap_or_default();
        disks[usize::from(number)] = Rc::new(MasterDisk::empty(newest + 1));
    }

    pub(crate) fn start_worker(self: &Rc<Self>, number: u8) {
        let worker = Worker::start(self, number);
        self.workers.borrow_mut().insert(number, worker);
    }

    pub(crate) fn crash_worker(&self, number: u8) {
        self.workers.borrow_mut().remove(&number);
        self.executor.crash(Node::Worker(number));
    }
}

/// The state of a cluster that was formatted and has its mounts, before anybody is there. Fills in the ids of mounts.
fn formatted(mounts: &mut [MountedStore], masters: u8) -> Snapshot {
    let format =
        Format { cluster: ClusterId::new([7; 16]), incarnation: INCARNATION, capability_secret: [7; 32] };
    let mut commands = vec![Command::Format(format)];
    commands.extend(mounts.iter().enumerate().map(|(number, mount)| {
        let uri = format!("s3://store-{number}").parse().expect("a legal URI");
        Command::Mount(Mount { path: mount.path.clone(), uri, options: mount.options.clone() })
    }));
    let (mut store, mut index) = (MemoryStore::default(), 0);
    for command in commands {
        index += 1;
        let proposal = Proposal { issued_at: Timestamp::from_nanos(TIME_OF_DAY), session: None, command };
        let applied = apply(&store, LogIndex::new(index), &proposal).expect("memory can be read");
        store.commit(applied.mutations).expect("memory can be written");
    }
    for record in query::mounts(&store).expect("memory can be read") {
        let mount = mounts.iter_mut().find(|mount| mount.path == record.path);
        let mount = mount.expect("only these were mounted");
        (mount.root, mount.id) = (record.root, record.id);
    }
    let members: Members = (0..masters).map(|number| (number, u64::from(number) + 1)).collect();
    Snapshot { index, term: 0, members, store }
}

fn mount_path(number: usize) -> NamespacePath {
    format!("/m{number}").parse().expect("a legal path")
}

/// Short bounds, so that a run sees many of them, and now and then the default.
fn some_options(random: &mut Random) -> MountOptions {
    const SECONDS: [u64; 6] = [0, 1, 3, 10, 20, 60];
    let freshness = Freshness::Bound(Duration::from_secs(SECONDS[random.index(SECONDS.len())]));
    let coherence = if random.chance(1, 5) { Coherence::Strict } else { Coherence::Relaxed };
    MountOptions {
        freshness,
        coherence,
        block_length: ByteCount::new(PAGE_LENGTH),
        ..MountOptions::default()
    }
}

fn some_clock(random: &mut Random) -> Clock {
    let begin = Duration::from_secs(100 + random.below(100_000));
    Clock { begin, speed: random.below(2 * DRIFT_MILLIONTHS + 1) }
}
