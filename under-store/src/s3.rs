//! The adapter for a bucket of S3, or of a server that speaks its protocol: `s3://bucket/prefix`.
//!
//! A prefix that has keys below it is a directory, and so is an object whose key ends in a slash. Requests are made
//! here rather than by object_store, whose listings and reads cannot do what the port promises: survive any key, and
//! compare every answer with the version asked for. Its HTTP client, signer and sources of credentials are used.

mod answer;
mod fields;
mod listing;
mod outage;
mod reading;
mod retry;
mod settings;
mod transport;
mod upload;
mod versions;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forebay_types::{FileOffset, Fingerprint, UnderStoreKey, UnderStoreUri};
use futures::{StreamExt, stream};
use http::HeaderMap;
use tokio::time::Instant;

use crate::error::UnderStoreError;
use crate::key::{check_key, check_range};
use crate::limits::{CALL_BUDGET, CHECK_BUDGET, LISTING_ANSWER_MAX};
use crate::port::{ListedPage, ObjectStatus, PageToken, ReadStream, UnderStore};
use crate::statistics::{RequestKind, UnderStoreStatistics};

use listing::{FoldedPage, ListingPlace};
use settings::S3Settings;
use transport::{Request, Transport};
pub use upload::ObjectUpload;
use versions::VersionIds;

/// A bucket, or a prefix of one, as an under-store.
#[derive(Debug)]
pub(crate) struct S3UnderStore {
    uri: UnderStoreUri,
    transport: Transport,
    version_ids: VersionIds,
}

impl S3UnderStore {
    pub(crate) fn new(
        uri: &UnderStoreUri,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, UnderStoreError> {
        let settings = S3Settings::new(uri, options)?;
        Ok(Self { uri: uri.clone(), transport: Transport::new(settings), version_ids: VersionIds::default() })
    }

    /// The key in the bucket.
    fn full_key(&self, key: &UnderStoreKey) -> Vec<u8> {
        let (prefix, key) = (self.uri.path().as_bytes(), key.as_bytes());
        let between: &[u8] = if prefix.is_empty() || key.is_empty() { b"" } else { b"/" };
        [prefix, between, key].concat()
    }

    /// What the keys below a directory begin with.
    fn directory_prefix(&self, directory: &UnderStoreKey) -> Vec<u8> {
        let mut prefix = self.full_key(directory);
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        prefix
    }

    fn object_request(&self, kind: RequestKind, key: &UnderStoreKey, version: Option<&str>) -> Request {
        let mut target = format!("/{}", fields::escaped_path(&self.full_key(key)));
        if let Some(version) = version {
            target.push_str("?versionId=");
            target.push_str(&fields::escaped(version.as_bytes()));
        }
        Request { kind, target, headers: HeaderMap::new(), object: self.uri.display_key(key) }
    }

    /// Whether any key begins with the directory's prefix.
    async fn has_keys_below(
        &self,
        directory: &UnderStoreKey,
        budget: Duration,
    ) -> Result<bool, UnderStoreError> {
        let prefix = self.directory_prefix(directory);
        let object = self.uri.display_key(directory);
        let target = listing::query(&prefix, 1, None);
        let request = Request { kind: RequestKind::List, target, headers: HeaderMap::new(), object };
        let answer = self.transport.send_whole(&request, budget, LISTING_ANSWER_MAX).await?;
        let body = answer.map_err(|refusal| self.transport.refused(refusal, &self.uri, &request.object))?;
        let folded = ListingPlace::begin(prefix).fold(&body);
        let page =
            folded.map_err(|problem| UnderStoreError::Malformed { object: request.object, problem })?;
        Ok(!page.is_bare)
    }

    /// What is at this very key, or what this version of it is.
    async fn head(
        &self,
        key: &UnderStoreKey,
        version: Option<&str>,
        budget: Duration,
    ) -> Result<Option<Fingerprint>, UnderStoreError> {
        let request = self.object_request(RequestKind::Head, key, version);
        let malformed =
            |problem: String| UnderStoreError::Malformed { object: request.object.clone(), problem };
        match self.transport.send(&request, budget).await? {
            Ok(answer) => {
                let length = fields::announced_length(&answer.headers)
                    .ok_or_else(|| malformed("it has no Content-Length".to_owned()))?;
                fields::fingerprint(&answer.headers, length).map(Some).map_err(malformed)
            }
            Err(refusal) if refusal.is_missing_object() => Ok(None),
            Err(refusal) => Err(self.transport.refused(refusal, &self.uri, &request.object)),
        }
    }

    async fn list_page(
        &self,
        directory: &UnderStoreKey,
        page_token: Option<PageToken>,
    ) -> Result<ListedPage, UnderStoreError> {
        let object = self.uri.display_key(directory);
        let prefix = self.directory_prefix(directory);
        let place = match page_token.map(PageToken::into_place::<ListingPlace>) {
            None => ListingPlace::begin(prefix),
            Some(Some(place)) if place.prefix == prefix => place,
            Some(_) => return Err(UnderStoreError::ForeignPageToken { object }),
        };
        let is_first = place.continuation.is_none();
        let request =
            Request { kind: RequestKind::List, target: place.query(), headers: HeaderMap::new(), object };
        let answer = self.transport.send_whole(&request, CALL_BUDGET, LISTING_ANSWER_MAX).await?;
        let body = answer.map_err(|refusal| self.transport.refused(refusal, &self.uri, &request.object))?;
        let folded = place.fold(&body);
        let object = request.object;
        let page =
            folded.map_err(|problem| UnderStoreError::Malformed { object: object.clone(), problem })?;
        if is_first && page.is_bare && !directory.as_bytes().is_empty() {
            return Err(UnderStoreError::NotFound { object });
        }
        let FoldedPage { entries, skipped, next, passed, .. } = page;
        Ok(ListedPage { entries, next: next.map(PageToken::new), skipped, passed, directory: None })
    }

    /// The range of the version that is at the key now or, if it is another one by now and the server has told its id,
    /// of the one that was.
    async fn open_read(
        &self,
        key: &UnderStoreKey,
        range: Range<u64>,
        expected: &Fingerprint,
    ) -> Result<ReadStream, UnderStoreError> {
        let read = self.open_read_of(key, range.clone(), expected, expected.version_id.as_deref()).await;
        if expected.version_id.is_none()
            && matches!(read, Err(UnderStoreError::Changed { .. }))
            && let Some(id) = self.version_ids.of(key, expected)
            && let Ok(kept) = self.open_read_of(key, range, expected, Some(&id)).await
        {
            return Ok(kept);
        }
        read
    }

    async fn open_read_of(
        &self,
        key: &UnderStoreKey,
        range: Range<u64>,
        expected: &Fingerprint,
        version: Option<&str>,
    ) -> Result<ReadStream, UnderStoreError> {
        let mut request = self.object_request(RequestKind::Get, key, version);
        if range.is_empty() {
            // HTTP has no range of no bytes.
            let found = self.head(key, version, CALL_BUDGET).await?;
            if !found.as_ref().is_some_and(|found| found.is_same_content(expected)) {
                return Err(self.changed(key, &request.object, expected).await?);
            }
            return Ok(stream::empty().boxed());
        }
        request.headers = reading::conditions(&range, expected);
        match self.transport.send(&request, CALL_BUDGET).await? {
            Ok(answer) => {
                let statistics = self.transport.statistics();
                let (read, found) =
                    reading::checked_stream(&request.object, &range, expected, answer, statistics)?;
                self.version_ids.learn(key, &found);
                Ok(read)
            }
            // Gone, or the condition failed, or the object is shorter than the range.
            Err(refusal) if refusal.is_missing_object() || matches!(refusal.status.as_u16(), 412 | 416) => {
                match self.changed(key, &request.object, expected).await? {
                    UnderStoreError::Changed { found: Some(found), .. }
                        if found.is_same_content(expected) =>
                    {
                        Err(self.transport.refused(refusal, &self.uri, &request.object))
                    }
                    changed => Err(changed),
                }
            }
            Err(refusal) => Err(self.transport.refused(refusal, &self.uri, &request.object)),
        }
    }

    /// The error `Changed`, with what is there now.
    async fn changed(
        &self,
        key: &UnderStoreKey,
        object: &str,
        expected: &Fingerprint,
    ) -> Result<UnderStoreError, UnderStoreError> {
        let found = self.head(key, None, CALL_BUDGET).await?;
        Ok(UnderStoreError::changed(object, expected, found))
    }

    fn counted<T>(&self, result: Result<T, UnderStoreError>) -> Result<T, UnderStoreError> {
        if result.as_ref().is_err_and(|error| !matches!(error, UnderStoreError::Changed { .. })) {
            self.transport.statistics().count_error();
        }
        result
    }
}

#[async_trait]
impl UnderStore for S3UnderStore {
    fn uri(&self) -> &UnderStoreUri {
        &self.uri
    }

