//! Questions about names, attributes and places, which the master answers; and presence, which a worker does.
//!
//! Each answer says since when it holds and for how long it may be used without asking again. What is remembered and
//! still stands is given without asking, with the age that it has; see [`ClientSettings`](crate::ClientSettings).

use std::time::Duration;

use forebay_proto::v1::namespace_client::NamespaceClient;
use forebay_proto::{Entry, Named, Validity, WireDefect, WireError, v1};
use forebay_types::limits::{LISTING_PAGE_MAX, RPC_LENGTH_MAX};
use forebay_types::{
    BlockCapability, ByteCount, EntryName, ErrorKind, FileId, FileOffset, InodeId, ListingPosition,
    NamespacePath, Timestamp, VersionDescriptor, WorkerId,
};
use tokio::time::Instant;
use tonic::Request;
use tonic::transport::Channel;

use crate::answer::{defect, error_of};
use crate::cache::{About, Standing};
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::{LIST_ANSWER_DEADLINE, REFRESH_ANSWER_DEADLINE};
use crate::mounts::{MountEntry, Provenance};
use crate::route::Route;

/// The answer to a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The entry; `None` when the directory has no such name.
    pub entry: Option<Entry>,
    /// When the master was asked, which may be up to an hour ago; what workers are said to hold is as old.
    pub asked: std::time::Instant,
    /// For how long from then on the answer, also a negative one, may be used without asking again.
    pub valid: Duration,
}

/// The answer to a question what an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The entry.
    pub entry: Entry,
    /// When the master was asked, which may be up to an hour ago; what workers are said to hold is as old.
    pub asked: std::time::Instant,
    /// For how long from then on the answer may be used without asking again.
    pub valid: Duration,
}

/// One page of a directory, in the order of [`ListingPosition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingPage {
    /// The entries.
    pub entries: Vec<Named>,
    /// No entries follow.
    pub complete: bool,
    /// When the master was asked, which may be up to an hour ago; what workers are said to hold is as old.
    pub asked: std::time::Instant,
    /// For how long from then on the page may be used without asking again.
    pub valid: Duration,
}

/// How a name is known and how it is in the under-store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// It is there, and not known.
    New,
    /// It is something else by now.
    Changed,
    /// It is known, and not there.
    Gone,
}

/// Room and counts, for statfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Room for cached blocks on all workers.
    pub capacity: ByteCount,
    /// What of it is taken.
    pub used: ByteCount,
    /// Files known to the namespace.
    pub files: u64,
    /// Directories known to the namespace.
    pub directories: u64,
}

/// What a worker reports to hold of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The worker.
    pub worker: WorkerId,
    /// Bytes of the version in its cache.
    pub cached: ByteCount,
    /// Whether that is all.
    pub complete: bool,
}

/// What one worker holds of a version, asked of the worker itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The worker that was asked.
    pub worker: WorkerId,
    /// Whether it runs on this machine.
    pub local: bool,
    /// Bytes of the version in its cache.
    pub cached: ByteCount,
    /// Whether that is all.
    pub complete: bool,
    /// Whether it lies in several files, so that it cannot be held.
    pub in_segments: bool,
}

impl Client {
    /// Looks up one name in one directory. A missing name is no error. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::NotADirectory`] when `parent` is no directory (any more).
    pub async fn lookup(&self, parent: InodeId, name: &EntryName) -> Result<Lookup, ClientError> {
        if let Some(known) = self.remembered_lookup(parent, name) {
            return Ok(known);
        }
        let asked = Instant::now();
        let message = v1::LookupRequest {
            header: Some(self.header(None)),
            parent: parent.get(),
            name: name.as_bytes().to_vec().into(),
        };
        let answer =
            self.ask("Lookup", message, |mut names, request| async move { names.lookup(request).await });
        let answer = answer.await;
        self.learn_failure(parent, &answer);
        let answer = answer?;
        let validity = Validity::from_nanos(answer.valid_nanos, answer.granted_nanos);
        let about = match &answer.entry {
            Some(entry) => About::entry(InodeId::new(entry.inode), parent).with_own_grant(entry.own_grant),
            None => About::names(parent),
        };
        let valid = self.valid(about, asked, validity);
        self.learn_name(parent, name, answer.entry.as_ref(), (asked.into_std(), validity));
        let entry: Option<Entry> =
            answer.entry.map(TryInto::try_into).transpose().map_err(defect("Lookup"))?;
        Ok(Lookup { entry, asked: asked.into_std(), valid })
    }

