//! The port of eviction: who leaves first when a tier is full. One policy per file; the index does the counting.

mod lru;

use std::fmt;

use forebay_types::FileId;

pub(crate) use lru::Lru;

/// An order of leaving over the versions of one tier that may leave.
///
/// The index keeps it exact: a version is in the policy exactly while it may be evicted, which is while it is neither
/// held nor being filled. So the policy never has to skip one. An implementation is deterministic.
pub(crate) trait EvictionPolicy: fmt::Debug + Send {
    /// `file` may be evicted from now on, and was used just now. It is not in the policy yet.
    fn insert(&mut self, file: FileId);
    /// `file`, which is in the policy, was used.
    fn touch(&mut self, file: FileId);
    /// `file`, which is in the policy, left or may not be evicted any more.
    fn remove(&mut self, file: FileId);
    /// Who is to leave next; `None` when nobody is left. Asking does not change the order.
    fn victim(&self) -> Option<FileId>;
}
