//! What passed through the proxy.

use parking_lot::Mutex;

/// One request and its answer.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// GET, HEAD, PUT or DELETE.
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// The header `Range`, if there was one.
    pub range: Option<String>,
    /// The header `Authorization`: key and region that it was signed with, and the signature.
    pub authorization: String,
    /// Whether the request had a condition, as it arrived.
    pub has_condition: bool,
    /// The status of the answer; 0 until it comes.
    pub status: u16,
    /// Bytes of the answer's body that were sent on so far.
    pub body_bytes: u64,
}

impl Exchange {
    /// Whether it asked for bytes of an object, not for a listing.
    #[must_use]
    pub fn is_object_get(&self) -> bool {
        self.method == "GET" && !self.target.contains('?')
    }
}

/// All exchanges since the last time that they were forgotten.
#[derive(Debug, Default)]
pub(super) struct Record(Mutex<(u64, Vec<Exchange>)>);

/// One of them: the count of times that all were forgotten before it, and its place since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(u64, usize);

impl Record {
    pub(super) fn add(&self, exchange: Exchange) -> Entry {
        let (forgotten, all) = &mut *self.0.lock();
        all.push(exchange);
        Entry(*forgotten, all.len() - 1)
    }

    pub(super) fn change(&self, entry: Entry, change: impl FnOnce(&mut Exchange)) {
        let (forgotten, all) = &mut *self.0.lock();
        if let (true, Some(exchange)) = (*forgotten == entry.0, all.get_mut(entry.1)) {
            change(exchange);
        }
    }

    pub(super) fn all(&self) -> Vec<Exchange> {
        self.0.lock().1.clone()
    }

    pub(super) fn forget(&self) {
        let (forgotten, all) = &mut *self.0.lock();
        *forgotten += 1;
        all.clear();
    }
}
