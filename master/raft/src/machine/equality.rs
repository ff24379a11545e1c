//! The same log gives the same rows on each master, however it is cut, on whichever store, and over a snapshot on the way.

use forebay_metadata::snapshot::{DumpedRow, dump};
use forebay_metadata::store::{MemoryStore, StateWriter};
use forebay_metadata::{
    ApplyListing, ExpireSessions, ForgetDirectory, ListedEntry, Reap, SessionStamp, SetFeatureLevel,
    SupersedeVersion, TrimOutbox, Unmount, apply, query,
};
use forebay_types::{
    EntryKind, EntryName, FileId, Fingerprint, Incarnation, InodeId, NamespacePath, OutboxSequence, Sequence,
    SessionId, Timestamp,
};
use proptest::prelude::*;

use super::tests::{World, format, world};
use super::*;
use crate::testing::mount;
use crate::types::{EncodedProposal, ProposalBatch, log_id};
use forebay_metadata::Command;

/// What is random of one command; what it is about is taken from the state that the ones before left.
type Choice = (u8, u8, u8, bool);

fn name(number: u8) -> EntryName {
    EntryName::new(format!("n{}", number % 4).as_bytes()).unwrap()
}

fn listed(number: u8) -> ListedEntry {
    let kind = [EntryKind::File, EntryKind::Directory][usize::from(number / 4 % 2)];
    let tag = format!("t{}", number / 8 % 3);
    let fingerprint = Fingerprint {
        length: forebay_types::ByteCount::new(tag.len() as u64),
        tag: Some(tag),
        version_id: None,
        modified: Timestamp::from_nanos(5),
        local: None,
    };
    ListedEntry {
        name: name(number),
        kind,
        key: None,
        fingerprint,
        mode: None,
        uid: None,
        gid: None,
        symlink_target: None,
    }
}

/// An inode that may or may not be there.
fn inode(store: &MemoryStore, number: u8) -> InodeId {
    let known = query::listed_directories(store, None, 8).unwrap();
    let roots = query::mounts(store).unwrap().into_iter().map(|mount| mount.root);
    let known: Vec<_> = known.into_iter().map(|(id, _)| id).chain(roots).collect();
    known.get(usize::from(number) % (known.len() + 1)).copied().unwrap_or(InodeId::new(number.into()))
}

fn command(store: &MemoryStore, index: LogIndex, (kind, one, other, flag): Choice) -> Command {
    let path = |number: u8| NamespacePath::parse(format!("/m{}", number % 3).as_bytes()).unwrap();
    match kind % 10 {
        0 | 1 => mount(usize::from(one % 3)),
        2 => Command::Unmount(Unmount { path: path(one) }),
        3..=5 => Command::ApplyListing(ApplyListing {
            directory: inode(store, other),
            begun_at: LogIndex::new(index.get().saturating_sub(u64::from(one % 4))),
            upserts: (0..kind % 4).map(|step| listed(one.wrapping_add(step * 7))).collect(),
            removals: if flag { vec![name(other)] } else { Vec::new() },
            complete: flag,
        }),
        6 => Command::ForgetDirectory(ForgetDirectory { directory: inode(store, one), limit: 3 }),
        7 => {
            let page = query::list(store, inode(store, one), None, 4).unwrap_or_default();
            let file = page.iter().find_map(|inode| Some((inode.id, inode.version()?.file)));
            let none = (InodeId::new(one.into()), FileId { incarnation: Incarnation::new(1), counter: 1 });
            let (inode, seen) = file.unwrap_or(none);
            Command::SupersedeVersion(SupersedeVersion {
                inode,
                seen,
                fingerprint: flag.then(|| listed(other).fingerprint),
            })
        }
        8 => Command::Reap(Reap { limit: u32::from(one % 4) + 1 }),
        _ if flag => Command::TrimOutbox(TrimOutbox { through: OutboxSequence::new(other.into()) }),
        _ if one.is_multiple_of(2) => {
            Command::SetFeatureLevel(SetFeatureLevel { level: u32::from(other % 2) + 1 })
        }
        _ => Command::ExpireSessions(ExpireSessions { before: Timestamp::from_nanos(other.into()) }),
    }
}

/// A log of entries with one to three proposals each, and the rows that it leads to when each is applied alone, in memory.
fn log(choices: &[Choice]) -> (Vec<RaftEntry>, Vec<DumpedRow>) {
    let mut store = MemoryStore::new();
    let mut entries: Vec<RaftEntry> = Vec::new();
    let mut proposals: Vec<EncodedProposal> = Vec::new();
    for (at, choice) in choices.iter().enumerate() {
        let index = LogIndex::new(entries.len() as u64 + 1);
        let command = if at == 0 { format() } else { command(&store, index, *choice) };
        let session = choice.2.is_multiple_of(3).then(|| SessionStamp {
            session: SessionId::new(u64::from(choice.1 % 2) + 1),
            sequence: Sequence::new(at as u64 + 1),
            lowest_unanswered: Sequence::new((at as u64).saturating_sub(4) + 1),
        });
        // A clock that also goes back.
        let issued_at = Timestamp::from_nanos(i64::try_from(at).unwrap() * 10 - i64::from(choice.1 % 40));
        let proposal = Proposal { issued_at, session, command };
        let applied = apply(&store, index, &proposal).unwrap();
        store.commit(applied.mutations).unwrap();
        let bytes = proposal.encode().unwrap();
        proposals.push(EncodedProposal { proposal, bytes });
        if choice.3 || proposals.len() == 3 || at + 1 == choices.len() {
            let payload = EntryPayload::Normal(ProposalBatch(std::mem::take(&mut proposals).into()));
            entries.push(RaftEntry { log_id: log_id(1, index.get()), payload });
        }
    }
    let rows = dump(&store).map(|row| row.unwrap()).collect();
    (entries, rows)
}

impl World {
    /// Applies entries in batches of these sizes, over and over.
    async fn apply_cut(&mut self, mut entries: &[RaftEntry], sizes: &[usize]) {
        for size in sizes.iter().cycle() {
            if entries.is_empty() {
                return;
            }
            let (batch, rest) = entries.split_at((*size).min(entries.len()));
            let batch = batch.iter().map(|entry| Ok((entry.clone(), None))).collect::<Vec<_>>();
            self.machine.apply(futures::stream::iter(batch)).await.unwrap();
            entries = rest;
        }
    }

    fn rows(&self) -> Vec<DumpedRow> {
        dump(&self.state.view().unwrap().moment()).map(|row| row.unwrap()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_log_gives_equal_rows_on_each_master_however_it_is_cut_and_over_a_snapshot(
        choices in proptest::collection::vec(any::<Choice>(), 2..80),
        (sizes, other_sizes) in (proptest::collection::vec(1..9_usize, 1..6), proptest::collection::vec(1..9_usize, 1..6)),
        middle in any::<prop::sample::Index>(),
    ) {
        let (entries, rows) = log(&choices);
        let (before, after) = entries.split_at(middle.index(entries.len()) + 1);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let (mut straight, mut leader, mut follower) = (world(), world(), world());
            straight.apply_cut(&entries, &sizes).await;
            leader.apply_cut(before, &other_sizes).await;
            let snapshot = leader.machine.build_snapshot().await.unwrap();
            follower.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
            leader.apply_cut(after, &sizes).await;
            follower.apply_cut(after, &other_sizes).await;
            for of in [straight, leader, follower] {
                assert_eq!(of.rows(), rows);
            }
        });
    }
}
