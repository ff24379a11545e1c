//! Attaching under-stores to the namespace, and the figures of the cluster, as people ask for them.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_proto::v1::cluster_client::ClusterClient;
use forebay_proto::v1::mounts_client::MountsClient;
use forebay_proto::{Coherence, Freshness, MountMode, OnOutage, OptionSource, Stamp, WireDefect, v1};
use forebay_types::limits::RPC_LENGTH_MAX;
use forebay_types::{Admission, ByteCount, ErrorKind, MountId, NamespacePath, Timestamp};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::answer::defect;
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::MOUNT_ANSWER_DEADLINE;

/// What is to be mounted where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// The place in the namespace.
    pub path: NamespacePath,
    /// The under-store, as `s3://BUCKET/PREFIX` or `file:///DIR`; the master says what is wrong with it.
    pub uri: String,
    /// Whether files may be written.
    pub writable: bool,
    /// `None`: the default of 60 s.
    pub freshness: Option<Freshness>,
    /// `None`: strict where writable, else relaxed.
    pub coherence: Option<Coherence>,
    /// What is answered past its freshness while the under-store is away; `None`: what is known.
    pub on_outage: Option<OnOutage>,
    /// What may be asked of the under-store; `None`: whatever is needed.
    pub mode: Option<MountMode>,
    /// What of it is cached; `None`: all.
    pub admission: Option<Admission>,
    /// `None`: the default of 64 MiB.
    pub block_length: Option<ByteCount>,
    /// Credentials, region, endpoint and the like.
    pub options: BTreeMap<String, OptionSource>,
    /// Only look whether the mount would succeed.
    pub check_only: bool,
}

/// What came of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The mount; 0 after a check of what is not mounted.
    pub mount: MountId,
    /// It was there before.
    pub already: bool,
    /// It was, and has the freshness, coherence, mode, admission and so on now that were asked for.
    pub changed: bool,
    /// Live workers that have not said that they know a new mode or admission: they may still ask the under-store, or cache
    /// as before.
    pub workers_behind: u32,
}

/// One mount as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// The mount.
    pub mount: MountId,
    /// Its place in the namespace.
    pub path: NamespacePath,
    /// The under-store.
    pub uri: String,
    /// Whether files cannot be written now.
    pub read_only: bool,
    /// For how long what was seen of the under-store is taken as true.
    pub freshness: Freshness,
    /// What another client's change may lag behind.
    pub coherence: Coherence,
    /// What is answered past its freshness while the under-store is away.
    pub on_outage: OnOutage,
    /// What may be asked of the under-store.
    pub mode: MountMode,
    /// What of it is cached.
    pub admission: Admission,
    /// `READY`; `UNREACHABLE` after the under-store last failed to answer; `MAINTENANCE` while nobody may ask it.
    pub state: String,
    /// Of one that is unreachable: when the master first found it so.
    pub unreachable_since: Option<Timestamp>,
    /// And what was said last; empty where nothing was.
    pub reason: String,
    /// Files known below it.
    pub files: u64,
}

/// Where the answer about an entry comes from; of a directory, what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The mount that it lies in.
    pub mount: MountEntry,
    /// It is past the mount's freshness, since the under-store is away or in maintenance.
    pub is_stale: bool,
    /// Since when, where the master knows.
    pub stale_since: Option<Timestamp>,
}

impl TryFrom<v1::MountEntry> for MountEntry {
    type Error = WireDefect;

    fn try_from(entry: v1::MountEntry) -> Result<Self, WireDefect> {
        let coherence = match entry.coherence() {
            v1::Coherence::Strict => Coherence::Strict,
            v1::Coherence::Relaxed => Coherence::Relaxed,
            v1::Coherence::Unspecified => return Err(WireDefect::Missing("coherence")),
        };
        let path = NamespacePath::parse(&entry.path)
            .map_err(|error| WireDefect::Invalid { field: "path", reason: error.to_string() })?;
        let (on_outage, mode) = (Option::from(entry.on_outage()), Option::from(entry.mode()));
        Ok(Self {
            mount: MountId::new(entry.mount),
            path,
            uri: entry.uri,
            read_only: entry.read_only,
            freshness: entry.freshness.ok_or(WireDefect::Missing("freshness"))?.try_into()?,
            coherence,
            // What a master of before does not say is as it was then.
            on_outage: on_outage.unwrap_or(OnOutage::Serve),
            mode: mode.unwrap_or(MountMode::Normal),
            admission: entry.admission.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            state: entry.state,
            unreachable_since: entry.unreachable_since_nanos.map(Timestamp::from_nanos),
            reason: entry.reason,
            files: entry.files,
        })
    }
}

