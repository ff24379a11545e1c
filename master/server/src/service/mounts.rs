//! `forebay.v1.Mounts`: under-stores attached to the namespace and detached from it.

use std::sync::Arc;

use forebay_metadata::{
    Coherence, Command, Freshness, Mount, MountOptions, MountRecord, StateReader, Success, Unmount, query,
};
use forebay_proto::{OptionSource, WireDefect, v1};
use forebay_types::{BLOCK_LENGTH_DEFAULT, ByteCount, UnderStoreUri};
use tonic::{Request, Response, Status};

use super::{path, stamp};
use crate::error::MasterError;
use crate::limits;
use crate::shared::Shared;

/// The service.
#[derive(Debug)]
pub(crate) struct MountsService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl v1::mounts_server::Mounts for MountsService {
    async fn mount(&self, request: Request<v1::MountRequest>) -> Result<Response<v1::MountResponse>, Status> {
        let mut request = request.into_inner();
        let stamp = stamp(request.header.take())?;
        let check_only = request.check_only;
        let mount = self.decode(request)?;
        if let Some(known) = self.look(&mount).await? {
            return Ok(Response::new(v1::MountResponse { mount: known.get(), already: true }));
        }
        if check_only {
            return Ok(Response::new(v1::MountResponse { mount: 0, already: false }));
        }
        match self.0.propose(Some(stamp), Command::Mount(mount)).await? {
            Success::Mounted { mount, already, .. } => {
                Ok(Response::new(v1::MountResponse { mount: mount.get(), already }))
            }
            _ => Err(MasterError::WrongAnswer("mount").into()),
        }
    }

    async fn unmount(
        &self,
        request: Request<v1::UnmountRequest>,
    ) -> Result<Response<v1::UnmountResponse>, Status> {
        let request = request.into_inner();
        let stamp = stamp(request.header)?;
        let command = Command::Unmount(Unmount { path: path(&request.path)? });
        if let Success::Unmounted { mount } = self.0.propose(Some(stamp), command).await? {
            self.0.under_stores.forget(mount);
        }
        Ok(Response::new(v1::UnmountResponse {}))
    }

    async fn list_mounts(
        &self,
        _request: Request<v1::ListMountsRequest>,
    ) -> Result<Response<v1::ListMountsResponse>, Status> {
        let all = |state: &dyn StateReader| {
            query::mounts(state)?.iter().map(|mount| entry(&self.0, state, mount)).collect::<Result<_, _>>()
        };
        Ok(Response::new(v1::ListMountsResponse { mounts: self.0.query(all).await? }))
    }
}

impl MountsService {
    fn decode(&self, request: v1::MountRequest) -> Result<Mount, Status> {
        let coherence = match request.coherence() {
            v1::Coherence::Strict => Coherence::Strict,
            v1::Coherence::Relaxed | v1::Coherence::Unspecified => Coherence::Relaxed,
        };
        if request.writable {
            let message = "this version mounts read-only; leave --writable away".to_owned();
            return Err(MasterError::Unsupported(message).into());
        }
        let path = path(&request.path)?;
        let uri: UnderStoreUri =
            request.uri.parse().map_err(|error| MasterError::Invalid(format!("{error}")))?;
        let freshness = request.freshness.map(forebay_proto::Freshness::try_from).transpose()?;
        let sources = request.options.into_iter().map(|(name, value)| Ok((name, value.try_into()?)));
        let sources =
            sources.collect::<Result<std::collections::BTreeMap<String, OptionSource>, WireDefect>>()?;
        let block_length = match request.block_length {
            0 => BLOCK_LENGTH_DEFAULT,
            length => length,
        };
        let options = MountOptions {
            read_only: true,
            freshness: freshness.map_or(MountOptions::FRESHNESS_DEFAULT, |freshness| match freshness {
                forebay_proto::Freshness::Immutable => Freshness::Immutable,
                forebay_proto::Freshness::Bound(bound) => Freshness::Bound(bound),
            }),
            coherence,
            block_length: ByteCount::new(block_length),
            options: self.0.under_stores.seal(&path, sources).map_err(MasterError::from)?,
        };
        Ok(Mount { path, uri, options })
    }

    /// Whether the mount is there already; an error when it could not be made. The namespace is asked before the
    /// under-store, since that costs nothing.
    async fn look(&self, mount: &Mount) -> Result<Option<forebay_types::MountId>, MasterError> {
        let (known, above, outer) = self
            .0
            .query(|state| {
                let above = query::resolve(state, &mount.path)?;
                let outer = above.inode.mount.map(|id| query::mount(state, id)).transpose()?.flatten();
                Ok((query::check_mount(state, mount)??, above, outer))
            })
            .await?;
        if known.is_some() {
            return Ok(known);
        }
        let store = self.0.under_stores.try_connect(&mount.path, &mount.uri, &mount.options)?;
        within_deadline(&mount.uri, self.0.under_stores.refuse_own_folder(&mount.uri)).await?;
        within_deadline(&mount.uri, store.check()).await?;
        self.refuse_hidden_content(mount, &above, outer.as_ref()).await?;
        Ok(None)
    }

    /// A mount point inside another mount must not exist in that one's under-store, loaded or not.
    async fn refuse_hidden_content(
        &self,
        mount: &Mount,
        above: &query::Resolved,
        outer: Option<&MountRecord>,
    ) -> Result<(), MasterError> {
        let (Some(outer), Some(first)) = (outer, above.rest.first()) else {
            return Ok(());
        };
        let store = self.0.under_store(outer)?;
        let key = above.inode.key.join(first.as_bytes());
        if within_deadline(&outer.uri, store.stat(&key)).await?.is_some() {
            return Err(MasterError::HidesContent {
                path: mount.path.clone(),
                uri: outer.uri.display_key(&key),
            });
        }
        Ok(())
    }
}

async fn within_deadline<T, E: Into<MasterError>>(
    uri: &UnderStoreUri,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, MasterError> {
    match tokio::time::timeout(limits::UNDER_STORE_DEADLINE, call).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(MasterError::Listing {
            kind: forebay_types::ErrorKind::UnderStore,
            message: format!(
                "{uri} did not answer within {} s; check its endpoint and the network",
                limits::UNDER_STORE_DEADLINE.as_secs()
            ),
        }),
    }
}

/// A mount as people see it: nothing of its options, which may be secret.
pub(crate) fn entry(
    shared: &Shared,
    state: &dyn StateReader,
    mount: &MountRecord,
) -> Result<v1::MountEntry, MasterError> {
    let freshness = match mount.options.freshness {
        Freshness::Immutable => forebay_proto::Freshness::Immutable,
        Freshness::Bound(bound) => forebay_proto::Freshness::Bound(bound),
    };
    let coherence = match mount.options.coherence {
        Coherence::Strict => v1::Coherence::Strict,
        Coherence::Relaxed => v1::Coherence::Relaxed,
    };
    let reachability = if shared.under_stores.failure(mount.id).is_some() { "UNREACHABLE" } else { "READY" };
    Ok(v1::MountEntry {
        mount: mount.id.get(),
        path: mount.path.to_bytes().into(),
        uri: mount.uri.to_string(),
        read_only: mount.options.read_only,
        freshness: Some(freshness.into()),
        coherence: coherence.into(),
        state: reachability.to_owned(),
        files: query::mount_totals(state, mount.id)?.files,
    })
}
