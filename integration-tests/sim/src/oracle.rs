//! The model that all answers are held against: what each path was when, what the cluster had learned when, and which
//! ids stand for what.
//!
//! Rules, by the names that a violation has:
//! - `answers-are-fresh`: an answer is the state of its name at some moment between the question less the freshness of
//!   its mount, and the answer, also when a client remembers it. Excused only while the under-store is away, and then
//!   for a second at a time, and never where the mount wants an error instead; and in maintenance, for 5 s at a time.
//! - `nobody-is-asked-in-maintenance`: from the answer to whoever puts a mount into maintenance on, until it is taken out of
//!   it, no request for names of it begins.
//! - `news-are-heard`: nor is what the master says older than what the cluster had learned of the name before the
//!   question, nor what a client remembers older than what it had learned 5 s before.
//! - `ids-are-not-reused`: an inode is of one path, and a version of one path and one content.
//! - `bytes-are-of-the-version`: what a handle reads is of the version that was opened.
//! - `loads-are-whole`: what a worker says to have loaded is there, and a load that succeeded had each page of what it
//!   was to load seen in its place.
//! - `freed-versions-leave`: some time after the end of all trouble no worker has anything of a version that no file has
//!   any more, but for what was written after it was freed, for whoever had it open.
//! - `changes-are-made-once`: a change of names that one client makes alone has the outcome that it must have, however often
//!   it was asked for, and of whom.
//! - `changes-are-seen`: whoever asks what names there are is told of each change that was answered before.
//! - `a-term-has-one-leader`, `logs-agree`: the model of the log keeps its own promises.
//! - `replicas-are-equal`, `the-state-is-sound`: see [`crate::history`].

mod changes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use forebay_metadata::Freshness;
use forebay_types::{FileId, InodeId};

use self::changes::Changes;
use crate::limits::{COHERENCE_BOUND, MAINTENANCE_VALIDITY, OUTAGE_MEMORY, SLACK};
use crate::master::answers::Entry;
use crate::master::state::Evidence;
use crate::store::{Content, Seen};
use crate::world::World;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// What was found.
    pub what: String,
    /// What happened last about it.
    pub trace: Vec<String>,
    /// At which step of the run.
    pub step: u64,
}

/// How much of what was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answers about names.
    pub answers: u64,
    /// Those of them that a client gave from memory.
    pub remembered: u64,
    /// Names and pages that it remembered beside the kernel.
    pub recalled: u64,
    /// Those that an outage excused.
    pub excused: u64,
    /// Pages that were read.
    pub pages_read: u64,
    /// Loads of workers that ended well.
    pub loads: u64,
    /// Jobs that succeeded.
    pub jobs: u64,
    /// Changes that the cluster learned.
    pub learned: u64,
    /// Names that were compared alone.
    pub single_names: u64,
    /// Those of them whose directory took longer to list than their freshness, which is not zero.
    pub dear_names: u64,
    /// Versions that were freed and looked for.
    pub freed: u64,
    /// Rows of the outbox that were trimmed.
    pub trimmed: u64,
    /// Changes of names that were answered.
    pub changes: u64,
    /// Names that were looked at.
    pub looks: u64,
    /// Times that a master began to lead.
    pub take_overs: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.answers += more.answers;
        self.remembered += more.remembered;
        self.recalled += more.recalled;
        self.excused += more.excused;
        self.pages_read += more.pages_read;
        self.loads += more.loads;
        self.jobs += more.jobs;
        self.learned += more.learned;
        self.single_names += more.single_names;
        self.dear_names += more.dear_names;
        self.freed += more.freed;
        self.trimmed += more.trimmed;
        self.changes += more.changes;
        self.looks += more.looks;
        self.take_overs += more.take_overs;
    }
}

