//! The line to one master: whether it knows this worker, how far it was told what the worker has, and when it is asked
//! next. What is asked goes on beside all else, so that a master that is silent holds up none but itself.

use std::future::Future;
use std::time::Duration;

use forebay_proto::v1::cluster_client::ClusterClient;
use forebay_proto::{WireError, transport, v1};
use forebay_types::ErrorKind;
use forebay_types::limits::RPC_LENGTH_MAX;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::contents::{Contents, Mark};
use crate::limits::{BACKOFF, MASTER_DEADLINE};
use crate::mount_intake::Asked;
use crate::registration::{Registered, understood};
use crate::retry::Backoff;

/// One master.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) address: String,
    client: ClusterClient<Channel>,
    /// `None`: the master is to be registered with.
    pub(super) standing: Option<Standing>,
    backoff: Backoff,
    /// When it is asked next.
    pub(super) due: Instant,
    /// Whether an answer is waited for.
    pub(super) is_asked: bool,
    /// Whether the last answer came; said when that changes.
    pub(super) is_reached: bool,
    /// It was said that the master is of another life of the cluster, or of another one.
    is_said_foreign: bool,
}

/// A master that knows this worker.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) registered: Registered,
    pub(super) contents: Contents,
    /// The list of versions to forget that was taken last.
    pub(super) forget_taken: u64,
}

/// What a master answered, or why it did not.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) address: String,
    pub(super) said: Said,
}

/// See [`Reply`].
#[derive(Debug)]
pub(super) enum Said {
    Registered(Result<Registered, WireError>),
    Beat { mark: Mark, asked: Asked, answer: Result<v1::HeartbeatResponse, WireError> },
}

impl Line {
    /// A line to the master at `address`, to be asked at once. Needs a runtime.
    ///
    /// # Errors
    /// `InvalidArgument` when that is no address.
    pub(super) fn new(address: String) -> Result<Self, WireError> {
        let channel = transport::endpoint(&address)?.connect_lazy();
        let client = ClusterClient::new(channel)
            .max_decoding_message_size(RPC_LENGTH_MAX)
            .max_encoding_message_size(RPC_LENGTH_MAX);
        Ok(Self {
            address,
            client,
            standing: None,
            backoff: Backoff::new(BACKOFF),
            due: Instant::now(),
            is_asked: false,
            is_reached: true,
            is_said_foreign: false,
        })
    }

    /// Whether it is to be asked now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.is_asked && self.due <= now
    }

    /// Registers with it.
    pub(super) fn register(&mut self, request: v1::RegisterRequest) -> impl Future<Output = Reply> + use<> {
        self.is_asked = true;
        let (address, mut client) = (self.address.clone(), self.client.clone());
        async move {
            let answer = within(request, async |request| client.register(request).await).await;
            Reply { address, said: Said::Registered(answer.and_then(|answer| understood(&answer))) }
        }
    }

    /// Sends it a heartbeat.
    pub(super) fn beat(
        &mut self,
        request: v1::HeartbeatRequest,
        mark: Mark,
        asked: Asked,
    ) -> impl Future<Output = Reply> + use<> {
        self.is_asked = true;
        let (address, mut client) = (self.address.clone(), self.client.clone());
        async move {
            let answer = within(request, async |request| client.heartbeat(request).await).await;
            Reply { address, said: Said::Beat { mark, asked, answer } }
        }
    }

    /// It answered, and is asked again after `pause`.
    pub(super) fn answered(&mut self, pause: Duration) {
        self.backoff.reset();
        self.due = Instant::now() + pause;
        if !std::mem::replace(&mut self.is_reached, true) {
            tracing::info!(master = self.address, "the master is reached again");
        }
    }

    /// It did not answer, or with an error.
    pub(super) fn not_reached(&mut self, error: &WireError) {
        self.due = Instant::now() + self.backoff.pause();
        if std::mem::replace(&mut self.is_reached, false) {
            tracing::warn!(master = self.address, %error, "the master is not reached; cached data is served on");
        }
    }

    /// Has it registered with anew, at once.
    pub(super) fn begin_anew(&mut self) {
        self.standing = None;
        self.due = Instant::now();
    }

    /// It belongs to another life of the cluster than the master that is followed, and is left alone for a while.
    pub(super) fn is_foreign(&mut self) {
        self.standing = None;
        self.due = Instant::now() + BACKOFF.1;
        if !std::mem::replace(&mut self.is_said_foreign, true) {
            tracing::warn!(
                master = self.address,
                "the master is of another cluster, or of another life of it, than the one that is followed, and is not \
                 listened to; name the masters of one cluster only"
            );
        }
    }
}

async fn within<M, T>(
    message: M,
    ask: impl AsyncFnOnce(Request<M>) -> Result<Response<T>, Status>,
) -> Result<T, WireError> {
    let mut request = Request::new(message);
    request.set_timeout(MASTER_DEADLINE);
    match tokio::time::timeout(MASTER_DEADLINE, ask(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => {
            let text = format!("no answer within {} s", MASTER_DEADLINE.as_secs());
            Err(WireError::new(ErrorKind::TimedOut, text))
        }
    }
}