    /// The entry of an inode. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such inode (any more).
    pub async fn attributes(&self, inode: InodeId) -> Result<Attributes, ClientError> {
        match self.remembered_attributes(inode) {
            Some(known) => Ok(known),
            None => self.ask_attributes(inode).await,
        }
    }

    /// The same as the master knows it now, whatever is remembered. Cancel safe.
    ///
    /// # Errors
    /// As [`attributes`](Self::attributes).
    pub async fn ask_attributes(&self, inode: InodeId) -> Result<Attributes, ClientError> {
        let asked = Instant::now();
        let request = v1::GetAttributesRequest { header: Some(self.header(None)), inode: inode.get() };
        let answer =
            self.ask("GetAttributes", request, |mut names, request| async move {
                names.get_attributes(request).await
            })
            .await;
        self.learn_failure(inode, &answer);
        let (entry, valid) = self.entry("GetAttributes", answer?, asked, None)?;
        Ok(Attributes { entry, asked: asked.into_std(), valid })
    }

    /// The entry at a path, and for how long it may be used without asking again. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], naming the first part that is missing; [`ErrorKind::NotADirectory`].
    pub async fn resolve(&self, path: &NamespacePath) -> Result<(Entry, Duration), ClientError> {
        if let Some(known) = self.remembered_path(path) {
            return Ok(known);
        }
        let asked = Instant::now();
        let answer = self.resolve_with(path, false).await?;
        self.entry("Resolve", answer, asked, path.names().last())
    }

