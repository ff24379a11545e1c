//! A client: the real grants and the real memory of directories, and what the bridge does with them: look-ups, opens,
//! listings.
//!
//! It stands for the kernel too: what may be remembered is asked for each time that something is used, and now and then
//! the kernel forgets everything.

mod changes;
mod follower;
mod masters;
mod operations;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_client::{About, Directories, Grants, Remembered, Standing, Term};
use forebay_proto::Validity;
use forebay_types::{EntryKind, ErrorKind, InodeId};

use crate::executor::Node;
use crate::limits::{ANSWER_DEADLINE, DIRECTORY_AGE_MAX, SLACK};
use crate::master::answers::{Answer, Entry};
use crate::oracle::Claim;
use crate::store::{Seen, entry_name, join};
use crate::world::World;

/// Answers that one client remembers; beyond it all are asked for again.
const REMEMBERED_MAX: usize = 400;

/// One life of a client.
#[derive(Debug)]
pub(crate) struct Client {
    number: u8,
    /// The master that is asked first.
    master: Cell<u8>,
    grants: Arc<Grants>,
    directories: Directories<Entry>,
    /// What the kernel and the nodes of the bridge remember.
    remembered: RefCell<BTreeMap<(InodeId, String), Known>>,
    /// Until when what is known of a directory was last granted for want of an under-store.
    outages: RefCell<BTreeMap<InodeId, Instant>>,
}

/// A directory of a mount.
#[derive(Clone, Debug)]
struct Directory {
    mount: usize,
    path: String,
    inode: InodeId,
}

/// What a client knows of a name.
#[derive(Clone, Debug)]
struct Known {
    entry: Option<Entry>,
    /// When the master was asked.
    asked: Instant,
    /// Until when the answer may be used by itself.
    until: Instant,
    is_outage: bool,
}

/// All that is asked about lies in mounts.
impl Remembered for Entry {
    fn inode(&self) -> InodeId {
        self.inode
    }

    fn kind(&self) -> EntryKind {
        Self::kind(self)
    }

    fn is_of_under_store(&self) -> bool {
        true
    }

    fn own_grant(&self) -> bool {
        // Whatever has one has owner and mode, and nothing here has.
        false
    }

    fn heap_bytes(&self) -> usize {
        100
    }
}

impl Client {
    /// Starts a client.
    pub(crate) fn start(world: &Rc<World>, number: u8) {
        // Often too little for all that is asked, so that some of it is forgotten.
        let memory = world.dice("client", |random| random.index(64)) << 10;
        let grants = Arc::<Grants>::default();
        let client = Rc::new(Self {
            number,
            master: Cell::new(number % world.plan.masters),
            directories: Directories::new(Arc::clone(&grants), memory, DIRECTORY_AGE_MAX),
            grants,
            remembered: RefCell::default(),
            outages: RefCell::default(),
        });
        let node = Node::Client(number);
        let (of, to) = (Rc::clone(world), Rc::clone(&client));
        world.executor.spawn(node, async move { follower::follow(&of, &to).await });
        let (of, to) = (Rc::clone(world), Rc::clone(&client));
        world.executor.spawn(node, async move { changes::work(&of, &to).await });
        // Two programs, so that answers overtake each other.
        for _ in 0..2 {
            let (of, to) = (Rc::clone(world), Rc::clone(&client));
            world.executor.spawn(node, async move { operations::work(&of, &to).await });
        }
    }

    fn node(&self) -> Node {
        Node::Client(self.number)
    }

    fn name(&self) -> String {
        format!("client {}", self.number)
    }

    fn now(&self, world: &World) -> Instant {
        world.instant(self.node())
    }

    /// As `left_of` of fuse-bridge/src/bridge.rs.
    fn left(&self, world: &World, directory: InodeId, known: &Known) -> Duration {
        let now = self.now(world);
        let by_itself = known.until.saturating_duration_since(now);
        let about = match &known.entry {
            Some(entry) => About::entry(entry.inode, directory),
            None => About::names(directory),
        };
        match self.grants.standing(about, known.asked, now) {
            Standing::Void => Duration::ZERO,
            Standing::Granted(until) => by_itself.max(until.saturating_duration_since(now)),
            Standing::Unknown => by_itself,
        }
    }

