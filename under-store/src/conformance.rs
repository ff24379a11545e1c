//! What every under-store must do, as a suite that runs against a real one: an adapter that passes can be mounted.
//!
//! The tests of an adapter give it an empty directory or bucket, a [`RawWriter`] that writes behind its back, and what
//! the system below is able to hold. The suite says which rule is broken instead of panicking, so that it can be shown
//! to catch a planted fault.

mod listing;
mod naming;
mod reading;

use std::fmt;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use forebay_types::{FileOffset, Fingerprint, ListingPosition, UnderStoreKey};
use futures::TryStreamExt;

use crate::error::UnderStoreError;
use crate::port::{ListedObject, ListedPage, ObjectStatus, UnderStore};

/// Writes to the system below the under-store, not through it. It panics when it cannot.
#[async_trait]
pub trait RawWriter: Send + Sync {
    /// Writes or replaces the object at `key`, relative to the under-store's URI. A file system makes the folders that
    /// are missing, and replaces a file by renaming a new one over it.
    async fn put(&self, key: &[u8], content: Bytes);

    /// Deletes the object at `key`.
    async fn delete(&self, key: &[u8]);
}

/// What the system below can hold.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Names are bytes, which need not be UTF-8.
    pub names_are_bytes: bool,
    /// Keys are flat: `a` and `a/b` may both exist, and so may `a//b` and `a/`.
    pub keys_are_flat: bool,
    /// Keys may have parts `.` and `..`, and the writer can write them, which most HTTP clients cannot.
    pub takes_dot_parts: bool,
    /// Names may have control characters.
    pub takes_control_characters: bool,
    /// A reader that has begun is not given bytes of a file that replaces it meanwhile.
    pub replaces_atomically: bool,
}

/// A rule that the under-store broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonconformance {
    /// The rule.
    pub rule: &'static str,
    /// How it was broken.
    pub detail: String,
}

impl fmt::Display for Nonconformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

impl std::error::Error for Nonconformance {}

/// Runs the whole suite on an empty under-store, and leaves its objects behind.
///
/// # Errors
/// The first rule that is broken.
pub async fn run(
    store: &dyn UnderStore,
    writer: &dyn RawWriter,
    abilities: Abilities,
) -> Result<(), Nonconformance> {
    let suite = Suite { store, writer, abilities };
    suite.an_empty_store_is_an_empty_directory().await?;
    suite.a_directory_is_listed_one_level_deep().await?;
    suite.a_first_page_tells_of_its_directory_where_there_are_owners().await?;
    suite.a_long_listing_comes_in_pages_and_whole().await?;
    suite.a_page_token_serves_its_own_listing().await?;
    suite.hidden_and_illegal_keys_are_counted().await?;
    suite.any_legal_name_is_listed_found_and_read().await?;
    suite.the_longest_key_is_found_and_read().await?;
    suite.what_is_missing_is_said_to_be_missing().await?;
    suite.a_key_that_leaves_the_mount_is_refused().await?;
    suite.every_range_gives_its_bytes().await?;
    suite.a_replaced_file_is_another_version().await?;
    suite.versions_are_never_mixed().await?;
    suite.bytes_read_are_counted().await
}

/// One run.
struct Suite<'a> {
    store: &'a dyn UnderStore,
    writer: &'a dyn RawWriter,
    abilities: Abilities,
}

/// The outcome of one rule.
type Outcome = Result<(), Nonconformance>;

/// Breaks `rule` unless `holds`.
fn ensure(rule: &'static str, holds: bool, detail: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Nonconformance { rule, detail: detail() }) }
}

/// A call that must succeed.
fn done<T>(rule: &'static str, result: Result<T, UnderStoreError>) -> Result<T, Nonconformance> {
    result.map_err(|error| Nonconformance { rule, detail: format!("{error} ({error:?})") })
}

fn key(bytes: impl AsRef<[u8]>) -> UnderStoreKey {
    UnderStoreKey::new(bytes.as_ref()).expect("the suite's keys are short enough")
}

/// Bytes of which each position and each `seed` gives others.
fn content(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = BytesMut::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.freeze()
}

impl Suite<'_> {
    /// All entries of a directory and how many were skipped.
    async fn list_all(
        &self,
        rule: &'static str,
        directory: &[u8],
    ) -> Result<(Vec<ListedObject>, u64), Nonconformance> {
        let (mut entries, mut skipped, mut token, mut passed) = (Vec::new(), 0, None, None);
        loop {
            let page = done(rule, self.store.list(&key(directory), token).await)?;
            let ListedPage {
                entries: of_page, next, skipped: of_page_skipped, passed: of_page_passed, ..
            } = page;
            let late = of_page.iter().find(|entry| {
                passed
                    .as_ref()
                    .is_some_and(|passed| ListingPosition::of(&entry.name, entry.status.kind) <= *passed)
            });
            ensure(rule, late.is_none(), || format!("{late:?} comes after {passed:?} was passed"))?;
            passed = of_page_passed.max(passed);
            ensure(rule, of_page.len() <= crate::limits::LISTING_PAGE_MAX, || {
                format!("a page has {} entries", of_page.len())
            })?;
            entries.extend(of_page);
            skipped += of_page_skipped;
            token = match next {
                None => return Ok((entries, skipped)),
                next => next,
            };
        }
    }

    async fn stat(&self, rule: &'static str, at: &[u8]) -> Result<Option<ObjectStatus>, Nonconformance> {
        done(rule, self.store.stat(&key(at)).await)
    }

    /// The fingerprint of a file that must be there.
    async fn version(&self, rule: &'static str, at: &[u8]) -> Result<Fingerprint, Nonconformance> {
        let found = done(rule, self.store.fingerprint(&key(at)).await)?;
        found.ok_or_else(|| Nonconformance { rule, detail: format!("{:?} is not found", key(at)) })
    }

    /// The bytes of a range, gathered.
    async fn read(
        &self,
        at: &[u8],
        start: u64,
        length: u64,
        version: &Fingerprint,
    ) -> Result<Bytes, UnderStoreError> {
        let range = FileOffset::new(start)..FileOffset::new(start + length);
        let stream = self.store.read(&key(at), range, version).await?;
        let gathered: BytesMut = stream
            .try_fold(BytesMut::new(), async |mut all, chunk| {
                all.extend_from_slice(&chunk);
                Ok(all)
            })
            .await?;
        Ok(gathered.freeze())
    }

    /// The whole content in its present version.
    async fn read_now(&self, rule: &'static str, at: &[u8]) -> Result<Bytes, Nonconformance> {
        let version = self.version(rule, at).await?;
        done(rule, self.read(at, 0, version.length.get(), &version).await)
    }
}
