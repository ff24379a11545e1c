//! A master's folder with many files, filled as listings fill it: by the log, with commands that take over what a listing
//! shows of a directory. Also what a snapshot of so large a state costs those who propose meanwhile.

use std::path::Path;
use std::time::Duration;

use forebay_metadata::{
    ApplyListing, Command, ListedEntry, MakeDirectory, Mount, MountMode, MountOptions, Success, query,
};
use forebay_raft::{RaftNode, RaftSettings};
use forebay_types::{ClusterId, EntryName, FileId, Incarnation, InodeId, LogIndex};
use futures::StreamExt;
use tokio::time::Instant;

use super::tree::{MOUNT, Tree, directory, directory_entry_name};

/// Listings on their way at once, as a master has several.
const LISTINGS_AHEAD: usize = 16;
const INCARNATION: Incarnation = Incarnation::new(1);
/// The slot of the master that the folder is for.
const SLOT: u32 = 1;

/// What was filled.
#[derive(Debug)]
pub(super) struct Filled {
    /// How long the listings took.
    pub(super) took: Duration,
    /// The counter of the first version; each file has the one that is two higher than that of the file before.
    first_version: u64,
    /// How long a snapshot took, and the longest wait of a proposal meanwhile.
    pub(super) snapshot: (Duration, Duration),
}

impl Filled {
    /// One of the versions, by its number from 0.
    pub(super) fn version(&self, number: u64) -> FileId {
        FileId { incarnation: INCARNATION, counter: self.first_version + 2 * number }
    }
}

/// Fills `dir` for a master that serves at `address`.
pub(super) async fn fill(dir: &Path, address: &str, tree: &Tree) -> Filled {
    let settings = RaftSettings { slot: SLOT, ..RaftSettings::new(dir, address) };
    let (node, _effects) = RaftNode::start(settings, soon()).await.expect("a node");
    node.form(ClusterId::new([7; 16]), INCARNATION, [2; 32], soon()).await.expect("a cluster");
    // Nothing may be asked of it, so what is known is answered, as of a mount that was listed a moment ago.
    let options = MountOptions { mode: MountMode::NoAccess, ..MountOptions::default() };
    let uri = "file:///nowhere".parse().expect("a URI");
    let mount = Mount { path: MOUNT.parse().expect("a path"), uri, options };
    node.propose(None, Command::Mount(mount), soon()).await.expect("proposed").reply.expect("mounted");
    let view = node.read(soon()).await.expect("a state");
    let root = query::mounts(&view.moment()).expect("mounts").first().expect("one").root;
    let begun_at = view.moment().applied();
    drop(view);

    let listing = Listing { node: &node, begun_at };
    let groups: Vec<_> = tree.groups().collect();
    listing.apply(root, groups.iter().map(|(name, _)| directory(name.clone())).collect()).await;
    let mut leaves: Vec<InodeId> = Vec::new();
    for (name, below) in groups {
        let group = listing.find(root, &name).await;
        let names: Vec<_> = below.map(directory_entry_name).collect();
        listing.apply(group, names.iter().cloned().map(directory).collect()).await;
        for name in &names {
            leaves.push(listing.find(group, name).await);
        }
    }
    // Inodes and versions have one counter, so each of the files that follow takes two numbers.
    let first_version = leaves.iter().max().expect("directories").get() + 2;
    let began = Instant::now();
    let listed = leaves.iter().enumerate().map(|(number, leaf)| {
        let (listing, tree) = (&listing, &tree);
        async move { listing.apply(*leaf, tree.entries(number)).await }
    });
    futures::stream::iter(listed).buffer_unordered(LISTINGS_AHEAD).collect::<Vec<()>>().await;
    let took = began.elapsed();
    let snapshot = snapshot(&node).await;
    node.shutdown(soon()).await.expect("it stops");
    Filled { took, first_version, snapshot }
}

/// Where listings go.
struct Listing<'n> {
    node: &'n RaftNode,
    begun_at: LogIndex,
}

impl Listing<'_> {
    async fn apply(&self, directory: InodeId, upserts: Vec<ListedEntry>) {
        let (count, begun_at) = (upserts.len(), self.begun_at);
        let command = ApplyListing { directory, begun_at, upserts, removals: Vec::new(), complete: true };
        let applied = self.node.propose(None, Command::ApplyListing(command), soon()).await;
        match applied.expect("proposed").reply {
            Ok(Success::Listed { created, .. }) if created as usize == count => {}
            other => panic!("a listing of {count} new names was answered {other:?}"),
        }
    }

    async fn find(&self, directory: InodeId, name: &EntryName) -> InodeId {
        let view = self.node.local_view().expect("a state");
        let edge = query::edge(&view.moment(), directory, name).expect("rows");
        edge.expect("it was listed").target
    }
}

/// Has a snapshot made while others make directories: how long it took, and the longest wait of those meanwhile.
async fn snapshot(node: &RaftNode) -> (Duration, Duration) {
    let began = Instant::now();
    node.trigger_snapshot(soon()).await.expect("begun");
    let last = node.status().last_log;
    let made = async {
        node.wait_until(soon(), |status| status.snapshot >= last).await.expect("made");
        began.elapsed()
    };
    tokio::pin!(made);
    let mut longest = Duration::ZERO;
    for number in 0_u64.. {
        let path = format!("/made-{number}").parse().expect("a path");
        let command =
            Command::MakeDirectory(MakeDirectory { path, parents: false, mode: None, uid: None, gid: None });
        let asked = Instant::now();
        let proposed =
            async { node.propose(None, command, soon()).await.expect("proposed").reply.expect("made") };
        tokio::pin!(proposed);
        tokio::select! {
            biased;
            took = &mut made => {
                proposed.await;
                return (took, longest.max(asked.elapsed()));
            }
            _ = &mut proposed => longest = longest.max(asked.elapsed()),
        }
    }
    unreachable!("the numbers do not end")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(300)
}