    fn statistics(&self) -> &Arc<UnderStoreStatistics> {
        self.transport.statistics()
    }

    async fn check(&self) -> Result<(), UnderStoreError> {
        let (root, begun) = (UnderStoreKey::default(), Instant::now());
        if self.counted(self.has_keys_below(&root, CHECK_BUDGET).await)? || self.uri.path().is_empty() {
            return Ok(());
        }
        // An empty prefix may be meant for writing; one that is itself an object is a mistake.
        let left = CHECK_BUDGET.saturating_sub(begun.elapsed());
        if self.counted(self.head(&root, None, left).await)?.is_some() {
            return Err(UnderStoreError::NotADirectory { object: self.uri.to_string() });
        }
        Ok(())
    }

    async fn list(
        &self,
        directory: &UnderStoreKey,
        page_token: Option<PageToken>,
    ) -> Result<ListedPage, UnderStoreError> {
        check_key(&self.uri, directory)?;
        self.counted(self.list_page(directory, page_token).await)
    }

    async fn stat(&self, key: &UnderStoreKey) -> Result<Option<ObjectStatus>, UnderStoreError> {
        check_key(&self.uri, key)?;
        if key.as_bytes().is_empty() {
            self.counted(self.has_keys_below(key, CALL_BUDGET).await)?;
            return Ok(Some(ObjectStatus::plain_directory()));
        }
        let both = tokio::join!(self.has_keys_below(key, CALL_BUDGET), self.head(key, None, CALL_BUDGET));
        let (is_directory, object) = (self.counted(both.0)?, both.1);
        if is_directory {
            return Ok(Some(ObjectStatus::plain_directory()));
        }
        Ok(self.counted(object)?.map(ObjectStatus::plain_file))
    }

    async fn fingerprint(&self, key: &UnderStoreKey) -> Result<Option<Fingerprint>, UnderStoreError> {
        check_key(&self.uri, key)?;
        self.counted(self.head(key, None, CALL_BUDGET).await)
    }

    async fn read(
        &self,
        key: &UnderStoreKey,
        range: Range<FileOffset>,
        expected: &Fingerprint,
    ) -> Result<ReadStream, UnderStoreError> {
        check_key(&self.uri, key)?;
        let range = check_range(&self.uri.display_key(key), &range, expected)?;
        self.counted(self.open_read(key, range, expected).await)
    }
}
