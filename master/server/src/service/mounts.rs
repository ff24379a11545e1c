//! `forebay.v1.Mounts`: under-stores attached to the namespace and detached from it.

use std::sync::Arc;

use forebay_metadata::{
    ChangeMount, Coherence, Command, Freshness, Mount, MountMode, MountOptions, MountRecord, OnOutage,
    StateReader, Success, Unmount, query,
};
use forebay_proto::{OptionSource, WireDefect, v1};
use forebay_types::limits::MOUNTS_MAX;
use forebay_types::{Admission, BLOCK_LENGTH_DEFAULT, ByteCount, NamespacePath, UnderStoreUri};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{path, stamp};
use crate::error::MasterError;
use crate::limits;
use crate::mount_states::MountState;
use crate::shared::Shared;
use crate::tree;
use crate::under_stores::Failure;

/// The service.
#[derive(Debug)]
pub(crate) struct MountsService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl v1::mounts_server::Mounts for MountsService {
    async fn mount(&self, request: Request<v1::MountRequest>) -> Result<Response<v1::MountResponse>, Status> {
        let mut request = request.into_inner();
        let stamp = stamp(request.header.take())?;
        let check_only = request.check_only;
        let (has_freshness, has_coherence) =
            (request.freshness.is_some(), request.coherence() != v1::Coherence::Unspecified);
        let (on_outage, mode) = (on_outage_asked(&request), mode_asked(&request));
        let has_admission = request.admission.is_some();
        let mount = self.decode(request)?;
        let known = self.look(&mount).await?;
        if check_only {
            let answer = v1::MountResponse {
                mount: known.map_or(0, |known| known.get()),
                already: known.is_some(),
                ..Default::default()
            };
            return Ok(Response::new(answer));
        }
        let command = match known {
            None => Command::Mount(mount),
            Some(_) => Command::ChangeMount(ChangeMount {
                freshness: has_freshness.then_some(mount.options.freshness),
                coherence: has_coherence.then_some(mount.options.coherence),
                on_outage,
                mode,
                admission: has_admission.then_some(mount.options.admission),
                path: mount.path,
            }),
        };
        let (mount, already, changed) = match self.0.propose(Some(stamp), command).await? {
            Success::Mounted { mount, already, .. } => {
                self.describe(mount).await;
                (mount, already, false)
            }
            Success::MountChanged { mount, changed } => {
                // What was seen of it before a maintenance says nothing of it after that.
                if changed && mode.is_some() {
                    self.0.under_stores.note_well(mount);
                }
                (mount, true, changed)
            }
            _ => return Err(MasterError::WrongAnswer("mount").into()),
        };
        // Also where it is the mode already: whoever asks again wants to know whether all know by now.
        let is_told = already && (mode.is_some() || has_admission);
        let workers_behind = if is_told { self.wait_for_workers().await? } else { 0 };
        Ok(Response::new(v1::MountResponse { mount: mount.get(), already, changed, workers_behind }))
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
        let (on_outage, mode) = (on_outage_asked(&request), mode_asked(&request));
        let path = path(&request.path)?;
        let uri: UnderStoreUri =
            request.uri.parse().map_err(|error| MasterError::Invalid(format!("{error}")))?;
        let freshness = request.freshness.map(forebay_proto::Freshness::try_from).transpose()?;
        let sources = request.options.into_iter().map(|(name, value)| Ok((name, value.try_into()?)));
        let sources =
            sources.collect::<Result<std::collections::BTreeMap<String, OptionSource>, WireDefect>>()?;
        let admission = request.admission.map(Admission::try_from).transpose()?.unwrap_or_default();
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
            on_outage: on_outage.unwrap_or(OnOutage::Serve),
            mode: mode.unwrap_or(MountMode::Normal),
            admission,
        };
        Ok(Mount { path, uri, options })
    }

    /// Sees to it that the directory of a new mount is as its source is. Until that is known nobody but root may enter it,
    /// and whoever asks has it asked for again.
    async fn describe(&self, mount: forebay_types::MountId) {
        let root = self.0.query(|state| Ok(query::mount(state, mount)?.map(|mount| mount.root)));
        let described = match root.await {
            Ok(Some(root)) => tree::attributes(&self.0, root).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = described {
            tracing::debug!(%mount, %error, "who owns the source of a mount could not be told yet");
        }
    }

    /// Waits until all live workers have said that they know the mounts as they are now, but not for long; gives how
    /// many have not. Once they have, none of them begins a request that a new mode forbids.
    async fn wait_for_workers(&self) -> Result<u32, MasterError> {
        let until = Instant::now() + limits::MODE_HEARD_WITHIN;
        loop {
            let revision = self.0.query(|state| Ok(revision(&query::mounts(state)?))).await?;
            let behind = self.0.registry.lock().count_behind(revision);
            if behind == 0 || Instant::now() >= until {
                return Ok(u32::try_from(behind).unwrap_or(u32::MAX));
            }
            tokio::time::sleep(limits::MODE_HEARD_LOOK).await;
        }
    }

    /// Whether the mount is there already; an error when it could not be made. The namespace is asked before the
    /// under-store, since that costs nothing. All waits together end by one deadline.
    async fn look(&self, mount: &Mount) -> Result<Option<forebay_types::MountId>, MasterError> {
        let until = Instant::now() + limits::MOUNT_LOOK_DEADLINE;
        let (known, above, outer) = self
            .0
            .query(|state| {
                let above = query::resolve(state, &mount.path)?;
                let outer = above.inode.mount.map(|id| query::mount(state, id)).transpose()?.flatten();
                let known = query::check_mount(state, mount)??;
                check_text(mount, &query::mounts(state)?)?;
                Ok((known, above, outer))
            })
            .await?;
        if known.is_some() {
            return Ok(known);
        }
        let store = self.0.under_stores.try_connect(&mount.path, &mount.uri, &mount.options)?;
        within(until, &mount.uri, self.0.under_stores.refuse_own_folder(&mount.uri)).await?;
        if !mount.options.is_in_maintenance() {
            within(until, &mount.uri, store.check()).await?;
        }
        self.refuse_hidden_content(until, mount, &above, outer.as_ref()).await?;
        Ok(None)
    }

    /// A mount point inside another mount must not exist in that one's under-store, loaded or not.
    async fn refuse_hidden_content(
        &self,
        until: Instant,
        mount: &Mount,
        above: &query::Resolved,
        outer: Option<&MountRecord>,
    ) -> Result<(), MasterError> {
        let (Some(outer), Some(first)) = (outer, above.rest.first()) else {
            return Ok(());
        };
        let store = self.0.under_store(outer)?;
        let key = above.inode.key.join(first.as_bytes());
        if within(until, &outer.uri, store.stat(&key)).await?.is_some() {
            return Err(MasterError::HidesContent {
                path: mount.path.clone(),
                uri: outer.uri.display_key(&key),
            });
        }
        Ok(())
    }
}

