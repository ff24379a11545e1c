//! A master's log and state for people: read from its folder, whether the master runs or not, and left as they are.
//!
//! What is damaged or of a later version is told in its place, and the rest is shown all the same. Nothing is shown that is
//! secret. Blocks on the disk; memory is bounded by the limits of one read.

mod state;

use std::fmt;
use std::path::Path;

use forebay_metadata::{CodecError, Proposal};
use forebay_storage::LogView;
use forebay_types::{Sequence, SessionId, Timestamp};
use openraft::vote::RaftLeaderId;

use crate::codec::{self, EntryParts};
use crate::error::RaftError;
use crate::limits::{JOURNAL_ENTRIES_MAX, READ_ENTRIES_MAX, READ_LENGTH_MAX};
use crate::log::{NODE_KEY, PURGED_KEY, VOTE_KEY};
use crate::restore::LOG;
use crate::types::Membership;

pub use state::{StateJournal, StateLine};

/// A log that is looked at.
#[derive(Debug)]
pub struct Journal {
    log: LogView,
    first: Option<u64>,
    last: Option<u64>,
}

/// What a log says of itself, each part in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHeading {
    /// The node that it is of.
    pub node: String,
    /// For whom it voted last.
    pub vote: String,
    /// What is no longer in it.
    pub purged: String,
    /// The first and the last entry that are there.
    pub range: Option<(u64, u64)>,
    /// What of it is damaged, where that was seen when it was opened.
    pub damage: Option<String>,
}

