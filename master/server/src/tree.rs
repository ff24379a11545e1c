//! Answers about the namespace, each within its mount's freshness, with the right to read what is a file.

mod by_key;
mod describing;
mod path;
mod root;
mod single;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Freshness, Inode, MountRecord, StateReader, query};
use forebay_proto::{Entry, Named, Validity};
use forebay_types::{EntryKind, EntryName, ErrorKind, FileId, InodeId, ListingPosition, MountId};

use crate::answer_room::{AnswerRoom, entry_length};
use crate::error::MasterError;
use crate::freshness::{SYNTHETIC, Verdict, validity};
use crate::limits;
use crate::listing::{
    Covered, Deviations, Goal, Part, Place, check, compare, ensure, ensure_current, ensure_fresh,
    list_if_due, list_now, renew_in_background,
};
use crate::shared::Shared;
use describing::Describing;
use root::as_its_source;
use single::{Name, answer_single, fresh_for_single};

pub(crate) use by_key::{go_through, go_through_names, list_by_key};
pub(crate) use path::resolve;

/// What `name` is in `parent`, and for how long that may be used. Of a directory that is being listed only what is
/// asked for must have been seen, and where listing it costs more than its freshness the name is asked for alone.
pub(crate) async fn lookup(
    shared: &Arc<Shared>,
    parent: InodeId,
    name: &EntryName,
) -> Result<(Option<Entry>, Validity), MasterError> {
    while_forgotten(shared, || lookup_once(shared, parent, name, true)).await
}

/// The same for whoever looks up very many names: the directory is listed for them, unless that would be done for each.
pub(crate) async fn lookup_of_many(
    shared: &Arc<Shared>,
    parent: InodeId,
    name: &EntryName,
) -> Result<(Option<Entry>, Validity), MasterError> {
    while_forgotten(shared, || lookup_once(shared, parent, name, false)).await
}

async fn lookup_once(
    shared: &Arc<Shared>,
    parent: InodeId,
    name: &EntryName,
    is_single: bool,
) -> Result<(Option<Entry>, Validity), MasterError> {
    match look_up(shared, parent, name, is_single).await? {
        (Some(entry), valid) => {
            let (entry, valid) = as_its_source(shared, (entry, valid)).await?;
            Ok((Some(entry), valid))
        }
        missing => Ok(missing),
    }
}

async fn look_up(
    shared: &Arc<Shared>,
    parent: InodeId,
    name: &EntryName,
    is_single: bool,
) -> Result<(Option<Entry>, Validity), MasterError> {
    let question = |state: &dyn StateReader| {
        let found = query::lookup(state, parent, name)?;
        found.map(|inode| Describing::new(shared, state).entry(&inode)).transpose()
    };
    // As a file it would stand before.
    let [as_file, as_directory] =
        [EntryKind::File, EntryKind::Directory].map(|kind| ListingPosition::of(name, kind));
    let of = Name { name, inode: None, position: Some(&as_directory) };
    let place = match look_in(shared, parent, Some(of), question).await? {
        Seen::Answer(answer, valid) => return Ok((answer, valid)),
        Seen::Old(place) => place,
    };
    if place.is_in_maintenance()
        && let Some(known) = shared.query(question).await?
    {
        return Ok((Some(known), place.validity(limits::MAINTENANCE_VALIDITY)));
    }
    let is_at_once = place.freshness() == Some(Freshness::Bound(Duration::ZERO));
    if (is_single || is_at_once)
        && let Some(answered) = answer_single(shared, &place, of, question).await?
    {
        return Ok(answered);
    }
    match ensure(shared, &place, Goal::UpTo(&as_directory)).await? {
        Covered::Whole(remaining) => {
            let answer = shared.query(|state| while_known(state, &place, None, question)).await?;
            Ok((answer, place.validity(remaining)))
        }
        Covered::Part(part) => {
            let shown = |state: &dyn StateReader| {
                let changed_at = query::edge(state, parent, name)?.map(|edge| edge.changed_at);
                let is_gone = changed_at.is_some_and(|changed_at| part.is_gone(name, changed_at));
                if is_gone { Ok(None) } else { question(state) }
            };
            let answer = shared.query(|state| while_known(state, &place, Some(&part), shown)).await?;
            // That it is missing was seen where a file of that name would stand, too, which may be longer ago.
            let at = match answer.as_ref().map(|entry| entry.kind) {
                Some(EntryKind::Directory) => &as_directory,
                _ => &as_file,
            };
            Ok((answer, place.validity_in(&part, at, shared)))
        }
    }
}