/// Names a table of mounts for workers: the entry that mounted or changed one of them last, and their number. After that
/// entry mounts only went, so two tables that differ never share both.
pub(crate) fn revision(mounts: &[MountRecord]) -> u64 {
    let changed_at = mounts.iter().map(|mount| mount.changed_at.get()).max().unwrap_or(0);
    1 + (changed_at << MOUNTS_BITS | mounts.len() as u64)
}

/// Bits for a number of mounts.
const MOUNTS_BITS: u32 = (MOUNTS_MAX + 1).next_power_of_two().trailing_zeros();

/// What a request says of outages, if anything.
fn on_outage_asked(request: &v1::MountRequest) -> Option<OnOutage> {
    Option::from(request.on_outage()).map(|on_outage| match on_outage {
        forebay_proto::OnOutage::Serve => OnOutage::Serve,
        forebay_proto::OnOutage::Fail => OnOutage::Fail,
    })
}

/// The mode that a request asks for, if any.
fn mode_asked(request: &v1::MountRequest) -> Option<MountMode> {
    Option::from(request.mode()).map(|mode| match mode {
        forebay_proto::MountMode::Normal => MountMode::Normal,
        forebay_proto::MountMode::NoAccess => MountMode::NoAccess,
        forebay_proto::MountMode::ReadOnly => MountMode::ReadOnly,
    })
}

/// Refuses a mount whose path, URI and patterns would make the list of all mounts too long for one message.
fn check_text(mount: &Mount, known: &[MountRecord]) -> Result<(), MasterError> {
    let others = known.iter().filter(|known| known.path != mount.path);
    let known: usize = others.map(|other| text(&other.path, &other.uri, &other.options.admission)).sum();
    if known + text(&mount.path, &mount.uri, &mount.options.admission) > limits::MOUNTS_TEXT_MAX {
        return Err(MasterError::TooMany(format!(
            "{} cannot be mounted at {}: the paths, URIs and patterns of all mounts together would be longer than {} \
             bytes; choose shorter ones, or unmount what is not needed",
            mount.uri,
            mount.path,
            limits::MOUNTS_TEXT_MAX
        )));
    }
    Ok(())
}

/// The same for a rename of `from`, after which the mounts have these paths.
pub(super) fn check_all_text<'m>(
    from: &NamespacePath,
    mounts: impl Iterator<Item = (NamespacePath, &'m MountRecord)>,
) -> Result<(), MasterError> {
    let length: usize = mounts.map(|(path, mount)| text(&path, &mount.uri, &mount.options.admission)).sum();
    if length > limits::MOUNTS_TEXT_MAX {
        return Err(MasterError::TooMany(format!(
            "{from} cannot be moved there: the paths, URIs and patterns of all mounts together would be longer than {} \
             bytes; choose a shorter path, or unmount what is not needed",
            limits::MOUNTS_TEXT_MAX
        )));
    }
    Ok(())
}