    /// The same for a person who looks at one path, always asked of the master: with where the answer comes from, `None`
    /// where that is no mount, or a master of before does not tell. Cancel safe.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn look_at(&self, path: &NamespacePath) -> Result<(Entry, Option<Provenance>), ClientError> {
        let asked = Instant::now();
        let mut answer = self.resolve_with(path, true).await?;
        let mount = answer.mount.take().map(MountEntry::try_from).transpose().map_err(defect("Resolve"))?;
        let (is_stale, stale_since) = (answer.stale, answer.stale_since_nanos.map(Timestamp::from_nanos));
        let provenance = mount.map(|mount| Provenance { mount, is_stale, stale_since });
        Ok((self.entry("Resolve", answer, asked, path.names().last())?.0, provenance))
    }

    async fn resolve_with(
        &self,
        path: &NamespacePath,
        with_mount: bool,
    ) -> Result<v1::EntryResponse, ClientError> {
        let header = Some(self.header(None));
        let request = v1::ResolveRequest { header, path: path.to_bytes().into(), with_mount };
        self.ask("Resolve", request, |mut names, request| async move { names.resolve(request).await }).await
    }

    /// One page of a directory: the entries that stand after `after`, at most `limit` of them (0: as many as the master
    /// gives). Of a directory that is being listed comes what was seen so far. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::NotADirectory`].
    pub async fn list(
        &self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        limit: u32,
    ) -> Result<ListingPage, ClientError> {
        let known = self.remembered_page(directory, after, page_length(limit));
        if let Some(known) = known {
            return Ok(known);
        }
        let place = after.map(|after| after.as_bytes().to_vec().into()).unwrap_or_default();
        let (header, asked) = (Some(self.header(None)), Instant::now());
        let request =
            v1::ListRequest { header, directory: directory.get(), after: place, limit, by_key: true };
        let send = |channel, request| async move {
            NamespaceClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX).list(request).await
        };
        let called = self.0.master.call("List", LIST_ANSWER_DEADLINE, request, send);
        let answer = called.await.outcome();
        self.learn_failure(directory, &answer);
        let answer = answer?;
        let validity = Validity::from_nanos(answer.valid_nanos, answer.granted_nanos);
        let valid = self.valid(About::names(directory), asked, validity);
        self.learn_page(directory, after, &answer, asked.into_std());
        let entries: Result<_, _> = answer.entries.into_iter().map(TryInto::try_into).collect();
        Ok(ListingPage {
            entries: entries.map_err(defect("List"))?,
            complete: answer.complete,
            asked: asked.into_std(),
            valid,
        })
    }

    /// Opens a file: the current version within the mount's freshness, with the right to read it. Always asks the
    /// master. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::IsADirectory`], [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`].
    pub async fn open(&self, inode: InodeId) -> Result<(Entry, Duration), ClientError> {
        let asked = Instant::now();
        let request = v1::OpenRequest { header: Some(self.header(None)), inode: inode.get() };
        let answer =
            self.ask("Open", request, |mut names, request| async move { names.open(request).await }).await;
        self.learn_failure(inode, &answer);
        self.entry("Open", answer?, asked, None)
    }

    /// Compares a directory or a file with its under-store now, whatever its freshness. Of a directory, its own names
    /// and not what lies deeper. Cancel safe: what was begun goes on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; those of the under-store, also that it is away.
    pub async fn refresh(&self, inode: InodeId) -> Result<(), ClientError> {
        let request = v1::RefreshRequest { header: Some(self.header(None)), inode: inode.get(), stale: None };
        let send = |channel, request| async move { NamespaceClient::new(channel).refresh(request).await };
        let called = self.0.master.call("Refresh", REFRESH_ANSWER_DEADLINE, request, send);
        let outcome = called.await.outcome().map(drop);
        self.forget_names();
        outcome
    }

    /// How what is known of a directory differs from its under-store; changes nothing. The first thousand, and how many
    /// there are. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::NotADirectory`]; those of the under-store, also that it is away.
    pub async fn check(&self, directory: InodeId) -> Result<(Vec<(EntryName, Deviation)>, u64), ClientError> {
        let request = v1::CheckRequest { header: Some(self.header(None)), directory: directory.get() };
        let send = |channel, request| async move {
            NamespaceClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX).check(request).await
        };
        let called = self.0.master.call("Check", REFRESH_ANSWER_DEADLINE, request, send);
        let answer = called.await.outcome()?;
        let named = |of: v1::NamedDeviation| {
            let deviation = match of.deviation() {
                v1::Deviation::New => Deviation::New,
                v1::Deviation::Changed => Deviation::Changed,
                v1::Deviation::Gone => Deviation::Gone,
                v1::Deviation::Unspecified => return Err(WireDefect::Missing("deviation")),
            };
            let reason = |error: forebay_types::NameError| WireDefect::Invalid {
                field: "name",
                reason: error.to_string(),
            };
            Ok((EntryName::new(of.name.to_vec()).map_err(reason)?, deviation))
        };
        let deviations = answer.deviations.into_iter().map(named).collect::<Result<_, _>>();
        Ok((deviations.map_err(defect("Check"))?, answer.total))
    }

    /// Room and counts, for statfs. Never waits for a worker. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn statistics(&self) -> Result<Statistics, ClientError> {
        let request = v1::GetStatisticsRequest { header: Some(self.header(None)) };
        let answer =
            self.ask("GetStatistics", request, |mut names, request| async move {
                names.get_statistics(request).await
            })
            .await?;
        Ok(Statistics {
            capacity: ByteCount::new(answer.capacity_bytes),
            used: ByteCount::new(answer.used_bytes),
            files: answer.files,
            directories: answer.directories,
        })
    }

    /// Which workers report what of a version. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn locate(&self, file: FileId) -> Result<Vec<Location>, ClientError> {
        let request = v1::LocateRequest { header: Some(self.header(None)), file: Some(file.into()) };
        let answer = self
            .ask("Locate", request, |mut names, request| async move { names.locate(request).await })
            .await?;
        let location = |of: v1::Location| Location {
            worker: WorkerId::new(of.worker),
            cached: ByteCount::new(of.cached_bytes),
            complete: of.complete,
        };
        Ok(answer.locations.into_iter().map(location).collect())
    }

    /// Has workers drop what they hold of at most 1,000 versions. It is carried out with their next heartbeats; what
    /// somebody reads goes when it is closed. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master; [`ErrorKind::InvalidArgument`](forebay_types::ErrorKind) for more versions.
    pub async fn free(&self, files: &[FileId]) -> Result<(), ClientError> {
        let files = files.iter().map(|file| (*file).into()).collect();
        let request = v1::FreeRequest { header: Some(self.header(None)), files };
        self.ask("Free", request, |mut names, request| async move { names.free(request).await })
            .await
            .map(drop)
    }

    /// What the worker of this machine holds of a version; where there is none, the owner of the first block. One
    /// attempt: an answer that comes late is of no use. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is no worker; the worker's own.
    pub async fn presence(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<Presence, ClientError> {
        self.refresh_in_background();
        let first = version.block_at(FileOffset::new(0)).expect("the first block has the index 0");
        let local = self.0.route.local();
        let is_local = local.is_some();
        let owner = || Route::owners(&self.0.route.map(), first).first().cloned();
        let worker = local
            .or_else(owner)
            .ok_or_else(|| WireError::new(ErrorKind::Unavailable, "no worker is registered"))?;
        let mut request = Request::new(v1::GetPresenceRequest {
            header: Some(self.routed_header()),
            version: Some(version.into()),
            capability: Some(capability.into()),
        });
        let within = self.0.settings.timeout;
        request.set_timeout(within);
        let mut blocks = self.0.workers.blocks(&worker.address)?;
        // The transport's own limit ends with the head of an answer.
        let answer = tokio::time::timeout(within, blocks.get_presence(request)).await.map_err(|_| {
            let silent = format!("{} at {} gave no answer within {within:?}", worker.id, worker.address);
            WireError::new(ErrorKind::TimedOut, silent)
        })?;
        let answer = answer.map_err(error_of)?.into_inner();
        Ok(Presence {
            worker: worker.id,
            local: is_local,
            cached: ByteCount::new(answer.cached_bytes),
            complete: answer.complete,
            in_segments: answer.in_segments,
        })
    }

    /// What may be done with an answer that was asked for at `asked` and is remembered.
    #[must_use]
    pub fn standing(&self, about: About, asked: std::time::Instant) -> Standing {
        self.0.grants.standing(about, asked, Instant::now().into_std())
    }

    /// The entry of an answer, and for how long it may be used; remembers it, under its name where that is known.
    fn entry(
        &self,
        rpc: &'static str,
        answer: v1::EntryResponse,
        asked: Instant,
        name: Option<&EntryName>,
    ) -> Result<(Entry, Duration), ClientError> {
        let term = (asked.into_std(), Validity::from_nanos(answer.valid_nanos, answer.granted_nanos));
        if let Some(told) = &answer.entry {
            match name {
                Some(name) => self.learn_name(InodeId::new(told.directory), name, Some(told), term),
                None => self.learn_entry(told, term),
            }
        }
        let (entry, validity): (Entry, Validity) = answer.try_into().map_err(defect(rpc))?;
        let about = About::entry(entry.inode, entry.directory).with_own_grant(entry.own_grant);
        let valid = self.valid(about, asked, validity);
        Ok((entry, valid))
    }

    /// For how long, counted from `asked`, an answer may be used without a grant; takes the grant.
    fn valid(&self, about: About, asked: Instant, validity: Validity) -> Duration {
        self.0.grants.grant(about, asked.into_std(), validity, Instant::now().into_std());
        validity.alone
    }

    /// Asks the namespace service of the leading master.
    async fn ask<M, T, F, R>(&self, rpc: &'static str, message: M, send: F) -> Result<T, ClientError>
    where
        M: Clone,
        F: Fn(NamespaceClient<Channel>, Request<M>) -> R,
        R: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let send = |channel, request| {
            send(NamespaceClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX), request)
        };
        self.0.master.call(rpc, Duration::ZERO, message, send).await.outcome()
    }
}

/// How many entries a page has at most for which so many were asked.
fn page_length(limit: u32) -> usize {
    let limit = usize::try_from(limit).unwrap_or(LISTING_PAGE_MAX);
    if limit == 0 { LISTING_PAGE_MAX } else { limit.min(LISTING_PAGE_MAX) }
}
