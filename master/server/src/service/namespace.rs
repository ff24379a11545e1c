//! `forebay.v1.Namespace`: names, attributes, listings and opens.

use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::query;
use forebay_proto::{Entry, Validity, WireDefect, v1};
use forebay_types::{EntryName, FileId, InodeId, ListingPosition, Timestamp, limits::LISTING_PAGE_MAX};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{directories, name, path, pins};
use crate::error::MasterError;
use crate::limits;
use crate::listing::Deviation;
use crate::mount_states::{self, Provenance};
use crate::shared::Shared;
use crate::tree;

/// The service.
#[derive(Debug)]
pub(crate) struct NamespaceService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl v1::namespace_server::Namespace for NamespaceService {
    async fn lookup(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::LookupResponse>, Status> {
        let request = request.into_inner();
        let name = name(&request.name)?;
        let (entry, valid) = tree::lookup(&self.0, InodeId::new(request.parent), &name).await?;
        let (valid_nanos, granted_nanos) = valid.nanos();
        Ok(Response::new(v1::LookupResponse { entry: entry.map(Into::into), valid_nanos, granted_nanos }))
    }

    async fn resolve(
        &self,
        request: Request<v1::ResolveRequest>,
    ) -> Result<Response<v1::EntryResponse>, Status> {
        let request = request.into_inner();
        let answered = tree::resolve(&self.0, &path(&request.path)?).await?;
        let provenance = match request.with_mount {
            true => mount_states::provenance(&self.0, &answered.0).await?,
            false => None,
        };
        let mut response = answer(answered);
        if let Some(Provenance { mount, is_stale, stale_since }) = provenance {
            let answer = response.get_mut();
            (answer.mount, answer.stale) = (Some(mount), is_stale);
            answer.stale_since_nanos = stale_since.map(Timestamp::nanos);
        }
        Ok(response)
    }

    async fn get_attributes(
        &self,
        request: Request<v1::GetAttributesRequest>,
    ) -> Result<Response<v1::EntryResponse>, Status> {
        let inode = InodeId::new(request.into_inner().inode);
        Ok(answer(tree::attributes(&self.0, inode).await?))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let request = request.into_inner();
        let limit = match usize::try_from(request.limit) {
            Ok(limit @ 1..=LISTING_PAGE_MAX) => limit,
            _ => LISTING_PAGE_MAX,
        };
        let directory = InodeId::new(request.directory);
        let (entries, complete, valid) = if request.by_key {
            let after = position(&request.after)?;
            tree::list_by_key(&self.0, directory, after.as_ref(), limit).await?
        } else {
            let after = (!request.after.is_empty()).then(|| name(&request.after)).transpose()?;
            tree::list(&self.0, directory, after.as_ref(), limit).await?
        };
        let (valid_nanos, granted_nanos) = valid.nanos();
        let entries = entries.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListResponse { entries, complete, valid_nanos, granted_nanos }))
    }

    async fn open(&self, request: Request<v1::OpenRequest>) -> Result<Response<v1::EntryResponse>, Status> {
        let inode = InodeId::new(request.into_inner().inode);
        Ok(answer(tree::open(&self.0, inode).await?))
    }

    async fn refresh(
        &self,
        request: Request<v1::RefreshRequest>,
    ) -> Result<Response<v1::RefreshResponse>, Status> {
        let v1::RefreshRequest { inode, stale, .. } = request.into_inner();
        match stale {
            Some(stale) => tree::refresh_stale(&self.0, InodeId::new(inode), stale.into()).await?,
            None => tree::refresh(&self.0, InodeId::new(inode)).await?,
        }
        Ok(Response::new(v1::RefreshResponse {}))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        let found = tree::deviations(&self.0, InodeId::new(request.into_inner().directory)).await?;
        let named = |(name, deviation): (EntryName, Deviation)| {
            let deviation = match deviation {
                Deviation::New => v1::Deviation::New,
                Deviation::Changed => v1::Deviation::Changed,
                Deviation::Gone => v1::Deviation::Gone,
            };
            v1::NamedDeviation { name: Vec::from(name).into(), deviation: deviation.into() }
        };
        let deviations = found.names.into_iter().map(named).collect();
        Ok(Response::new(v1::CheckResponse { deviations, total: found.total }))
    }

    async fn follow_changes(
        &self,
        request: Request<v1::FollowChangesRequest>,
    ) -> Result<Response<v1::FollowChangesResponse>, Status> {
        let request = request.into_inner();
        let wait = Duration::from_nanos(request.wait_nanos).min(limits::FEED_WAIT_MAX);
        let deadline = Instant::now() + wait;
        // Only who leads can vouch for what did not change, and only once the feed knows of all that can be read: a grant may
        // have been given from that.
        self.0.query(|_| Ok(())).await?;
        let settled = tokio::time::timeout(limits::FEED_SETTLE_MAX, self.0.raft.effects_settled()).await;
        settled.map_err(|_| MasterError::FeedBehind)?;
        let ending = self.0.background.token();
        let after = request.after.map(Into::into);
        let news = tokio::select! {
            news = self.0.feed.follow(after, deadline) => news,
            () = ending.cancelled() => self.0.feed.follow(after, Instant::now()).await,
        };
        Ok(Response::new(news.into()))
    }

    async fn get_statistics(
        &self,
        _request: Request<v1::GetStatisticsRequest>,
    ) -> Result<Response<v1::GetStatisticsResponse>, Status> {
        let totals = self.0.query(|state| Ok(query::totals(state)?)).await?;
        let (capacity_bytes, used_bytes) = self.0.registry.lock().capacity();
        Ok(Response::new(v1::GetStatisticsResponse {
            capacity_bytes,
            used_bytes,
            files: totals.files,
            directories: totals.directories,
        }))
    }

    async fn locate(
        &self,
        request: Request<v1::LocateRequest>,
    ) -> Result<Response<v1::LocateResponse>, Status> {
        let file: FileId = request.into_inner().file.ok_or(WireDefect::Missing("file"))?.into();
        let registry = self.0.registry.lock();
        let locations = registry.locations.of(file).into_iter().map(|(worker, holding)| v1::Location {
            worker: worker.get(),
            cached_bytes: holding.cached.get(),
            complete: holding.complete,
        });
        Ok(Response::new(v1::LocateResponse { locations: locations.collect() }))
    }

    async fn free(&self, request: Request<v1::FreeRequest>) -> Result<Response<v1::FreeResponse>, Status> {
        let files = request.into_inner().files;
        if files.len() > LISTING_PAGE_MAX {
            let message =
                format!("{} versions in one request are over the limit of {LISTING_PAGE_MAX}", files.len());
            return Err(MasterError::Invalid(message).into());
        }
        let files: Vec<FileId> = files.into_iter().map(Into::into).collect();
        self.0.registry.lock().forget(&files);
        Ok(Response::new(v1::FreeResponse {}))
    }

    async fn make_directory(
        &self,
        request: Request<v1::MakeDirectoryRequest>,
    ) -> Result<Response<v1::MakeDirectoryResponse>, Status> {
        directories::make(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn remove_directory(
        &self,
        request: Request<v1::RemoveDirectoryRequest>,
    ) -> Result<Response<v1::RemoveDirectoryResponse>, Status> {
        directories::remove(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn rename(
        &self,
        request: Request<v1::RenameRequest>,
    ) -> Result<Response<v1::RenameResponse>, Status> {
        directories::rename(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn set_attributes(
        &self,
        request: Request<v1::SetAttributesRequest>,
    ) -> Result<Response<v1::SetAttributesResponse>, Status> {
        directories::set_attributes(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn pin(&self, request: Request<v1::PinRequest>) -> Result<Response<v1::PinResponse>, Status> {
        pins::pin(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn unpin(&self, request: Request<v1::UnpinRequest>) -> Result<Response<v1::UnpinResponse>, Status> {
        pins::unpin(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_pins(
        &self,
        request: Request<v1::ListPinsRequest>,
    ) -> Result<Response<v1::ListPinsResponse>, Status> {
        pins::list(&self.0, request.into_inner()).await.map(Response::new)
    }
}

fn position(bytes: &[u8]) -> Result<Option<ListingPosition>, MasterError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let position = ListingPosition::of_key(bytes);
    position
        .map(Some)
        .ok_or_else(|| MasterError::Invalid("the place in a listing is longer than any key".into()))
}

fn answer((entry, valid): (Entry, Validity)) -> Response<v1::EntryResponse> {
    let (valid_nanos, granted_nanos) = valid.nanos();
    let entry = Some(entry.into());
    Response::new(v1::EntryResponse { entry, valid_nanos, granted_nanos, ..Default::default() })
}
