//! Sums of the counters that clients and workers report, kept right when a client goes.

use std::collections::HashMap;

use forebay_proto::v1;
use forebay_runtime::BootInstant;

use crate::limits;

/// What clients reported, each since its own start.
#[derive(Debug, Default)]
pub(crate) struct ClientCounters {
    live: HashMap<u64, (BootInstant, v1::ReadCounters, Vec<v1::MountCounters>)>,
    /// What clients that went had reported last.
    gone: (v1::ReadCounters, Vec<v1::MountCounters>),
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
            oldest.into_iter().for_each(|client| self.fold(client));
        }
        self.live.insert(client, (now, reads, mounts));
    }

    /// Folds clients that fell silent into the totals.
    pub(crate) fn tick(&mut self, now: BootInstant) {
        let silent: Vec<_> = self
            .live
            .iter()
            .filter(|(_, (at, ..))| now.saturating_duration_since(*at) > limits::CLIENT_IDLE_MAX)
            .map(|(client, _)| *client)
            .collect();
        silent.into_iter().for_each(|client| self.fold(client));
    }

    /// The sums over all clients there ever were.
    pub(crate) fn totals(&self) -> (v1::ReadCounters, Vec<v1::MountCounters>) {
        let mut totals = self.gone.clone();
        for (_, reads, mounts) in self.live.values() {
            add_reads(&mut totals.0, reads);
            add_mounts(&mut totals.1, mounts);
        }
        totals
    }

    fn fold(&mut self, client: u64) {
        if let Some((_, reads, mounts)) = self.live.remove(&client) {
            add_reads(&mut self.gone.0, &reads);
            add_mounts(&mut self.gone.1, &mounts);
        }
    }
}

/// Adds `more` to `sum`. Counters come from the wire, so that a sum may not overflow.
pub(crate) fn add_reads(sum: &mut v1::ReadCounters, more: &v1::ReadCounters) {
    let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
    add(&mut sum.passthrough_opens, more.passthrough_opens);
    add(&mut sum.passthrough_open_bytes, more.passthrough_open_bytes);
    add(&mut sum.short_circuit_bytes, more.short_circuit_bytes);
    add(&mut sum.remote_bytes, more.remote_bytes);
    add(&mut sum.under_store_bytes, more.under_store_bytes);
    add(&mut sum.hit_bytes, more.hit_bytes);
    add(&mut sum.miss_bytes, more.miss_bytes);
}

/// Adds the counters of each mount in `more` to that mount's in `sum`.
pub(crate) fn add_mounts(sum: &mut Vec<v1::MountCounters>, more: &[v1::MountCounters]) {
    for counters in more {
        let Some(known) = sum.iter_mut().find(|known| known.mount == counters.mount) else {
            sum.push(*counters);
            continue;
        };
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut known.hit_bytes, counters.hit_bytes);
        add(&mut known.miss_bytes, counters.miss_bytes);
        add(&mut known.under_store_read_bytes, counters.under_store_read_bytes);
        add(&mut known.under_store_requests, counters.under_store_requests);
        add(&mut known.cached_bytes, counters.cached_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_client_that_went_still_counts_once() {
        let at = |seconds| BootInstant::from_boot(Duration::from_secs(seconds));
        let reads = |hit_bytes| v1::ReadCounters { hit_bytes, ..v1::ReadCounters::default() };
        let mut clients = ClientCounters::default();
        clients.record(at(0), 1, reads(5), vec![]);
        clients.record(at(1), 1, reads(7), vec![]);
        clients.record(at(1), 2, reads(1), vec![]);
        assert_eq!(clients.totals().0.hit_bytes, 8);
        clients.tick(at(1000));
        assert_eq!((clients.totals().0.hit_bytes, clients.live.len()), (8, 0));
    }
}
