//! Sums of the counters that clients and workers report, kept right when a client goes.
//!
//! The sums over clients are kept as reports come, so that reading them costs the same however many clients there are.
//! Counters come from the wire: sums are wider than what they sum, and what is too large for an answer is cut.

use std::collections::{BTreeMap, HashMap};

use forebay_proto::v1;
use forebay_runtime::BootInstant;

use crate::limits;

type Reads = [u128; 7];
type OfMount = [u128; 5];

/// Sums over many reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    reads: Reads,
    /// At most [`limits::COUNTED_MOUNTS_MAX`].
    mounts: BTreeMap<u32, OfMount>,
}

/// What clients reported, each since its own start.
#[derive(Debug, Default)]
pub(crate) struct ClientCounters {
    live: HashMap<u64, (BootInstant, v1::ReadCounters, Vec<v1::MountCounters>)>,
    /// Over all clients there ever were.
    sums: Sums,
}

impl ClientCounters {
    /// Takes a client's latest counters, which include all earlier ones.
    pub(crate) fn record(
        &mut self,
        now: BootInstant,
        client: u64,
        reads: v1::ReadCounters,
        mounts: Vec<v1::MountCounters>,
    ) {
        if self.live.len() >= limits::CLIENTS_MAX && !self.live.contains_key(&client) {
            let oldest = self.live.iter().min_by_key(|(_, (at, ..))| *at).map(|(client, _)| *client);
            oldest.into_iter().for_each(|client| drop(self.live.remove(&client)));
        }
        if let Some((_, reads, mounts)) = self.live.get(&client) {
            self.sums.subtract(reads, mounts);
        }
        self.sums.add(&reads, &mounts);
        self.live.insert(client, (now, reads, mounts));
    }

    /// Forgets clients that fell silent; the sums keep what they reported last.
    pub(crate) fn tick(&mut self, now: BootInstant) {
        self.live.retain(|_, (at, ..)| now.saturating_duration_since(*at) <= limits::CLIENT_IDLE_MAX);
    }

    /// The sums over all clients there ever were.
    pub(crate) fn sums(&self) -> Sums {
        self.sums.clone()
    }
}

impl Sums {
    /// Adds a report.
    pub(crate) fn add(&mut self, reads: &v1::ReadCounters, mounts: &[v1::MountCounters]) {
        self.each(reads, mounts, |sum, more| *sum = sum.saturating_add(more));
        while self.mounts.len() > limits::COUNTED_MOUNTS_MAX {
            self.mounts.pop_first();
        }
    }

    /// Takes a report out that was added before.
    fn subtract(&mut self, reads: &v1::ReadCounters, mounts: &[v1::MountCounters]) {
        self.each(reads, mounts, |sum, less| *sum = sum.saturating_sub(less));
    }

    fn each(
        &mut self,
        reads: &v1::ReadCounters,
        mounts: &[v1::MountCounters],
        change: impl Fn(&mut u128, u128),
    ) {
        let reported = [
            reads.passthrough_opens,
            reads.passthrough_open_bytes,
            reads.short_circuit_bytes,
            reads.remote_bytes,
            reads.under_store_bytes,
            reads.hit_bytes,
            reads.miss_bytes,
        ];
        self.reads.iter_mut().zip(reported).for_each(|(sum, number)| change(sum, number.into()));
        for of in mounts {
            let reported = [
                of.hit_bytes,
                of.miss_bytes,
                of.under_store_read_bytes,
                of.under_store_requests,
                of.cached_bytes,
            ];
            let sums = self.mounts.entry(of.mount).or_default();
            sums.iter_mut().zip(reported).for_each(|(sum, number)| change(sum, number.into()));
        }
    }

    /// The sums over all mounts.
    pub(crate) fn reads(&self) -> v1::ReadCounters {
        let [opens, open_bytes, short_circuit, remote, under_store, hit, miss] = self.reads.map(cut);
        v1::ReadCounters {
            passthrough_opens: opens,
            passthrough_open_bytes: open_bytes,
            short_circuit_bytes: short_circuit,
            remote_bytes: remote,
            under_store_bytes: under_store,
            hit_bytes: hit,
            miss_bytes: miss,
        }
    }

    /// The sums of one mount.
    pub(crate) fn of_mount(&self, mount: u32) -> v1::MountCounters {
        let sums = self.mounts.get(&mount).copied().unwrap_or_default();
        let [hit_bytes, miss_bytes, under_store_read_bytes, under_store_requests, cached_bytes] =
            sums.map(cut);
        v1::MountCounters {
            mount,
            hit_bytes,
            miss_bytes,
            under_store_read_bytes,
            under_store_requests,
            cached_bytes,
        }
    }
}

fn cut(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> BootInstant {
        BootInstant::from_boot(Duration::from_secs(seconds))
    }

    fn reads(hit_bytes: u64) -> v1::ReadCounters {
        v1::ReadCounters { hit_bytes, ..v1::ReadCounters::default() }
    }

    fn of(mount: u32, miss_bytes: u64) -> v1::MountCounters {
        v1::MountCounters { mount, miss_bytes, ..v1::MountCounters::default() }
    }

    #[test]
    fn a_client_that_went_still_counts_once() {
        let mut clients = ClientCounters::default();
        clients.record(at(0), 1, reads(5), vec![]);
        clients.record(at(1), 1, reads(7), vec![]);
        clients.record(at(1), 2, reads(1), vec![]);
        assert_eq!(clients.sums().reads().hit_bytes, 8);
        clients.tick(at(1000));
        assert_eq!((clients.sums().reads().hit_bytes, clients.live.len()), (8, 0));
    }

    #[test]
    fn the_counters_of_a_mount_follow_what_each_client_reported_last() {
        let mut clients = ClientCounters::default();
        clients.record(at(0), 1, reads(0), vec![of(1, 5), of(2, 1)]);
        clients.record(at(0), 2, reads(0), vec![of(1, 10)]);
        clients.record(at(1), 1, reads(0), vec![of(1, 6), of(2, 1)]);
        let miss = |clients: &ClientCounters, mount| clients.sums().of_mount(mount).miss_bytes;
        assert_eq!([1, 2, 3].map(|mount| miss(&clients, mount)), [16, 1, 0]);
        clients.record(at(2), 3, reads(0), vec![of(1, u64::MAX)]);
        assert_eq!(miss(&clients, 1), u64::MAX);
        clients.record(at(2), 3, reads(0), vec![of(1, 4)]);
        assert_eq!(miss(&clients, 1), 20, "a sum that was too large for an answer is right again");
    }

    #[test]
    fn mounts_that_never_were_fill_no_memory_without_end() {
        let mut clients = ClientCounters::default();
        for client in 0..20 {
            let first = client * 1024;
            let rows = (first..first + 1024).map(|mount| of(mount, 1)).collect();
            clients.record(at(0), client.into(), reads(0), rows);
        }
        assert_eq!(clients.sums.mounts.len(), limits::COUNTED_MOUNTS_MAX);
    }
}