/// The entry of an inode.
pub(crate) async fn attributes(
    shared: &Arc<Shared>,
    inode: InodeId,
) -> Result<(Entry, Validity), MasterError> {
    while_forgotten(shared, || async {
        let look = |state: &dyn StateReader| {
            let (inode, mount) = living(state, inode)?;
            look_at(shared, state, inode, mount)
        };
        let seen = shared.query(look).await?;
        as_its_source(shared, described_within(shared, seen, inode).await?).await
    })
    .await
}

/// The entry of a file that is about to be read: its version is the current one within the mount's freshness.
pub(crate) async fn open(shared: &Arc<Shared>, inode: InodeId) -> Result<(Entry, Validity), MasterError> {
    while_forgotten(shared, || open_once(shared, inode)).await
}

async fn open_once(shared: &Arc<Shared>, inode: InodeId) -> Result<(Entry, Validity), MasterError> {
    let seen = shared.query(|state| {
        let (file, mount) = file_in_mount(state, inode)?;
        match mount.options.freshness {
            Freshness::Bound(Duration::ZERO) if !mount.options.is_in_maintenance() => Ok(Err((file, mount))),
            _ => look_at(shared, state, file, Some(mount)).map(Ok),
        }
    });
    match seen.await? {
        Ok(seen) => described_within(shared, seen, inode).await,
        Err((file, mount)) => {
            match ensure_current(shared, &mount, &file).await {
                // It was put into maintenance in the midst of it, and the file is known.
                Err(error) if error.kind() == ErrorKind::Maintenance => {}
                outcome => outcome?,
            }
            Ok((shared.query(|state| described(shared, state, inode)).await?, Validity::default()))
        }
    }
}

/// Up to `limit` entries of a directory after `after`, in the order of their names' bytes; whether no more follow. Fewer
/// come where one message has no room for more, but never none while more follow.
pub(crate) async fn list(
    shared: &Arc<Shared>,
    directory: InodeId,
    after: Option<&EntryName>,
    limit: usize,
) -> Result<(Vec<Named>, bool, Validity), MasterError> {
    let question = |state: &dyn StateReader| page(shared, state, directory, after, limit);
    let listed = while_forgotten(shared, || within_freshness(shared, directory, question)).await?;
    let ((entries, complete), valid) = listed;
    Ok((entries, complete, valid))
}

/// Sees to it that a directory was listed to its end within its freshness, behind those who wait for other directories.
/// An outage is an error, also where older names are known. `NotFound` and `NotADirectory` mean that it is not there any
/// more: where it is a mount's own root that is missing, the under-store is said to fail.
pub(crate) async fn list_whole(shared: &Arc<Shared>, directory: InodeId) -> Result<(), MasterError> {
    let place = shared.query(|state| Place::of(state, existing(state, directory)?, None)).await?;
    let Err(error) = list_if_due(shared, &place).await else { return Ok(()) };
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        return Err(error);
    }
    match shared.query(|state| living(state, directory)).await {
        Ok(_) => Err(MasterError::Listing { kind: ErrorKind::UnderStore, message: error.to_string() }),
        Err(gone) => Err(gone),
    }
}

/// The entry of a file, after it was compared with its under-store just now.
pub(crate) async fn renew(shared: &Arc<Shared>, inode: InodeId) -> Result<Entry, MasterError> {
    let (file, mount) = shared.query(|state| file_in_mount(state, inode)).await?;
    ensure_current(shared, &mount, &file).await?;
    shared.query(|state| described(shared, state, inode)).await
}

/// How what is known of a directory differs from its under-store.
pub(crate) async fn deviations(shared: &Arc<Shared>, directory: InodeId) -> Result<Deviations, MasterError> {
    let place = shared
        .query(|state| {
            let (directory, mount) = living(state, directory)?;
            Place::of(state, directory, mount)
        })
        .await?;
    check(shared, &place).await
}

