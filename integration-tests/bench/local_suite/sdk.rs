//! The SDK beside the file: mappings of a held file, and small reads through a reader.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use forebay_client::{Client, ClientSettings, Entry, Hold};
use forebay_integration_tests::{Cluster, random_offsets};
use forebay_types::{FileOffset, HostId, NamespacePath, Principal};
use tokio::runtime::Runtime;

use super::SEED;
use crate::comparison::{Effort, Row, Side};
use crate::files::{Aligned, mapped_of, random};

const SMALL_READ: usize = 4 << 10;
const NATIVE: &str = "the file";
/// The machine that the cluster of the suite counts as.
pub(super) const HOST: &str = "bench";

/// A client on the machine of the worker, and the large file.
struct Sdk {
    runtime: Runtime,
    client: Client,
    entry: Entry,
}

pub(super) fn rows(effort: Effort, cluster: &Cluster, native: &Path) -> Vec<Row> {
    let sdk = Sdk::connect(cluster);
    let scan = Row::measure(effort, "sdk mmap scan of a held file", "MiB/s", NATIVE, |side| {
        let turn = || match side {
            Side::Ours => mapped_of(|| sdk.file()),
            Side::Baseline => mapped_of(|| File::open(native).expect("there")),
        };
        turn();
        turn()
    });
    let count = effort.pick(200_000, 20_000);
    let small = Row::measure(effort, "sdk read 4 KiB", "reads/s", NATIVE, |side| {
        let turn = || match side {
            Side::Ours => sdk.random(count),
            Side::Baseline => random(native, &mut Aligned::new(SMALL_READ), SMALL_READ, count, SEED),
        };
        turn();
        turn()
    });
    vec![scan, small]
}

impl Sdk {
    fn connect(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("started");
        let principal = Principal { name: "bench".to_owned(), uid: 0, gids: vec![0] };
        let settings = ClientSettings::new(vec![cluster.address().to_owned()], HostId::new(HOST), principal);
        let client = runtime.block_on(Client::connect(settings)).expect("the cluster is there");
        let path = NamespacePath::parse(b"/data/large").expect("legal");
        let (entry, _) = runtime.block_on(client.resolve(&path)).expect("known");
        Self { runtime, client, entry }
    }

    fn hold(&self) -> Hold {
        let (version, capability) = self.entry.version.as_ref().expect("a file");
        let held = self.runtime.block_on(self.client.hold(version, capability)).expect("allowed");
        held.expect("it is cached, by a worker of this machine")
    }

    fn file(&self) -> File {
        File::from(self.hold().as_fd().try_clone_to_owned().expect("a descriptor"))
    }

    fn random(&self, count: usize) -> f64 {
        let (version, capability) = self.entry.version.as_ref().expect("a file");
        let reader = self.client.reader(version.clone(), capability.clone());
        let pieces = version.length().get() / SMALL_READ as u64;
        let offsets = random_offsets(SEED, count, pieces);
        self.runtime.block_on(async {
            let mut buffer = Aligned::new(SMALL_READ);
            let begun = Instant::now();
            for piece in offsets {
                let offset = FileOffset::new(piece * SMALL_READ as u64);
                let had = reader.read_into(offset, buffer.bytes()).await.expect("read");
                assert_eq!(had, SMALL_READ);
            }
            count as f64 / begun.elapsed().as_secs_f64()
        })
    }
}