/// What somebody was told of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The number of the mount.
    pub(crate) mount: usize,
    /// The path in it.
    pub(crate) path: &'a str,
    /// What it is said to be.
    pub(crate) seen: Seen,
    /// When it was asked for.
    pub(crate) asked: Duration,
    /// The under-store is said to be away.
    pub(crate) is_outage: bool,
    /// Nobody was asked for it.
    pub(crate) is_remembered: bool,
}

/// When the cluster learned something, and when that was so.
type Learned = (Duration, Duration);

/// The model.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// When something was learned of a path, and when it was so.
    knowledge: RefCell<BTreeMap<(usize, String), Vec<Learned>>>,
    inodes: RefCell<BTreeMap<InodeId, (usize, String)>>,
    versions: RefCell<BTreeMap<FileId, (usize, String, Content)>>,
    /// When a worker last said, rightly, that a page is there.
    confirmed: RefCell<BTreeMap<(FileId, u32), Duration>>,
    /// When each version was taken from the last file that had it.
    freed: RefCell<BTreeMap<FileId, Duration>>,
    changes: Changes,
    /// The leader of each term.
    leaders: RefCell<BTreeMap<u64, u8>>,
    violation: RefCell<Option<Violation>>,
    counts: Cell<Counts>,
}

impl Oracle {
    /// The first rule that was broken.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation.borrow().clone()
    }

    /// What was checked so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.get()
    }

    pub(crate) fn count(&self, add: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        add(&mut counts);
        self.counts.set(counts);
    }

    /// A rule is broken; the last lines of the trace that have one of these words belong to it.
    pub(crate) fn report(&self, world: &World, rule: &'static str, what: String, words: &[String]) {
        world.note(format_args!("VIOLATION of {rule}: {what}"));
        let mut violation = self.violation.borrow_mut();
        if violation.is_none() {
            let trace = world.trace.about(words, 40);
            *violation = Some(Violation { rule, what, trace, step: world.step.get() });
        }
    }

    /// The cluster took over what was so of a path at some moment.
    pub(crate) fn learned(&self, of: &Evidence, now: Duration) {
        self.count(|counts| counts.learned += 1);
        let mut knowledge = self.knowledge.borrow_mut();
        knowledge.entry((of.mount, of.path.clone())).or_default().push((now, of.at));
    }

    /// Checks what somebody was told just now.
    pub(crate) fn check(&self, world: &World, who: &str, claim: Claim<'_>) {
        self.count(|counts| {
            counts.answers += 1;
            counts.remembered += u64::from(claim.is_remembered);
            counts.excused += u64::from(claim.is_outage);
        });
        let (mount, now) = (&world.mounts[claim.mount], world.now());
        let Freshness::Bound(freshness) = mount.freshness() else { return };
        let may_lag = claim.is_remembered && (mount.grants() || claim.is_outage);
        let heard_by =
            claim.asked.saturating_sub(if may_lag { COHERENCE_BOUND + SLACK } else { Duration::ZERO });
        let learned_from = self.known_at(claim.mount, claim.path, heard_by);
        let fresh_from = match claim.is_outage
            && (!mount.fails_in_outage() || self.is_maintenance(world, claim))
        {
            true if !self.is_excused(world, claim) => {
                let what = format!("{who} was told of an outage of mount {} that there is not", claim.mount);
                return self.report(world, "answers-are-fresh", what, &[words(claim.mount, claim.path)]);
            }
            true => Duration::ZERO,
            false => claim.asked.saturating_sub(freshness + SLACK),
        };
        let rules = [("answers-are-fresh", fresh_from), ("news-are-heard", learned_from)];
        for (rule, from) in rules {
            let allowed = mount.store.between(claim.path, from, now);
            if allowed.contains(&claim.seen) {
                continue;
            }
            let (path, seen, asked) = (claim.path, claim.seen, claim.asked);
            let how = if claim.is_remembered { "remembered" } else { "was told" };
            let what = format!(
                "{who} {how} that {path:?} of mount {} (freshness {freshness:?}) is {seen:?}; asked at {asked:?}, from \
                 {from:?} to {now:?} it was {allowed:?}",
                claim.mount
            );
            return self.report(world, rule, what, &[words(claim.mount, path), who.to_owned()]);
        }
    }

    /// Whether nobody might ask the under-store when a client was told what it uses now.
    fn is_maintenance(&self, world: &World, claim: Claim<'_>) -> bool {
        let since = claim.asked.saturating_sub(MAINTENANCE_VALIDITY + SLACK);
        world.mounts[claim.mount].store.was_closed_since(since)
    }

    /// Whether the under-store was away not long before.
    fn is_excused(&self, world: &World, claim: Claim<'_>) -> bool {
        if self.is_maintenance(world, claim) {
            return true;
        }
        let trouble = world.mounts[claim.mount].store.trouble_at();
        trouble.is_some_and(|at| at.saturating_add(OUTAGE_MEMORY) >= claim.asked)
    }

    /// When the latest of what had been learned of a path by `by` was so.
    fn known_at(&self, mount: usize, path: &str, by: Duration) -> Duration {
        let knowledge = self.knowledge.borrow();
        let all = knowledge.get(&(mount, path.to_owned())).map_or(&[][..], Vec::as_slice);
        let known = all.partition_point(|(learned, _)| *learned <= by);
        known.checked_sub(1).map_or(Duration::ZERO, |last| all[last].1)
    }

    /// Checks that ids stand for what they always stood for.
    pub(crate) fn check_ids(&self, world: &World, mount: usize, path: &str, entry: &Entry) {
        let place = (mount, path.to_owned());
        let mut inodes = self.inodes.borrow_mut();
        let known = inodes.entry(entry.inode).or_insert_with(|| place.clone());
        if *known != place {
            let what = format!("{} is {place:?} and was {known:?}", entry.inode);
            self.report(world, "ids-are-not-reused", what, &[words(mount, path)]);
        }
        let (Some(version), Seen::File(content)) = (&entry.version, entry.seen) else { return };
        let meaning = (mount, path.to_owned(), content);
        let mut versions = self.versions.borrow_mut();
        let known = versions.entry(version.file).or_insert_with(|| meaning.clone());
        if *known != meaning {
            let what = format!("{} is {meaning:?} and was {known:?}", version.file);
            self.report(world, "ids-are-not-reused", what, &[words(mount, path)]);
        }
    }

    /// A worker has all of these pages, as the disk was just seen to have.
    pub(crate) fn confirm(&self, world: &World, file: FileId, pages: impl Iterator<Item = u32>) {
        let mut confirmed = self.confirmed.borrow_mut();
        for page in pages {
            confirmed.insert((file, page), world.now());
        }
    }

    /// No file has these versions any more.
    pub(crate) fn freed(&self, files: &[FileId], now: Duration) {
        self.freed.borrow_mut().extend(files.iter().map(|file| (*file, now)));
    }

    /// Checks that what was freed until `by` has left the workers.
    pub(crate) fn check_freed(&self, world: &World, by: Duration) {
        let freed = self.freed.borrow();
        self.count(|counts| counts.freed += freed.values().filter(|at| **at <= by).count() as u64);
        for (number, disk) in world.disks.iter().enumerate() {
            for (file, written_at) in disk.versions() {
                let Some(at) = freed.get(&file).filter(|at| **at <= by && written_at <= **at) else {
                    continue;
                };
                let what = format!(
                    "worker {number} has {file} at {:?}, which was freed at {at:?} and written at {written_at:?}",
                    world.now()
                );
                self.report(world, "freed-versions-leave", what, &[format!("{file}")]);
            }
        }
    }

    /// Whether a worker said so since.
    pub(crate) fn is_confirmed(&self, file: FileId, page: u32, since: Duration) -> bool {
        self.confirmed.borrow().get(&(file, page)).is_some_and(|at| *at >= since)
    }
}

/// The word by which the trace speaks of a path.
pub(crate) fn words(mount: usize, path: &str) -> String {
    format!("{mount}:{path:?}")
}
