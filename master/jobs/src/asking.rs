//! Questions that a job asks, each again for as long as that may help.

use std::time::Duration;

use forebay_types::ErrorKind;

use crate::event::RequestId;
use crate::retry::Retry;

/// Numbers for requests and tasks.
#[derive(Debug, Default)]
pub(crate) struct Ids(u64);

/// A question that is asked, or will be.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    pub(crate) request: Option<RequestId>,
    retry: Retry,
    not_before: Duration,
    /// When it was asked last.
    asked_at: Duration,
}

impl Ids {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Asking {
    /// A question that is not asked before a moment.
    pub(crate) fn not_before(not_before: Duration) -> Self {
        Self { not_before, ..Self::default() }
    }

    /// The number to ask under, if it is time and nobody has asked.
    pub(crate) fn begin(&mut self, now: Duration, ids: &mut Ids) -> Option<RequestId> {
        if self.request.is_some() || now < self.not_before {
            return None;
        }
        let request = RequestId(ids.next());
        self.request = Some(request);
        self.asked_at = now;
        Some(request)
    }

    /// When it was asked last.
    pub(crate) const fn asked_at(&self) -> Duration {
        self.asked_at
    }

    /// The question failed: whether it will be asked again.
    pub(crate) fn failed(&mut self, now: Duration, kind: ErrorKind) -> bool {
        self.request = None;
        match self.retry.again(now, kind) {
            Some(not_before) => {
                self.not_before = not_before;
                true
            }
            None => false,
        }
    }
}
