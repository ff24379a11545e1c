//! Callers that ask about files and directories of the whole tree at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_client::{Client, ClientSettings};
use forebay_types::{ByteCount, HostId, InodeId, ListingPosition, Principal};

use super::tree::{Tree, mixed};

/// How many wait for answers at once.
const CALLERS: u64 = 8;
/// Names that are asked for at once.
const PAGE: u32 = 1000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What is known of a file.
    Stat,
    /// All names of a directory.
    List,
}

/// A client that remembers nothing.
pub(super) async fn client(address: &str) -> Client {
    let settings = ClientSettings::new(vec![address.to_owned()], HostId::new("bench"), Principal::default());
    Client::connect(settings).await.expect("a client")
}

/// Asks for so long, and gives how long each answer took, sorted. With `are_cached` each file must be in a cache.
pub(super) async fn ask(
    client: &Client,
    tree: &Arc<Tree>,
    question: Question,
    duration: Duration,
    are_cached: bool,
) -> Vec<Duration> {
    // Other ones each time.
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let callers = (0..CALLERS).map(|caller| {
        let (client, tree) = (client.clone(), Arc::clone(tree));
        let seed = mixed(u64::from(seed.subsec_nanos()) ^ (caller << 32));
        tokio::spawn(async move {
            let (end, mut times) = (Instant::now() + duration, Vec::new());
            for round in 0.. {
                let random = mixed(seed.wrapping_add(round));
                if Instant::now() >= end {
                    break;
                }
                if question == Question::List {
                    let directory = client.look_at(&tree.directory_path(random)).await.expect("known").0;
                    let asked = Instant::now();
                    list(&client, directory.inode).await;
                    times.push(asked.elapsed());
                } else {
                    let path = tree.file_path(random);
                    let asked = Instant::now();
                    let entry = client.look_at(&path).await.expect("known").0;
                    times.push(asked.elapsed());
                    assert!((entry.cached > ByteCount::ZERO) == are_cached, "{entry:?} is or is not cached");
                }
            }
            times
        })
    });
    let callers: Vec<_> = callers.collect();
    let all = futures::future::join_all(callers).await;
    let mut all: Vec<_> = all.into_iter().flat_map(|times| times.expect("a caller")).collect();
    all.sort_unstable();
    all
}

/// Asks for one file after the other until it is over, and gives how long each answer took, sorted.
pub(super) async fn ask_until(client: Client, tree: Arc<Tree>, over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let path = tree.file_path(mixed(times.len() as u64));
        let asked = Instant::now();
        client.look_at(&path).await.expect("known");
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    times
}

/// All names of a directory.
async fn list(client: &Client, directory: InodeId) {
    let (mut after, mut is_complete) = (None, false);
    while !is_complete {
        let page = client.list(directory, after.as_ref(), PAGE).await.expect("listed");
        is_complete = page.complete;
        after = page.entries.last().map(|last| ListingPosition::of(&last.name, last.entry.kind));
        assert!(is_complete || after.is_some(), "names come");
    }
}

/// Of sorted times the one below which so many of a hundred are.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}
