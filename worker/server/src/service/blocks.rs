//! `forebay.v1.Blocks`: decode, check the capability, stream.
//!
//! The epoch in a request's header is not compared with anything: any worker serves any block, so a caller with an old
//! map makes a detour and a second copy, and gets the same bytes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forebay_block_store::Demand;
use forebay_proto::v1::blocks_server::Blocks;
use forebay_proto::{WireDefect, to_status, v1};
use forebay_types::{BlockCapability, VersionDescriptor};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::core::WorkerCore;
use crate::error::ReadError;
use crate::limits::{LOAD_DEADLINE, LOAD_WORD_INTERVAL, READ_DEADLINE};
use crate::load::Loaded;
use crate::metrics::Metrics;
use crate::version::Version;

/// The service; it refuses until the worker is open.
#[derive(Clone, Debug)]
pub(crate) struct BlocksService {
    pub(crate) core: Arc<OnceLock<Arc<WorkerCore>>>,
    pub(crate) metrics: Arc<Metrics>,
}

#[tonic::async_trait]
impl Blocks for BlocksService {
    type ReadStream = BoxStream<'static, Result<v1::ReadChunk, Status>>;
    type LoadStream = BoxStream<'static, Result<v1::LoadProgress, Status>>;

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        self.metrics.read_begun();
        let deadline =
            Instant::now() + asked_timeout(request.metadata()).unwrap_or(READ_DEADLINE).min(READ_DEADLINE);
        let request = request.into_inner();
        let (core, version) = self.admit(request.version, request.capability).await?;
        let fill_sequence = core.path.fills.sequence();
        // 0: the handle is opened by this very request.
        let opened_at = if request.opened_at_fill == 0 { fill_sequence } else { request.opened_at_fill };
        let range = request.offset..request.offset.saturating_add(request.length);
        let pieces = Arc::clone(&core.path).read(Arc::clone(&version), range, opened_at);
        let metrics = Arc::clone(&self.metrics);
        let chunks = stream::unfold(Some(Box::pin(pieces)), move |pieces| {
            let (version, metrics) = (Arc::clone(&version), Arc::clone(&metrics));
            async move {
                let mut pieces = pieces?;
                match tokio::time::timeout_at(deadline, pieces.next()).await {
                    Ok(Some(Ok(piece))) => {
                        let (data, crc32c, offset) = (piece.data, piece.crc32c, piece.offset);
                        Some((Ok(v1::ReadChunk { data, crc32c, offset, fill_sequence }), Some(pieces)))
                    }
                    Ok(None) => None,
                    Ok(Some(Err(error))) => Some((Err(refused(&metrics, &error)), None)),
                    Err(_) => Some((Err(refused(&metrics, &ReadError::Deadline(version.file()))), None)),
                }
            }
        });
        Ok(Response::new(chunks.boxed()))
    }

    async fn load(&self, request: Request<v1::LoadRequest>) -> Result<Response<Self::LoadStream>, Status> {
        let deadline =
            Instant::now() + asked_timeout(request.metadata()).unwrap_or(LOAD_DEADLINE).min(LOAD_DEADLINE);
        let request = request.into_inner();
        let (core, version) = self.admit(request.version, request.capability).await?;
        let file = version.file();
        let range = request.offset..request.offset.saturating_add(request.length);
        let demand = if request.guess { Demand::Read } else { Demand::Load };
        let loaded = Arc::clone(&core.loads).load(version, range, demand);
        // A guess for which there is no room is no failure that anybody should look at.
        let metrics = (!request.guess).then(|| Arc::clone(&self.metrics));
        let messages = stream::unfold(Some((loaded, Loaded::default())), move |state| {
            let metrics = metrics.clone();
            async move {
                let (mut loaded, last) = state?;
                let word =
                    tokio::time::timeout_at(deadline.min(Instant::now() + LOAD_WORD_INTERVAL), loaded.next());
                match word.await {
                    Ok(Some(Ok(part))) => Some((Ok(progress(&part)), Some((loaded, part)))),
                    Ok(None) => None,
                    Ok(Some(Err(error))) => Some((Err(load_refused(metrics.as_deref(), &error)), None)),
                    Err(_) if Instant::now() < deadline => Some((Ok(progress(&last)), Some((loaded, last)))),
                    Err(_) => Some((Err(load_refused(metrics.as_deref(), &ReadError::Deadline(file))), None)),
                }
            }
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn get_presence(
        &self,
        request: Request<v1::GetPresenceRequest>,
    ) -> Result<Response<v1::GetPresenceResponse>, Status> {
        let request = request.into_inner();
        let (core, version) = self.admit(request.version, request.capability).await?;
        let presence = core.path.cache.store().presence(&version.source());
        Ok(Response::new(presence.map_or_else(Default::default, |presence| v1::GetPresenceResponse {
            cached_bytes: presence.cached.get(),
            complete: presence.is_complete,
            in_segments: !presence.is_whole,
        })))
    }
}

impl BlocksService {
    async fn admit(
        &self,
        version: Option<v1::VersionDescriptor>,
        capability: Option<v1::BlockCapability>,
    ) -> Result<(Arc<WorkerCore>, Arc<Version>), Status> {
        let version: VersionDescriptor = version.ok_or(WireDefect::Missing("version"))?.try_into()?;
        let capability: BlockCapability = capability.ok_or(WireDefect::Missing("capability"))?.try_into()?;
        let core = self.core.get().ok_or_else(|| refused(&self.metrics, &ReadError::Starting))?;
        let version = core.admit_and_adopt(version, &capability).await;
        let version = version.map_err(|error| refused(&self.metrics, &error))?;
        Ok((Arc::clone(core), version))
    }
}

/// Counts an error and puts it on the wire. It is logged where it happened, or by who asked.
fn refused(metrics: &Metrics, error: &ReadError) -> Status {
    metrics.read_failed(error.kind());
    to_status(error.kind(), error.to_string())
}

/// The same for a load.
fn load_refused(metrics: Option<&Metrics>, error: &ReadError) -> Status {
    if let Some(metrics) = metrics {
        metrics.load_failed(error.kind());
    }
    to_status(error.kind(), error.to_string())
}

const fn progress(loaded: &Loaded) -> v1::LoadProgress {
    v1::LoadProgress {
        cached_bytes: loaded.cached,
        under_store_bytes: loaded.fetched,
        missing_bytes: loaded.missing,
        complete: loaded.is_complete,
    }
}

/// The deadline that a caller named, as gRPC's header has it: up to eight digits and a unit.
fn asked_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(number.saturating_mul(60))),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_deadline_is_read_from_its_header() {
        let timeout = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("a header"));
            asked_timeout(&metadata)
        };
        assert_eq!(timeout("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(timeout("2S"), Some(Duration::from_secs(2)));
        for wrong in ["", "S", "-1S", "10", "1x"] {
            assert_eq!(timeout(wrong), None, "{wrong}");
        }
    }
}
