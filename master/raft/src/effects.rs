//! What applied entries ask the world to do, on its way to whoever does it.
//!
//! Effects are wake-ups: the queue is bounded, and when it is full they are dropped and the receiver is told to look at
//! the state for itself. No entry ever waits for the receiver.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_metadata::Effect;
use forebay_types::LogIndex;
use tokio::sync::mpsc;

/// Why the receiver is woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Entries up to this index were applied and had these effects.
    Effects(LogIndex, Vec<Effect>),
    /// Effects were dropped: look at the state for whatever there is to do.
    Rescan,
}

/// The receiving end. There is one for each node.
#[derive(Debug)]
pub struct Effects {
    queue: mpsc::Receiver<(LogIndex, Vec<Effect>)>,
    dropped: Arc<AtomicBool>,
}

/// The sending end.
#[derive(Debug)]
pub(crate) struct EffectSender {
    queue: mpsc::Sender<(LogIndex, Vec<Effect>)>,
    dropped: Arc<AtomicBool>,
}

/// A queue for `most` batches of effects.
pub(crate) fn channel(most: usize) -> (EffectSender, Effects) {
    let (sender, receiver) = mpsc::channel(most);
    let dropped = Arc::new(AtomicBool::new(false));
    (EffectSender { queue: sender, dropped: Arc::clone(&dropped) }, Effects { queue: receiver, dropped })
}

impl EffectSender {
    pub(crate) fn send(&self, index: LogIndex, effects: Vec<Effect>) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send((index, effects)) {
            self.rescan();
        }
    }

    /// Has the receiver look for itself.
    pub(crate) fn rescan(&self) {
        self.dropped.store(true, Ordering::Release);
        // An empty batch wakes it where the queue has nothing that would.
        let _ = self.queue.try_send((LogIndex::new(0), Vec::new()));
    }
}

impl Effects {
    /// The next reason to look; `None` when the node has stopped.
    ///
    /// Cancel safe: what is not returned is not lost.
    pub async fn next(&mut self) -> Option<Wake> {
        loop {
            // Whatever sets the flag leaves something in the queue, so a receiver that waits is woken for it.
            if self.dropped.swap(false, Ordering::AcqRel) {
                return Some(Wake::Rescan);
            }
            let (index, effects) = self.queue.recv().await?;
            if !effects.is_empty() {
                return Some(Wake::Effects(index, effects));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_effects_and_asks_for_a_rescan() {
        let (sender, mut receiver) = channel(1);
        sender.send(LogIndex::new(1), vec![Effect::MountsChanged]);
        sender.send(LogIndex::new(2), vec![Effect::ReapNeeded]);
        assert_eq!(receiver.next().await, Some(Wake::Rescan));
        assert_eq!(receiver.next().await, Some(Wake::Effects(LogIndex::new(1), vec![Effect::MountsChanged])));
        drop(sender);
        assert_eq!(receiver.next().await, None);
    }
}
