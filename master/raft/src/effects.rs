//! What applied entries ask the world to do, on its way to whoever does it.
//!
//! Effects are wake-ups: the queue is bounded, and when it is full they are dropped and the receiver is told to look at
//! the state for itself. No entry ever waits for the receiver. Who speaks for the receiver can wait until it has done
//! what was asked of it by all that can be read: see [`Settling`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use forebay_metadata::Effect;
use forebay_types::LogIndex;
use tokio::sync::{mpsc, watch};

/// Why the receiver is woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Entries up to this index were applied and had these effects.
    Effects(LogIndex, Vec<Effect>),
    /// Effects were dropped: look at the state for whatever there is to do. What is missing came with entries up to this
    /// index.
    Rescan(LogIndex),
}

/// The receiving end. There is one for each node.
#[derive(Debug)]
pub struct Effects {
    queue: mpsc::Receiver<(LogIndex, Vec<Effect>)>,
    shared: Arc<Shared>,
    done: watch::Sender<u64>,
    /// The batch that was given out last, which is done when the next one is asked for.
    given: u64,
}

/// The sending end.
#[derive(Debug)]
pub(crate) struct EffectSender {
    queue: mpsc::Sender<(LogIndex, Vec<Effect>)>,
    shared: Arc<Shared>,
}

/// Tells how far the receiver is.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    shared: Arc<Shared>,
    done: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Effects were dropped, and the receiver does not know yet.
    dropped: AtomicBool,
    /// The last entry with effects that were dropped. Set before the flag.
    dropped_to: AtomicU64,
    /// The last entry with effects that is, or is about to be, in the state.
    announced: AtomicU64,
    /// The last entry whose effects were sent or dropped.
    sent: AtomicU64,
}

/// A queue for `most` batches of effects.
pub(crate) fn channel(most: usize) -> (EffectSender, Effects, Settling) {
    let (sender, receiver) = mpsc::channel(most);
    let (shared, (done, seen)) = (Arc::<Shared>::default(), watch::channel(0));
    let settling = Settling { shared: Arc::clone(&shared), done: seen };
    let effects = Effects { queue: receiver, shared: Arc::clone(&shared), done, given: 0 };
    (EffectSender { queue: sender, shared }, effects, settling)
}

impl Settling {
    /// Waits until the receiver has done what all entries asked for that can be read at the time of the call. Ends at once
    /// where nobody receives any more. Cancel safe.
    pub(crate) async fn settled(&self) {
        let announced = self.shared.announced.load(Ordering::Acquire);
        drop(self.done.clone().wait_for(|done| *done >= announced).await);
    }
}

impl EffectSender {
    /// The entry at `index` has effects, and can be read from now on.
    pub(crate) fn announce(&self, index: LogIndex) {
        self.shared.announced.store(index.get(), Ordering::Release);
    }

    pub(crate) fn send(&self, index: LogIndex, effects: Vec<Effect>) {
        match self.queue.try_send((index, effects)) {
            Err(mpsc::error::TrySendError::Full(_)) => self.rescan(index),
            _ => self.shared.sent.store(index.get(), Ordering::Release),
        }
    }

    /// Has the receiver look for itself: what entries up to this index did is only in the state, where it can be read by now.
    pub(crate) fn rescan(&self, index: LogIndex) {
        self.shared.dropped_to.store(index.get(), Ordering::Release);
        self.shared.dropped.store(true, Ordering::Release);
        // An empty batch wakes it where the queue has nothing that would.
        let _ = self.queue.try_send((LogIndex::new(0), Vec::new()));
        self.shared.sent.store(index.get(), Ordering::Release);
    }
}

impl Effects {
    /// The next reason to look; `None` when the node has stopped.
    ///
    /// Cancel safe: what is not returned is not lost.
    pub async fn next(&mut self) -> Option<Wake> {
        self.did(self.given);
        loop {
            let sent = self.shared.sent.load(Ordering::Acquire);
            // Whatever sets the flag leaves something in the queue, so a receiver that waits is woken for it.
            if self.shared.dropped.swap(false, Ordering::AcqRel) {
                return Some(Wake::Rescan(LogIndex::new(self.shared.dropped_to.load(Ordering::Acquire))));
            }
            let (index, effects) = match self.queue.try_recv() {
                Ok(batch) => batch,
                Err(_) => {
                    // All that was sent before was given out, and what was dropped was looked for.
                    self.did(sent);
                    self.queue.recv().await?
                }
            };
            if !effects.is_empty() {
                self.given = index.get();
                return Some(Wake::Effects(index, effects));
            }
        }
    }

    fn did(&self, index: u64) {
        self.done.send_if_modified(|done| {
            let is_news = index > *done;
            *done = index.max(*done);
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_effects_and_asks_for_a_rescan() {
        let (sender, mut receiver, _settling) = channel(1);
        sender.send(LogIndex::new(1), vec![Effect::MountsChanged]);
        sender.send(LogIndex::new(2), vec![Effect::ReapNeeded]);
        assert_eq!(receiver.next().await, Some(Wake::Rescan(LogIndex::new(2))));
        assert_eq!(receiver.next().await, Some(Wake::Effects(LogIndex::new(1), vec![Effect::MountsChanged])));
        drop(sender);
        assert_eq!(receiver.next().await, None);
    }

    #[tokio::test]
    async fn who_waits_for_the_receiver_waits_until_it_has_looked_for_what_a_new_state_brought() {
        let (sender, mut receiver, settling) = channel(1);
        sender.announce(LogIndex::new(70));
        let mut settled = std::pin::pin!(settling.settled());
        assert!(futures::poll!(&mut settled).is_pending(), "the state is there, and nobody was told");
        sender.rescan(LogIndex::new(70));
        assert_eq!(receiver.next().await, Some(Wake::Rescan(LogIndex::new(70))));
        assert!(futures::poll!(&mut settled).is_pending(), "it is being done");
        assert!(futures::poll!(std::pin::pin!(receiver.next())).is_pending());
        assert!(futures::poll!(&mut settled).is_ready());
    }

    #[tokio::test]
    async fn who_waits_for_the_receiver_waits_until_it_asks_for_more_and_also_for_what_was_dropped() {
        let (sender, mut receiver, settling) = channel(1);
        settling.settled().await;
        sender.announce(LogIndex::new(1));
        let mut first = std::pin::pin!(settling.settled());
        assert!(futures::poll!(&mut first).is_pending(), "it can be read, and was not even sent");
        sender.send(LogIndex::new(1), vec![Effect::MountsChanged]);
        sender.announce(LogIndex::new(2));
        sender.send(LogIndex::new(2), vec![Effect::ReapNeeded]);
        let mut second = std::pin::pin!(settling.settled());
        assert_eq!(receiver.next().await, Some(Wake::Rescan(LogIndex::new(2))));
        assert!(matches!(receiver.next().await, Some(Wake::Effects(..))));
        assert!(futures::poll!(&mut first).is_pending(), "it is being done");
        {
            let mut third = std::pin::pin!(receiver.next());
            assert!(futures::poll!(&mut third).is_pending());
            assert!(futures::poll!(&mut first).is_ready() && futures::poll!(&mut second).is_ready());
            sender.announce(LogIndex::new(3));
            sender.send(LogIndex::new(3), vec![Effect::ReapNeeded]);
            assert!(matches!(third.await, Some(Wake::Effects(..))));
        }
        sender.announce(LogIndex::new(4));
        drop(receiver);
        settling.settled().await;
    }
}
