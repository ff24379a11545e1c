//! What was asked of one under-store: requests by kind, bytes, errors, retries, counted where they happen.
//!
//! The owner turns them into metrics. Counters only grow; each is read alone, so that two of one reading may be a
//! request apart.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one under-store, shared by it and its owner.
#[derive(Debug, Default)]
pub struct UnderStoreStatistics {
    list_requests: AtomicU64,
    head_requests: AtomicU64,
    get_requests: AtomicU64,
    read_bytes: AtomicU64,
    errors: AtomicU64,
    retries: AtomicU64,
}

/// One reading of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderStoreCounts {
    /// Pages of listings asked for, each attempt counted.
    pub list_requests: u64,
    /// Questions about one object, each attempt counted.
    pub head_requests: u64,
    /// Ranges asked for, each attempt counted.
    pub get_requests: u64,
    /// Bytes of content received.
    pub read_bytes: u64,
    /// Calls and streams that ended in an error other than "the object changed".
    pub errors: u64,
    /// Attempts after the first of their call.
    pub retries: u64,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    List,
    Head,
    Get,
}

impl UnderStoreStatistics {
    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> UnderStoreCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UnderStoreCounts {
            list_requests: read(&self.list_requests),
            head_requests: read(&self.head_requests),
            get_requests: read(&self.get_requests),
            read_bytes: read(&self.read_bytes),
            errors: read(&self.errors),
            retries: read(&self.retries),
        }
    }

    pub(crate) fn count_request(&self, kind: RequestKind) {
        let counter = match kind {
            RequestKind::List => &self.list_requests,
            RequestKind::Head => &self.head_requests,
            RequestKind::Get => &self.get_requests,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_read_bytes(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(feature = "s3")]
    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}
