//! The only door to the state: one entry of the log in; reply, effects and rows to write out.
//!
//! Nothing is written here. The caller commits the mutations and the index of the last entry as one, and answers only
//! then. Same entries, same state: same result, on each master and at each replay.

use forebay_types::{LogIndex, Timestamp};

use crate::command::{ChangeMount, Command, Mount};
use crate::effect::Effect;
use crate::proposal::Proposal;
use crate::reply::{Rejection, Reply, Success};
use crate::session;
use crate::state::{Clock, ClusterIdentity, Transition};
use crate::store::{Mutation, Overlay, StateReader, StoreError};

/// What one entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer to whoever proposed.
    pub reply: Reply,
    /// What the world must now do.
    pub effects: Vec<Effect>,
    /// Rows to write, one mutation for each row.
    pub mutations: Vec<Mutation>,
}

/// What one entry of a batch did, beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer to whoever proposed.
    pub reply: Reply,
    /// What the world must now do.
    pub effects: Vec<Effect>,
}

/// What a batch of entries did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedBatch {
    /// For each entry, in order.
    pub outcomes: Vec<Outcome>,
    /// Rows to write for all entries together, one mutation for each row.
    pub mutations: Vec<Mutation>,
}

/// Applies one entry to the state that `reader` shows.
///
/// # Errors
/// [`StoreError`] when the state cannot be read; the entry then did nothing, and the caller must stop.
pub fn apply(reader: &dyn StateReader, index: LogIndex, proposal: &Proposal) -> Result<Applied, StoreError> {
    let mut rows = Overlay::new(reader);
    let Outcome { reply, effects } = apply_entry(&mut rows, index, proposal)?;
    Ok(Applied { reply, effects, mutations: rows.into_mutations() })
}

/// Applies several entries, each to the state that the ones before it left. The result equals that of [`apply`] and a
/// commit for each, at the price of one commit.
///
/// # Errors
/// [`StoreError`] when the state cannot be read; no entry of the batch then did anything, and the caller must stop.
pub fn apply_all<'p>(
    reader: &dyn StateReader,
    entries: impl IntoIterator<Item = (LogIndex, &'p Proposal)>,
) -> Result<AppliedBatch, StoreError> {
    let mut rows = Overlay::new(reader);
    let outcomes = entries
        .into_iter()
        .map(|(index, proposal)| apply_entry(&mut rows, index, proposal))
        .collect::<Result<_, _>>()?;
    Ok(AppliedBatch { outcomes, mutations: rows.into_mutations() })
}

fn apply_entry(rows: &mut Overlay<'_>, index: LogIndex, proposal: &Proposal) -> Result<Outcome, StoreError> {
    let identity = ClusterIdentity::read(rows)?;
    if identity.is_none() && !matches!(proposal.command, Command::Format(_)) {
        return Ok(Outcome { reply: Err(Rejection::NotFormatted), effects: Vec::new() });
    }
    let now = advance_clock(rows, proposal.issued_at)?;
    if let Some(stamp) = &proposal.session
        && let Some(reply) = session::begin(rows, stamp, now)?
    {
        return Ok(Outcome { reply, effects: Vec::new() });
    }
    // From here on the writes are the command's own, and go if it is refused.
    rows.keep();
    let mut transition = Transition::new(rows, index, now, identity.as_ref());
    let reply = run(&proposal.command, &mut transition)?;
    let effects = if reply.is_ok() {
        transition.finish()?
    } else {
        rows.undo();
        Vec::new()
    };
    if let Some(stamp) = &proposal.session {
        session::remember(rows, stamp, &reply);
    }
    Ok(Outcome { reply, effects })
}

fn run(command: &Command, state: &mut Transition<'_, '_>) -> Result<Result<Success, Rejection>, StoreError> {
    match command {
        Command::Format(command) => command.apply(state),
        Command::MountBefore(command) => Mount::from(command.clone()).apply(state),
        Command::Unmount(command) => command.apply(state),
        Command::ApplyListing(command) => command.apply(state),
        Command::SupersedeVersion(command) => command.apply(state),
        Command::ForgetDirectory(command) => command.apply(state),
        Command::ExpireSessions(command) => command.apply(state),
        Command::Reap(command) => command.apply(state),
        Command::AdmitWorker(command) => command.apply(state),
        Command::BeginLoad(command) => command.apply(state),
        Command::ExtendLoad(command) => command.apply(state),
        Command::AdvanceJob(command) => command.apply(state),
        Command::EndJob(command) => command.apply(state),
        Command::ChangeMountBefore(command) => ChangeMount::from(command.clone()).apply(state),
        Command::MountWithoutAdmission(command) => Mount::from(command.clone()).apply(state),
        Command::ChangeMountWithoutAdmission(command) => ChangeMount::from(command.clone()).apply(state),
        Command::Mount(command) => command.apply(state),
        Command::ChangeMount(command) => command.apply(state),
        Command::BeginMetadataLoad(command) => command.apply(state),
        Command::AdvanceMetadataLoad(command) => command.apply(state),
        Command::EndMetadataLoad(command) => command.apply(state),
        Command::DescribeMount(command) => command.apply(state),
        Command::TrimOutbox(command) => command.apply(state),
        Command::MakeDirectory(command) => command.apply(state),
        Command::RemoveDirectory(command) => command.apply(state),
        Command::Rename(command) => command.apply(state),
        Command::SetAttributes(command) => command.apply(state),
        Command::Pin(command) => command.apply(state),
        Command::Unpin(command) => command.apply(state),
        Command::SetFeatureLevel(command) => command.apply(state),
    }
}

/// Moves the state's clock on, never back.
fn advance_clock(rows: &mut Overlay<'_>, issued_at: Timestamp) -> Result<Timestamp, StoreError> {
    let before = Clock::read(rows)?;
    match before {
        Some(clock) if clock.now >= issued_at => Ok(clock.now),
        _ => {
            Clock { now: issued_at }.write(rows);
            Ok(issued_at)
        }
    }
}