/// Compares a file with its under-store of which somebody found that the version `stale` is there no more, unless it has
/// another one by now.
pub(crate) async fn refresh_stale(
    shared: &Arc<Shared>,
    inode: InodeId,
    stale: FileId,
) -> Result<(), MasterError> {
    let (file, _) = shared.query(|state| living(state, inode)).await?;
    if file.version().is_some_and(|version| version.file == stale) {
        refresh(shared, inode).await
    } else {
        Ok(())
    }
}

/// Compares a directory or a file with its under-store, whatever its freshness. What lies in no mount is as it is.
pub(crate) async fn refresh(shared: &Arc<Shared>, inode: InodeId) -> Result<(), MasterError> {
    let (inode, mount) = shared.query(|state| living(state, inode)).await?;
    let Some(mount) = mount else { return Ok(()) };
    match inode.kind() {
        EntryKind::Directory => list_now(shared, &Place { directory: inode, mount: Some(mount) }).await,
        EntryKind::File => compare(shared, &mount, &inode).await,
        // A link has no identity of its own; it is as its directory shows it.
        EntryKind::Symlink => {
            let directory = shared.query(|state| existing(state, inode.parent)).await?;
            list_now(shared, &Place { directory, mount: Some(mount) }).await
        }
    }
}

fn file_in_mount(state: &dyn StateReader, inode: InodeId) -> Result<(Inode, MountRecord), MasterError> {
    let file = existing(state, inode)?;
    match (file.kind(), file.mount) {
        (EntryKind::File, Some(id)) => {
            let mount = mounted(state, &file, id)?;
            Ok((file, mount))
        }
        _ => Err(MasterError::NotAFile(inode)),
    }
}

fn page(
    shared: &Arc<Shared>,
    state: &dyn StateReader,
    directory: InodeId,
    after: Option<&EntryName>,
    limit: usize,
) -> Result<(Vec<Named>, bool), MasterError> {
    describe_page(shared, state, query::list(state, directory, after, limit)?, limit)
}

fn describe_page(
    shared: &Arc<Shared>,
    state: &dyn StateReader,
    inodes: Vec<Inode>,
    limit: usize,
) -> Result<(Vec<Named>, bool), MasterError> {
    let found = inodes.len();
    let (mut describing, mut room) = (Describing::new(shared, state), AnswerRoom::new());
    let mut page = Vec::with_capacity(found);
    for inode in inodes {
        let entry = describing.entry(&inode)?;
        let named = Named { name: inode.name.ok_or(MasterError::NoInode(inode.id))?, entry };
        if !room.admits(entry_length(&named)) {
            break;
        }
        page.push(named);
    }
    let complete = found < limit && page.len() == found;
    Ok((page, complete))
}

/// What one look at the state says of a question about a directory.
enum Seen<T> {
    /// The answer, and for how long a client may use it.
    Answer(T, Validity),
    /// What is known is too old to answer from.
    Old(Box<Place>),
}

/// Answers a question about a directory, after listing it if what is known is too old; gives for how long a client
/// may use the answer. Costs one view of the state where nothing has to be listed.
async fn within_freshness<T>(
    shared: &Arc<Shared>,
    directory: InodeId,
    question: impl Fn(&dyn StateReader) -> Result<T, MasterError>,
) -> Result<(T, Validity), MasterError> {
    match look_in(shared, directory, None, &question).await? {
        Seen::Answer(answer, valid) => Ok((answer, valid)),
        Seen::Old(place) => once_listed(shared, &place, question).await,
    }
}

/// Answers a question about a directory, or one name in it, if what is known is fresh.
async fn look_in<T>(
    shared: &Arc<Shared>,
    directory: InodeId,
    of: Option<Name<'_>>,
    question: impl Fn(&dyn StateReader) -> Result<T, MasterError>,
) -> Result<Seen<T>, MasterError> {
    shared
        .query(|state| {
            let place = Place::of(state, existing(state, directory)?, None)?;
            let fresh = match (fresh_for(shared, state, &place)?, of) {
                (None, Some(of)) => fresh_for_single(shared, state, &place, of)?,
                (fresh, _) => fresh,
            };
            match fresh {
                Some(valid) => Ok(Seen::Answer(question(state)?, valid)),
                None => Ok(Seen::Old(Box::new(place))),
            }
        })
        .await
}

