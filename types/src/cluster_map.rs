//! Which worker owns which block: weighted rendezvous hashing over the workers that the master lists.
//!
//! Each worker gets a score for each block from a hash of both; the highest owns it, the next ones stand in. When a
//! worker leaves, only its own blocks move; weights shift shares smoothly. Source: Thaler and Ravishankar 1998, and
//! the logarithm method for weights (Schindelhauer and Schomaker 2005), here in integers so that all machines agree.

use serde::{Deserialize, Serialize};

use crate::id::{BlockId, Epoch, HostId, WorkerId};
use crate::unit::ByteCount;

/// Whether a worker can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WorkerState {
    /// It answers heartbeats.
    Live,
    /// It was not heard of for a while; it still owns its blocks, and reads go to the next owner.
    Lost,
}

/// One worker as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkerEntry {
    /// Its id.
    pub id: WorkerId,
    /// Where it serves gRPC: `host:port`.
    pub address: String,
    /// The machine it runs on.
    pub host: HostId,
    /// Path of its unix socket, of use on the same machine only.
    pub local_socket: String,
    /// Tenants that it serves.
    pub group: String,
    /// Room for cached blocks: its weight in placement.
    pub capacity: ByteCount,
    /// Whether it can be asked.
    pub state: WorkerState,
}

/// The workers of the cluster under one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterMap {
    /// Grows with each change of ownership or address.
    pub epoch: Epoch,
    /// The workers, by rising id.
    pub workers: Vec<WorkerEntry>,
}

impl ClusterMap {
    /// The workers to ask for a block, the owner first. All workers of the map are listed, lost ones last, since any
    /// worker can serve any block.
    #[must_use]
    pub fn owners(&self, block: BlockId) -> Vec<&WorkerEntry> {
        let mut ranked: Vec<_> = self.workers.iter().map(|worker| (score(worker, block), worker)).collect();
        ranked.sort_by(|(left_score, left), (right_score, right)| {
            let lost = |worker: &WorkerEntry| worker.state == WorkerState::Lost;
            lost(left).cmp(&lost(right)).then(right_score.cmp(left_score)).then(left.id.cmp(&right.id))
        });
        ranked.into_iter().map(|(_, worker)| worker).collect()
    }

    /// The entry of a worker.
    #[must_use]
    pub fn worker(&self, id: WorkerId) -> Option<&WorkerEntry> {
        self.workers.iter().find(|worker| worker.id == id)
    }
}

/// `weight / -ln(u)` for `u` drawn by the hash, in fixed point: larger wins. A worker of no capacity weighs one page.
fn score(worker: &WorkerEntry, block: BlockId) -> u128 {
    let seed = mix(u64::from(worker.id.get()).wrapping_add(0x9e37_79b9_7f4a_7c15));
    let file = mix(seed ^ mix(block.file.counter ^ (u64::from(block.file.incarnation.get()) << 40)));
    let drawn = mix(file ^ mix(u64::from(block.index.get()).wrapping_add(1)));
    let weight = u128::from((worker.capacity.get() >> 20).max(1));
    (weight << 64) / u128::from(negative_log2(drawn))
}

/// `-log2((x + 1) / 2^64)` in units of 2^-32, at least 1. The mantissa's logarithm is taken bit by bit, by squaring.
fn negative_log2(x: u64) -> u64 {
    let value = u128::from(x) + 1;
    if value > u128::from(u64::MAX) {
        return 1;
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked above")]
    let value = value as u64;
    let whole = u64::from(63 - value.leading_zeros());
    let mut mantissa = u128::from(value << value.leading_zeros());
    let mut fraction = 0_u64;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            fraction |= 1 << bit;
        }
    }
    ((64 << 32) - ((whole << 32) | fraction)).max(1)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every bit of the input moves every bit of the result.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockIndex, FileId, Incarnation};
    use std::collections::BTreeMap;

    fn map(capacities: &[(u32, u64)]) -> ClusterMap {
        let worker = |(id, gib): &(u32, u64)| WorkerEntry {
            id: WorkerId::new(*id),
            address: format!("127.0.0.1:{id}"),
            host: HostId::new("host"),
            local_socket: String::new(),
            group: String::new(),
            capacity: ByteCount::new(gib << 30),
            state: WorkerState::Live,
        };
        ClusterMap { epoch: Epoch::new(1), workers: capacities.iter().map(worker).collect() }
    }

    fn blocks(count: u64) -> impl Iterator<Item = BlockId> {
        (0..count).map(|counter| BlockId {
            file: FileId { incarnation: Incarnation::new(1), counter },
            index: BlockIndex::new(0),
        })
    }

    fn shares(map: &ClusterMap, count: u64) -> BTreeMap<u32, u64> {
        let mut shares = BTreeMap::new();
        for block in blocks(count) {
            *shares.entry(map.owners(block)[0].id.get()).or_default() += 1;
        }
        shares
    }

    #[test]
    fn shares_follow_capacity() {
        let shares = shares(&map(&[(1, 10), (2, 10), (3, 20)]), 40_000);
        for (worker, share) in [(1, 10_000_u64), (2, 10_000), (3, 20_000)] {
            assert!(shares[&worker].abs_diff(share) < share / 20, "worker {worker} owns {}", shares[&worker]);
        }
    }

    #[test]
    fn only_the_blocks_of_a_worker_that_left_move() {
        let (before, after) = (map(&[(1, 10), (2, 10), (3, 10)]), map(&[(1, 10), (3, 10)]));
        for block in blocks(2_000) {
            let owner = before.owners(block)[0].id;
            let expected = if owner.get() == 2 { before.owners(block)[1].id } else { owner };
            assert_eq!(after.owners(block)[0].id, expected);
        }
    }

    #[test]
    fn a_lost_worker_is_asked_last_and_keeps_its_rank() {
        let mut map = map(&[(1, 10), (2, 10), (3, 10)]);
        let block = blocks(1).next().expect("one");
        let ranked: Vec<_> = map.owners(block).iter().map(|worker| worker.id).collect();
        let lost = map.workers.iter_mut().find(|worker| worker.id == ranked[0]).expect("listed");
        lost.state = WorkerState::Lost;
        let now: Vec<_> = map.owners(block).iter().map(|worker| worker.id).collect();
        assert_eq!(now, [ranked[1], ranked[2], ranked[0]]);
    }

    #[test]
    fn the_place_of_a_block_is_a_format_and_never_changes() {
        let map = map(&[(1, 10), (2, 10), (3, 20), (4, 1)]);
        let owners: Vec<_> = blocks(12).map(|block| map.owners(block)[0].id.get()).collect();
        assert_eq!(owners, PINNED);
    }

    /// Computed once by this code; a change here would move every cached block of every cluster.
    const PINNED: [u32; 12] = [3, 3, 1, 2, 2, 1, 1, 3, 1, 2, 2, 2];
}