impl Client {
    /// Mounts an under-store, after the master had a look at it, which may take as long as the under-store does; one that
    /// is to be in maintenance is not looked at. The same path and URI again is no error: the mount takes the freshness,
    /// coherence, `on_outage`, mode and admission that are given, and keeps its other options. A check gives mount 0. A call that was dropped may still be carried out.
    ///
    /// # Errors
    /// The master's refusal with its reason; [`ClientError::OutcomeUnknown`] when nobody can tell any more.
    pub async fn mount(&self, request: MountRequest) -> Result<Mounted, ClientError> {
        let MountRequest { path, uri, writable, freshness, coherence, on_outage, mode, .. } = request;
        let MountRequest { block_length, options, check_only, admission, .. } = request;
        let message = v1::MountRequest {
            header: None,
            path: path.to_bytes().into(),
            uri,
            writable,
            freshness: freshness.map(Into::into),
            coherence: coherence.map_or(v1::Coherence::Unspecified, Into::into).into(),
            block_length: block_length.unwrap_or_default().get(),
            options: options.into_iter().map(|(name, source)| (name, source.into())).collect(),
            check_only,
            on_outage: on_outage.map_or(v1::OnOutage::Unspecified, Into::into).into(),
            mode: mode.map_or(v1::MountMode::Unspecified, Into::into).into(),
            admission: admission.as_ref().map(Into::into),
        };
        let stamped = |stamp| v1::MountRequest { header: Some(self.header(Some(stamp))), ..message.clone() };
        let answer = self
            .mutate("Mount", stamped, |channel, request| async move {
                MountsClient::new(channel).mount(request).await
            })
            .await;
        self.forget_names();
        let v1::MountResponse { mount, already, changed, workers_behind } = answer?;
        Ok(Mounted { mount: MountId::new(mount), already, changed, workers_behind })
    }

    /// Takes the mount at `path` away; the under-store stays as it is. A call that was dropped may still be carried
    /// out.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when nothing is mounted there; [`ClientError::OutcomeUnknown`].
    pub async fn unmount(&self, path: &NamespacePath) -> Result<(), ClientError> {
        let stamped = |stamp| v1::UnmountRequest {
            header: Some(self.header(Some(stamp))),
            path: path.to_bytes().into(),
        };
        let unmounting = self.mutate("Unmount", stamped, |channel, request| async move {
            MountsClient::new(channel).unmount(request).await
        });
        let outcome = unmounting.await;
        self.forget_names();
        outcome.map(drop)
    }

    /// All mounts. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn mounts(&self) -> Result<Vec<MountEntry>, ClientError> {
        let request = v1::ListMountsRequest { header: Some(self.header(None)) };
        let answer = self
            .0
            .master
            .call("ListMounts", Duration::ZERO, request, |channel, request| async move {
                MountsClient::new(channel)
                    .max_decoding_message_size(RPC_LENGTH_MAX)
                    .list_mounts(request)
                    .await
            })
            .await
            .outcome()?;
        let mounts: Result<_, _> = answer.mounts.into_iter().map(TryInto::try_into).collect();
        mounts.map_err(defect("ListMounts"))
    }

    /// The figures of the cluster, as the wire has them: they are for people and change with each version. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn report(&self) -> Result<v1::GetReportResponse, ClientError> {
        let request = v1::GetReportRequest { header: Some(self.header(None)) };
        self.0
            .master
            .call("GetReport", Duration::ZERO, request, |channel, request| async move {
                ClusterClient::new(channel)
                    .max_decoding_message_size(RPC_LENGTH_MAX)
                    .get_report(request)
                    .await
            })
            .await
            .outcome()
    }

    /// Sends a mutation under one stamp, however often. When the master no longer knows the session and the request
    /// was sent once, nothing was done, and it is sent again under a new session.
    pub(crate) async fn mutate<M, T, F, R>(
        &self,
        rpc: &'static str,
        stamped: impl Fn(Stamp) -> M,
        send: F,
    ) -> Result<T, ClientError>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let mut is_new_session = false;
        loop {
            let ticket = self.0.session.begin().await;
            let stamp = ticket.stamp();
            let called = self.0.master.call(rpc, MOUNT_ANSWER_DEADLINE, stamped(stamp), &send).await;
            match called.outcome {
                Err(error) if error.kind() == ErrorKind::SessionExpired => {
                    self.0.session.expire(stamp.session);
                    if called.attempts > 1 || is_new_session {
                        return Err(ClientError::OutcomeUnknown { rpc });
                    }
                    is_new_session = true;
                }
                outcome => return outcome,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_without_a_word_about_coherence_or_freshness_makes_no_sense() {
        let entry = v1::MountEntry {
            mount: 3,
            path: "/data".into(),
            uri: "file:///data".into(),
            freshness: Some(Freshness::Immutable.into()),
            coherence: v1::Coherence::Relaxed.into(),
            ..Default::default()
        };
        let seen = MountEntry::try_from(entry.clone()).unwrap();
        assert_eq!((seen.mount, seen.freshness), (MountId::new(3), Freshness::Immutable));
        assert_eq!(
            (seen.on_outage, seen.mode),
            (OnOutage::Serve, MountMode::Normal),
            "as masters of before are"
        );
        let silent = v1::MountEntry { coherence: 0, ..entry.clone() };
        assert_eq!(MountEntry::try_from(silent), Err(WireDefect::Missing("coherence")));
        let unbound = v1::MountEntry { freshness: None, ..entry.clone() };
        assert_eq!(MountEntry::try_from(unbound), Err(WireDefect::Missing("freshness")));
        let nowhere = v1::MountEntry { path: "data".into(), ..entry };
        assert!(MountEntry::try_from(nowhere).is_err());
    }
}