/// The entry of an inode, if the listing that it stands in is not too old. Whoever has read the inode's mount gives
/// it, since each open comes here.
fn look_at(
    shared: &Arc<Shared>,
    state: &dyn StateReader,
    inode: Inode,
    mount: Option<MountRecord>,
) -> Result<Seen<Entry>, MasterError> {
    let parent = existing(state, inode.parent)?;
    // The root, and a mount's own root, are there for as long as the mount is; how that is, is asked for beside this.
    if parent.mount.is_none() || inode.mount != parent.mount {
        let entry = Describing { shared, state, mount }.entry(&inode)?;
        return Ok(Seen::Answer(entry, SYNTHETIC));
    }
    let place = Place::of(state, parent, mount)?;
    let in_maintenance = || place.is_in_maintenance().then(|| place.validity(limits::MAINTENANCE_VALIDITY));
    let fresh = match (fresh_for(shared, state, &place)?.or_else(in_maintenance), &inode.name) {
        (None, Some(name)) => {
            let of = Name { name, inode: Some(inode.id), position: None };
            fresh_for_single(shared, state, &place, of)?
        }
        (fresh, _) => fresh,
    };
    match fresh {
        Some(valid) => {
            let entry = Describing { shared, state, mount: place.mount }.entry(&inode)?;
            Ok(Seen::Answer(entry, valid))
        }
        None => Ok(Seen::Old(Box::new(place))),
    }
}

/// The answer once the directory was listed within its freshness.
async fn once_listed<T>(
    shared: &Arc<Shared>,
    place: &Place,
    question: impl FnOnce(&dyn StateReader) -> Result<T, MasterError>,
) -> Result<(T, Validity), MasterError> {
    let valid = ensure_fresh(shared, place).await?;
    let answer = shared.query(|state| while_known(state, place, None, question)).await?;
    Ok((answer, place.validity(valid)))
}

/// The entry of an inode, after its name or its directory was compared where that was not seen at once.
async fn described_within(
    shared: &Arc<Shared>,
    seen: Seen<Entry>,
    inode: InodeId,
) -> Result<(Entry, Validity), MasterError> {
    let place = match seen {
        Seen::Answer(entry, valid) => return Ok((entry, valid)),
        Seen::Old(place) => place,
    };
    let describe = |state: &dyn StateReader| described(shared, state, inode);
    let name = shared.query(|state| Ok(existing(state, inode)?.name)).await?;
    let Some(name) = name else { return once_listed(shared, &place, describe).await };
    let of = Name { name: &name, inode: Some(inode), position: None };
    if let Some(answered) = answer_single(shared, &place, of, describe).await? {
        return Ok(answered);
    }
    // Of a directory that is being listed nobody waits for more than where the name stands.
    match lookup_once(shared, place.directory.id, &name, false).await? {
        (Some(entry), valid) if entry.inode == inode => Ok((entry, valid)),
        // The name leads to something else now, or nowhere.
        _ => Err(MasterError::NoInode(inode)),
    }
}

fn described(shared: &Arc<Shared>, state: &dyn StateReader, inode: InodeId) -> Result<Entry, MasterError> {
    Describing::new(shared, state).entry(&existing(state, inode)?)
}

/// Asks again if the directory was forgotten between its listing and the answer. That it happens twice is unlikely
/// already: what is asked about is forgotten last.
async fn while_forgotten<T, F>(shared: &Shared, ask: impl Fn() -> F) -> Result<T, MasterError>
where
    F: Future<Output = Result<T, MasterError>>,
{
    for _ in 1..limits::FORGOTTEN_ATTEMPTS_MAX {
        match ask().await {
            Err(MasterError::Forgotten(directory)) => shared.checks.lock().forgot(directory),
            outcome => return outcome,
        }
    }
    ask().await
}