    /// Takes an answer up: what it grants, and what is to be remembered.
    fn take<T>(&self, world: &World, directory: InodeId, asked: Instant, answer: &Answer<T>) -> Instant {
        let Validity { alone, granted } = answer.validity;
        self.grants.grant(About::names(directory), asked, answer.validity, self.now(world));
        if answer.is_outage {
            let until = asked + alone.max(granted);
            let mut outages = self.outages.borrow_mut();
            let known = outages.entry(directory).or_insert(until);
            *known = until.max(*known);
        }
        asked + alone
    }

    /// What is granted in an outage is excused for as long as that holds, and not for longer.
    fn is_excused(&self, world: &World, directory: InodeId) -> bool {
        let until = self.outages.borrow().get(&directory).copied();
        until.is_some_and(|until| self.now(world) <= until + SLACK)
    }

    /// What the client remembers of a name beside the kernel.
    fn recall(&self, world: &World, directory: InodeId, name: &str) -> Option<Known> {
        let now = self.now(world);
        let (entry, term) = self.directories.lookup(directory, &entry_name(name), now)?;
        let entry = entry.map(|entry| (*entry).clone());
        let is_outage = self.is_excused(world, directory);
        Some(Known { entry, asked: term.asked, until: term.until, is_outage })
    }

    /// A question about an inode failed: if it is gone, nothing that leads to it is remembered.
    fn learn_failure<T>(&self, world: &World, inode: InodeId, outcome: &Result<T, ErrorKind>) {
        if let Err(ErrorKind::NotFound | ErrorKind::NotADirectory) = outcome {
            self.directories.forget(inode, self.now(world));
        }
    }

    fn remember(&self, directory: InodeId, name: &str, known: &Known) {
        let mut remembered = self.remembered.borrow_mut();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        // Answers may overtake each other; the newest stays.
        let place = (directory, name.to_owned());
        if remembered.get(&place).is_none_or(|older| older.asked <= known.asked) {
            remembered.insert(place, known.clone());
        }
    }

    /// What a name is in a directory, from memory where that may be used. `anew`: the kernel was sent back.
    async fn look_up(
        &self,
        world: &Rc<World>,
        directory: &Directory,
        name: &str,
        anew: bool,
    ) -> Result<Known, ErrorKind> {
        let begun = world.now();
        let place = (directory.inode, name.to_owned());
        let remembered = self.remembered.borrow().get(&place).cloned();
        let usable = remembered.filter(|known| !anew && !self.left(world, directory.inode, known).is_zero());
        if let Some(mut known) = usable {
            known.is_outage = self.is_excused(world, directory.inode);
            self.claim(world, directory, name, &known, (begun, true));
            return Ok(known);
        }
        if let Some(known) = self.recall(world, directory.inode, name) {
            self.remember(directory.inode, name, &known);
            world.oracle.count(|counts| counts.recalled += 1);
            self.claim(world, directory, name, &known, (begun, true));
            return Ok(known);
        }
        let (parent, asked, of) = (directory.inode, self.now(world), name.to_owned());
        let asking = self.ask(world, ANSWER_DEADLINE, move |world, master| {
            let of = of.clone();
            Box::pin(async move { master.lookup(&world, parent, &of).await })
        });
        let answer = asking.await;
        self.learn_failure(world, parent, &answer);
        let answer = answer?;
        let until = self.take(world, parent, asked, &answer);
        let (entry, term) = (answer.of.clone(), Term::new(asked, answer.validity));
        self.directories.learn(parent, &entry_name(name), entry, term, self.now(world));
        let known = Known { entry: answer.of, asked, until, is_outage: answer.is_outage };
        self.remember(parent, name, &known);
        self.claim(world, directory, name, &known, (begun, false));
        Ok(known)
    }

    /// Has an answer checked.
    fn claim(
        &self,
        world: &World,
        directory: &Directory,
        name: &str,
        known: &Known,
        (asked, is_remembered): (Duration, bool),
    ) {
        let path = join(&directory.path, name);
        let seen = known.entry.as_ref().map_or(Seen::Absent, |entry| entry.seen);
        let (mount, is_outage) = (directory.mount, known.is_outage);
        let how = if is_remembered { "remembers" } else { "is told" };
        world.note(format_args!("{} {how} {mount}:{path:?}: {seen:?} outage {is_outage}", self.name()));
        if let Some(entry) = &known.entry {
            world.oracle.check_ids(world, mount, &path, entry);
        }
        let claim = Claim { mount, path: &path, seen, asked, is_outage, is_remembered };
        world.oracle.check(world, &self.name(), claim);
    }
}
