//! Mounts whose under-store kept a read from its bytes for the whole time that it may take, and how long a read bears
//! with an under-store.
//!
//! It is one worker's word that the under-store fails, so the next one is asked too; but together they have a named time
//! only, and for a while after it was used up in vain a shorter one. That while is not lengthened by reads that had the
//! shorter time, so that an under-store that is slow again, rather than down, is noticed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use forebay_proto::WireError;
use forebay_types::limits::MOUNTS_MAX;
use forebay_types::{ErrorKind, MountId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::ClientError;
use crate::limits::{
    UNDER_STORE_MEMORY, UNDER_STORE_PATIENCE, UNDER_STORE_PATIENCE_AGAIN, UNDER_STORE_PATIENCE_PART,
};

/// When a read last gave up on each mount, and what was said; at most [`MOUNTS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Outages(Mutex<BTreeMap<MountId, (Instant, Arc<str>)>>);

/// How long one read goes on.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Since when the read has got nothing.
    since: Instant,
    span: Duration,
    /// What was said of the under-store last.
    word: Option<Arc<str>>,
    /// Nothing was known of an outage when the read began.
    is_whole: bool,
}

impl Outages {
    /// For a read of the mount whose whole wait is `read_deadline`.
    pub(crate) fn patience(&self, mount: MountId, read_deadline: Duration) -> Patience {
        let now = Instant::now();
        let known = self.0.lock().get(&mount).cloned();
        let word = known.filter(|(at, _)| now.saturating_duration_since(*at) < UNDER_STORE_MEMORY);
        let span = if word.is_some() { UNDER_STORE_PATIENCE_AGAIN } else { UNDER_STORE_PATIENCE };
        Patience {
            since: now,
            span: span.min(read_deadline / UNDER_STORE_PATIENCE_PART),
            is_whole: word.is_none(),
            word: word.map(|(_, word)| word),
        }
    }

    /// A read gave up.
    pub(crate) fn note(&self, mount: MountId, patience: &Patience) {
        let (Some(word), true) = (&patience.word, patience.is_whole) else { return };
        let mut outages = self.0.lock();
        if !outages.contains_key(&mount) && outages.len() >= MOUNTS_MAX {
            outages.pop_first();
        }
        outages.insert(mount, (Instant::now(), Arc::clone(word)));
    }

    /// A read got its bytes.
    pub(crate) fn over(&self, mount: MountId, patience: &Patience) {
        if !patience.is_whole {
            self.0.lock().remove(&mount);
        }
    }
}

impl Patience {
    /// How long a worker has for its first bytes.
    pub(crate) fn limit(&self, deadline: Instant) -> Instant {
        if self.word.is_some() { deadline.min(self.since + self.span) } else { deadline }
    }

    /// A worker said that the under-store fails.
    pub(crate) fn hear(&mut self, error: &ClientError) {
        self.word = Some(error.to_string().into());
    }

    /// Bytes came.
    pub(crate) fn begin_anew(&mut self) {
        (self.since, self.word) = (Instant::now(), None);
    }

    /// Whether no more workers are to be asked.
    pub(crate) fn is_over(&self) -> bool {
        self.word.is_some() && self.since.elapsed() >= self.span
    }

    /// What was said of the under-store last.
    pub(crate) fn word(&self) -> Option<ClientError> {
        let word = self.word.as_deref()?;
        Some(WireError::new(ErrorKind::UnderStore, word).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNT: MountId = MountId::new(7);
    const READ: Duration = Duration::from_secs(60);

    fn failure() -> ClientError {
        WireError::new(ErrorKind::UnderStore, "the server is down").into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_bears_with_an_under_store_for_a_named_time_from_its_last_bytes_on() {
        let mut patience = Outages::default().patience(MOUNT, READ);
        let deadline = Instant::now() + READ;
        tokio::time::advance(UNDER_STORE_PATIENCE).await;
        assert!(!patience.is_over(), "nobody spoke of the under-store");
        assert_eq!(patience.limit(deadline), deadline);
        patience.hear(&failure());
        assert!(patience.is_over());
        patience.begin_anew();
        patience.hear(&failure());
        assert!(!patience.is_over());
        assert_eq!(patience.limit(deadline), Instant::now() + UNDER_STORE_PATIENCE);
        tokio::time::advance(UNDER_STORE_PATIENCE).await;
        assert!(patience.is_over());
        assert_eq!(patience.word().map(|word| word.to_string()).as_deref(), Some("the server is down"));
    }

    #[tokio::test(start_paused = true)]
    async fn reads_that_follow_one_in_vain_give_up_sooner_until_one_gets_its_bytes() {
        let outages = Outages::default();
        let mut first = outages.patience(MOUNT, READ);
        first.hear(&failure());
        outages.note(MOUNT, &first);
        let again = outages.patience(MOUNT, READ);
        tokio::time::advance(UNDER_STORE_PATIENCE_AGAIN).await;
        assert!(again.is_over());
        assert!(again.word().is_some(), "also where no worker says it again");
        assert!(outages.patience(MountId::new(8), READ).word().is_none());
        outages.over(MOUNT, &again);
        assert!(outages.patience(MOUNT, READ).word().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_time_in_vain_does_not_lengthen_the_memory() {
        let outages = Outages::default();
        let mut first = outages.patience(MOUNT, READ);
        first.hear(&failure());
        outages.note(MOUNT, &first);
        tokio::time::advance(UNDER_STORE_MEMORY / 2).await;
        let mut again = outages.patience(MOUNT, READ);
        again.hear(&failure());
        outages.note(MOUNT, &again);
        tokio::time::advance(UNDER_STORE_MEMORY / 2).await;
        assert!(outages.patience(MOUNT, READ).word().is_none());
    }
}
