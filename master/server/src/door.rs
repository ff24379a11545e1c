//! What a master serves before it can: every service has its place from the first moment on, and says "not yet" until it
//! is there. So masters that form a cluster can find each other at the addresses that they will serve.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use forebay_raft::RaftNode;
use forebay_runtime::Clock;
use forebay_types::ErrorKind;
use futures::future::Either;
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

use crate::sealing::SealingKey;
use crate::server::PeerList;

/// A service that comes later. Cheap to clone.
pub(crate) struct Late<S>(Arc<OnceLock<S>>);

impl<S> Late<S> {
    /// Has it served from now on. A second one is ignored.
    pub(crate) fn set(&self, service: S) {
        let _ = self.0.set(service);
    }
}

impl<S> Default for Late<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> Clone for Late<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> std::fmt::Debug for Late<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Late").field("is_there", &self.0.get().is_some()).finish()
    }
}

impl<S: NamedService> NamedService for Late<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Late<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.0.get() {
            // Generated services are always ready.
            Some(service) => Either::Left(service.clone().call(request)),
            None => {
                let reason = "this master is starting, or waits for the other masters of its cluster";
                let status = forebay_proto::to_status(ErrorKind::Unavailable, reason);
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

/// What a master can say of itself before it serves anything else.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) slot: u32,
    pub(crate) address: String,
    pub(crate) peers: PeerList,
    /// A random number, by which a master that asks itself finds that out.
    pub(crate) process: u64,
    pub(crate) clock: Arc<dyn Clock>,
    standing: Mutex<Standing>,
}

/// How far a master has come with its cluster.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// It does not know yet whether it has one.
    Opening,
    /// It has none.
    Empty,
    /// It has one.
    Member(Arc<RaftNode>, Arc<SealingKey>),
}

impl Door {
    pub(crate) fn new(
        slot: u32,
        address: String,
        peers: PeerList,
        process: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { slot, address, peers, process, clock, standing: Mutex::new(Standing::Opening) }
    }

    pub(crate) fn stands(&self, standing: Standing) {
        *self.standing.lock() = standing;
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }
}