/// How long a mount is in a list of all.
fn text(path: &NamespacePath, uri: &UnderStoreUri, admission: &Admission) -> usize {
    path.to_bytes().len() + uri.to_string().len() + admission_length(admission)
}

/// How long the patterns of a mount are in a message, in bytes; each has a few around it.
pub(crate) fn admission_length(admission: &Admission) -> usize {
    let patterns = admission.include.iter().chain(&admission.exclude);
    patterns.map(|pattern| pattern.as_bytes().len() + PATTERN_FIELDS_LENGTH_MAX).sum()
}

/// Most bytes of a pattern's message but the pattern.
const PATTERN_FIELDS_LENGTH_MAX: usize = 4;

async fn within<T, E: Into<MasterError>>(
    until: Instant,
    uri: &UnderStoreUri,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, MasterError> {
    match tokio::time::timeout_at(until, call).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(MasterError::Listing {
            kind: forebay_types::ErrorKind::UnderStore,
            message: format!(
                "{uri} could not be looked at within {} s; check its endpoint, the network, and the files that its \
                 options refer to",
                limits::MOUNT_LOOK_DEADLINE.as_secs()
            ),
        }),
    }
}

/// A mode as workers and people are told of it.
pub(crate) const fn wire_mode(mode: MountMode) -> v1::MountMode {
    match mode {
        MountMode::Normal => v1::MountMode::Normal,
        MountMode::NoAccess => v1::MountMode::NoAccess,
        MountMode::ReadOnly => v1::MountMode::ReadOnly,
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
    let on_outage = match mount.options.on_outage {
        OnOutage::Serve => v1::OnOutage::Serve,
        OnOutage::Fail => v1::OnOutage::Fail,
    };
    let mount_state = MountState::of(shared, mount);
    let name = mount_state.name().to_owned();
    let (unreachable_since_nanos, reason) = match mount_state {
        MountState::Unreachable(Failure { since, reason }) => (Some(since.nanos()), reason),
        MountState::Ready | MountState::Maintenance => (None, String::new()),
    };
    Ok(v1::MountEntry {
        mount: mount.id.get(),
        path: mount.path.to_bytes().into(),
        uri: mount.uri.to_string(),
        read_only: mount.options.is_read_only(),
        freshness: Some(freshness.into()),
        coherence: coherence.into(),
        state: name,
        files: query::mount_totals(state, mount.id)?.files,
        on_outage: on_outage.into(),
        mode: wire_mode(mount.options.mode).into(),
        admission: Some((&mount.options.admission).into()),
        unreachable_since_nanos,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_types::{ErrorKind, InodeId, LogIndex, MountId, Timestamp};
    use std::time::Duration;

    #[test]
    fn a_mount_that_would_make_the_list_of_all_too_long_is_refused() {
        let record = |number: u32, text: usize| MountRecord {
            id: MountId::new(number),
            path: format!("/{number:0>254}").parse().expect("legal"),
            uri: format!("s3://bucket/{number:0>0$}", text - 255 - 12).parse().expect("legal"),
            options: MountOptions::default(),
            root: InodeId::new(u64::from(number)),
            mounted_at: LogIndex::new(1),
            mounted_time: Timestamp::default(),
            changed_at: LogIndex::new(1),
        };
        let length = limits::MOUNTS_TEXT_MAX / MOUNTS_MAX;
        let known: Vec<_> = (1..1024).map(|number| record(number, length)).collect();
        let mount = |text| {
            let MountRecord { path, uri, options, .. } = record(1024, text);
            Mount { path, uri, options }
        };
        check_text(&mount(length), &known).expect("as long as may be");
        let error = check_text(&mount(length + 1), &known).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(error.to_string().contains("paths, URIs and patterns of all mounts together"), "{error}");
        let mut patterned = mount(length);
        patterned.options.admission =
            Admission::new(forebay_types::AdmissionRule::All, ["a"], []).expect("legal");
        assert!(check_text(&patterned, &known).is_err(), "patterns count too");
        patterned.path = known[0].path.clone();
        assert!(check_text(&patterned, &known).is_ok(), "what a mount said before does not");
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_is_looked_at_before_a_mount_ends_by_one_deadline() {
        let (begun, uri) = (Instant::now(), "s3://b4".parse().expect("legal"));
        let until = begun + limits::MOUNT_LOOK_DEADLINE;
        let slow = async {
            tokio::time::sleep(limits::MOUNT_LOOK_DEADLINE / 2).await;
            Ok::<_, MasterError>(())
        };
        within(until, &uri, slow).await.expect("in time");
        let silent = std::future::pending::<Result<(), MasterError>>();
        let error = within(until, &uri, silent).await.expect_err("silent");
        assert!(error.to_string().starts_with("s3://b4 could not be looked at within 40 s"), "{error}");
        assert_eq!(begun.elapsed(), limits::MOUNT_LOOK_DEADLINE);
        // What a client waits for a mount.
        assert!(limits::MOUNT_LOOK_DEADLINE + limits::PROPOSE_DEADLINE < Duration::from_secs(60));
    }
}