/// What stands at one or several places of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalLine {
    /// An entry.
    Entry {
        /// Its place.
        index: u64,
        /// The term in which it was written.
        term: u64,
        /// What it carries.
        body: JournalBody,
    },
    /// Entries that cannot be shown.
    Unreadable {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// Why.
        problem: String,
    },
}

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalBody {
    /// Nothing: a leader began with it.
    NewLeader,
    /// Commands that were proposed at about the same time.
    Commands(Vec<Result<JournalCommand, String>>),
    /// Another membership, in words.
    Members(String),
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalCommand {
    /// The leader's time when it was proposed.
    pub at: Timestamp,
    /// Whose it is; none of the master's own.
    pub session: Option<(SessionId, Sequence)>,
    /// Its name.
    pub name: &'static str,
    /// Its essential arguments, in words.
    pub arguments: String,
}

impl Journal {
    /// Opens the log in a master's folder.
    ///
    /// # Errors
    /// [`RaftError::Storage`] when there is none, or none of which anything can be read.
    pub fn open(dir: &Path) -> Result<Self, RaftError> {
        let log = LogView::open(&dir.join(LOG))?;
        let purged = log.meta(PURGED_KEY).ok().flatten();
        let purged = purged.and_then(|bytes| codec::decode_log_id("the purged log", &bytes).ok());
        let begin = purged.map_or(0, |purged| purged.index + 1);
        let found = |end: Option<(u64, Vec<u8>)>| end.map(|(index, _)| index);
        // Behind a purge each entry must be there; else a log may begin anywhere.
        let first = match log.first() {
            Ok(first) => found(first).map(|first| if purged.is_some() { first.min(begin) } else { first }),
            Err(_) => Some(begin),
        };
        let last = match log.last() {
            Ok(last) => found(last),
            // Where no end can be found the first place stands for all of them.
            Err(_) => last_that_may_be(&log, begin).or(first),
        };
        Ok(Self { log, first, last })
    }

    /// What the log says of itself.
    #[must_use]
    pub fn heading(&self) -> JournalHeading {
        JournalHeading {
            node: self.mark(NODE_KEY, |bytes| Ok(codec::decode_node(bytes)?.to_string())),
            vote: self.mark(VOTE_KEY, |bytes| {
                let vote = codec::decode_vote(bytes)?;
                let (leader, what) = (vote.leader_id, if vote.committed { "follows" } else { "voted for" });
                Ok(format!("{what} node {} in term {}", leader.node_id(), leader.term()))
            }),
            purged: self.mark(PURGED_KEY, |bytes| {
                let id = codec::decode_log_id("the end of the purged log", bytes)?;
                Ok(format!("through {} of term {}", id.index, id.leader_id.term))
            }),
            range: self.first.zip(self.last),
            damage: self.log.damage().map(ToString::to_string),
        }
    }

    fn mark(&self, name: &str, tell: impl FnOnce(&[u8]) -> Result<String, RaftError>) -> String {
        match self.log.meta(name) {
            Ok(Some(bytes)) => tell(&bytes).unwrap_or_else(|error| error.to_string()),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// What stands between two places, both included, as far as there is something.
    pub fn lines(&self, from: Option<u64>, to: Option<u64>) -> impl Iterator<Item = JournalLine> + '_ {
        let (first, end) = match (self.first, self.last) {
            (Some(first), Some(last)) => (first, last.saturating_add(1)),
            _ => (0, 0),
        };
        let next = from.map_or(first, |from| from.max(first));
        let end = to.map_or(end, |to| end.min(to.saturating_add(1)));
        Lines { log: &self.log, next, end, ready: Vec::new().into_iter() }
    }
}

/// Of a log whose end cannot be read: the last place from `begin` on where there may be an entry. Behind the end there is
/// nothing to be read, and nothing that cannot be; `None` where far behind it still nothing can be told.
fn last_that_may_be(log: &LogView, begin: u64) -> Option<u64> {
    let is_behind = |index: u64| matches!(log.entry(index), Ok(None));
    let (mut inside, mut step) = (begin, 1);
    while !is_behind(begin.saturating_add(step)) {
        if step > JOURNAL_ENTRIES_MAX {
            return None;
        }
        inside = begin.saturating_add(step);
        step *= 2;
    }
    let mut behind = begin.saturating_add(step);
    while inside + 1 < behind {
        let middle = inside + (behind - inside) / 2;
        if is_behind(middle) { behind = middle } else { inside = middle }
    }
    Some(inside)
}

/// The lines of a log, a read at a time.
struct Lines<'l> {
    log: &'l LogView,
    next: u64,
    end: u64,
    ready: std::vec::IntoIter<JournalLine>,
}

impl Iterator for Lines<'_> {
    type Item = JournalLine;

    fn next(&mut self) -> Option<JournalLine> {
        loop {
            if let Some(line) = self.ready.next() {
                return Some(line);
            }
            if self.next >= self.end {
                return None;
            }
            let end = self.end.min(self.next.saturating_add(READ_ENTRIES_MAX));
            self.ready = self.read(end).into_iter();
        }
    }
}

impl Lines<'_> {
    fn read(&mut self, end: u64) -> Vec<JournalLine> {
        let (rows, reached) = match self.log.read(self.next..end, READ_LENGTH_MAX) {
            // Behind the last one that the limit of bytes let through there may be more.
            Ok(rows) => {
                let last = rows.last().map(|(index, _)| index + 1);
                (rows.into_iter().map(|(index, bytes)| (index, Ok(bytes))).collect(), last.unwrap_or(end))
            }
            Err(_) => (self.one_by_one(end), end),
        };
        let mut lines = Vec::new();
        for (index, row) in rows {
            if index > self.next {
                unreadable(&mut lines, self.next, index - 1, "missing".to_owned());
            }
            self.next = index + 1;
            match row.and_then(|bytes| line(index, &bytes).map_err(|error| error.to_string())) {
                Ok(line) => lines.push(line),
                Err(problem) => unreadable(&mut lines, index, index, problem),
            }
        }
        if self.next < reached {
            unreadable(&mut lines, self.next, reached - 1, "missing".to_owned());
            self.next = reached;
        }
        lines
    }

    /// The entries before `end` that can be read, and why the others cannot.
    fn one_by_one(&self, end: u64) -> Vec<(u64, Result<Vec<u8>, String>)> {
        let mut rows = Vec::new();
        for index in self.next..end {
            match self.log.entry(index) {
                Ok(found) => rows.extend(found.map(|bytes| (index, Ok(bytes)))),
                Err(error) => rows.push((index, Err(error.to_string()))),
            }
        }
        rows
    }
}