/// The answer from a state in which what was listed of a directory, all or a part, is still known.
///
/// # Errors
/// [`MasterError::Forgotten`] if it is not: it is to be asked for again.
fn while_known<T>(
    state: &dyn StateReader,
    place: &Place,
    part: Option<&Part>,
    question: impl FnOnce(&dyn StateReader) -> Result<T, MasterError>,
) -> Result<T, MasterError> {
    if place.mount.is_some() {
        let is_known = match part {
            None => query::is_listed(state, place.directory.id)?,
            Some(part) => part.is_of(&query::listing(state, place.directory.id)?),
        };
        if !is_known {
            return Err(MasterError::Forgotten(place.directory.id));
        }
    }
    question(state)
}

/// For how long a client may use what is known of a directory; `None` if it must be listed first.
fn fresh_for(
    shared: &Arc<Shared>,
    state: &dyn StateReader,
    place: &Place,
) -> Result<Option<Validity>, MasterError> {
    let Some(mount) = &place.mount else {
        return Ok(Some(SYNTHETIC));
    };
    let now = shared.clock.boot_instant();
    let verdict = shared.checks.lock().verdict(place.directory.id, mount.options.freshness, now);
    let remaining = match verdict {
        Verdict::Fresh(remaining) | Verdict::Aging(remaining) => remaining,
        Verdict::Over | Verdict::OverAndFailing => return Ok(None),
    };
    if !query::is_listed(state, place.directory.id)? {
        shared.checks.lock().forgot(place.directory.id);
        return Ok(None);
    }
    if matches!(verdict, Verdict::Aging(_)) {
        renew_in_background(shared, place);
    }
    Ok(Some(place.validity(remaining)))
}

impl Place {
    /// The place of a directory, whose mount is read unless it is given.
    pub(crate) fn of(
        state: &dyn StateReader,
        directory: Inode,
        mount: Option<MountRecord>,
    ) -> Result<Self, MasterError> {
        if directory.kind() != EntryKind::Directory {
            return Err(MasterError::NotADirectory(directory.id));
        }
        let mount = match directory.mount {
            Some(id) if mount.as_ref().is_none_or(|mount| mount.id != id) => {
                Some(mounted(state, &directory, id)?)
            }
            Some(_) => mount,
            None => None,
        };
        Ok(Self { directory, mount })
    }

    /// Whether the under-store may not be asked about it.
    pub(crate) fn is_in_maintenance(&self) -> bool {
        self.mount.as_ref().is_some_and(|mount| mount.options.is_in_maintenance())
    }

    fn freshness(&self) -> Option<Freshness> {
        self.mount.as_ref().map(|mount| mount.options.freshness)
    }

    /// For how long a client may use what a listing under way has shown at a place. It is no grant: that comes with the
    /// whole.
    fn validity_in(&self, part: &Part, at: &ListingPosition, shared: &Shared) -> Validity {
        let remaining = part.remaining(at, shared.clock.boot_instant());
        Validity { granted: Duration::ZERO, ..self.validity(remaining) }
    }

    /// For how long a client may use what the master may use for `remaining`.
    fn validity(&self, remaining: Duration) -> Validity {
        self.mount
            .as_ref()
            .map_or(SYNTHETIC, |mount| validity(remaining, mount.options.freshness, mount.options.coherence))
    }
}

fn existing(state: &dyn StateReader, inode: InodeId) -> Result<Inode, MasterError> {
    query::attributes(state, inode)?.ok_or(MasterError::NoInode(inode))
}

/// An inode that one can come to, and its mount if it lies in one.
fn living(state: &dyn StateReader, inode: InodeId) -> Result<(Inode, Option<MountRecord>), MasterError> {
    let inode = existing(state, inode)?;
    let mount = inode.mount.map(|id| mounted(state, &inode, id)).transpose()?;
    Ok((inode, mount))
}

/// The mount of an inode. Without its mount the inode only waits to be reaped: nobody can come to it any more.
fn mounted(state: &dyn StateReader, inode: &Inode, mount: MountId) -> Result<MountRecord, MasterError> {
    query::mount(state, mount)?.ok_or(MasterError::NoInode(inode.id))
}