/// Adds entries that cannot be shown, to those before them where the reason is the same.
fn unreadable(lines: &mut Vec<JournalLine>, first: u64, last: u64, problem: String) {
    if let Some(JournalLine::Unreadable { last: before, problem: same, .. }) = lines.last_mut()
        && *same == problem
        && *before + 1 == first
    {
        *before = last;
        return;
    }
    lines.push(JournalLine::Unreadable { first, last, problem });
}

fn line(index: u64, bytes: &[u8]) -> Result<JournalLine, RaftError> {
    let (term, parts) = codec::entry_parts(index, bytes)?;
    let body = match parts {
        EntryParts::Blank => JournalBody::NewLeader,
        EntryParts::Proposals(encoded) => {
            let told = encoded.into_iter().map(|bytes| command(bytes).map_err(|error| error.to_string()));
            JournalBody::Commands(told.collect())
        }
        EntryParts::Membership(membership) => JournalBody::Members(members(&membership)),
    };
    Ok(JournalLine::Entry { index, term, body })
}

fn command(bytes: &[u8]) -> Result<JournalCommand, CodecError> {
    let Proposal { issued_at, session, command } = Proposal::decode(bytes)?;
    Ok(JournalCommand {
        at: issued_at,
        session: session.map(|stamp| (stamp.session, stamp.sequence)),
        name: command.name(),
        arguments: command.summary(),
    })
}

/// Who votes and who only follows.
fn members(membership: &Membership) -> String {
    let node = |id: &u64| match membership.get_node(id) {
        Some(info) => format!("{id} (master {} at {})", info.slot, info.address.escape_debug()),
        None => format!("{id} (nothing is known of it)"),
    };
    let list = |ids: &mut dyn Iterator<Item = u64>| ids.map(|id| node(&id)).collect::<Vec<_>>().join(", ");
    let sets = membership.get_joint_config().iter().map(|voters| list(&mut voters.iter().copied()));
    let mut words = format!("voters {}", sets.collect::<Vec<_>>().join("; to become "));
    let learners = list(&mut membership.learner_ids());
    if !learners.is_empty() {
        words.push_str(&format!("; learners {learners}"));
    }
    words
}

impl fmt::Display for JournalLine {
    /// One line; of several commands one each, told apart by a number behind the index.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { first, last, problem } if first == last => {
                write!(f, "{first}  UNREADABLE  {problem}")
            }
            Self::Unreadable { first, last, problem } => write!(f, "{first}-{last}  UNREADABLE  {problem}"),
            Self::Entry { index, term, body } => match body {
                JournalBody::NewLeader => write!(f, "{index}  term {term}  -  -  new_leader"),
                JournalBody::Members(words) => write!(f, "{index}  term {term}  -  -  members  {words}"),
                JournalBody::Commands(commands) if commands.is_empty() => {
                    write!(f, "{index}  term {term}  -  -  nothing")
                }
                JournalBody::Commands(commands) => {
                    for (at, command) in commands.iter().enumerate() {
                        let line = if at == 0 { "" } else { "\n" };
                        let place = if commands.len() == 1 { String::new() } else { format!(".{}", at + 1) };
                        match command {
                            Ok(command) => write!(f, "{line}{index}{place}  term {term}  {command}")?,
                            Err(problem) => {
                                write!(f, "{line}{index}{place}  term {term}  UNREADABLE  {problem}")?
                            }
                        }
                    }
                    Ok(())
                }
            },
        }
    }
}

impl fmt::Display for JournalCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, session, name, arguments } = self;
        write!(f, "{at}  ")?;
        match session {
            Some((session, sequence)) => write!(f, "{session}/{sequence}")?,
            None => f.write_str("-")?,
        }
        write!(f, "  {name}  {arguments}")
    }
}

#[cfg(test)]
mod tests;
