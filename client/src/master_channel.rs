//! Asks the master that leads: finds it, follows its hints, tries again until the time is over.
//!
//! One connection per master, made when it is first needed and kept alive by probes, so that a dead peer is noticed.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use forebay_proto::{WireError, transport};
use forebay_types::ErrorKind;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::answer::error_of;
use crate::error::ClientError;
use crate::limits::MASTERS_MAX;
use crate::retry::{Asked, Attempts, Policy};

/// The masters as one.
#[derive(Debug)]
pub(crate) struct MasterChannel {
    /// As configured, for messages and for the turn to the next one.
    addresses: Vec<String>,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whom we ask now.
    current: String,
    channels: BTreeMap<String, Channel>,
}

/// The outcome of a call, and how often it was sent.
#[derive(Debug)]
pub(crate) struct Called<T> {
    pub(crate) outcome: Result<T, ClientError>,
    /// 1: whatever the outcome, it was sent once.
    pub(crate) attempts: u32,
}

impl MasterChannel {
    /// Knows `addresses`; connects to none of them yet. Needs a runtime.
    pub(crate) fn new(addresses: Vec<String>, timeout: Duration) -> Result<Self, ClientError> {
        if addresses.len() > MASTERS_MAX {
            return Err(ClientError::LimitExceeded { what: "the list of masters", max: MASTERS_MAX as u64 });
        }
        let Some(current) = addresses.first().cloned() else {
            return Err(ClientError::Invalid("no master is named; use --masters or FOREBAY_MASTERS".into()));
        };
        let channels = addresses
            .iter()
            .map(|address| Ok((address.clone(), endpoint(address)?.connect_lazy())))
            .collect::<Result<_, ClientError>>()?;
        Ok(Self { addresses, timeout, state: Mutex::new(State { current, channels }) })
    }

    /// Sends `message` until somebody answers or the client's timeout is over. An answer under way is waited for up to
    /// `answer_within` from the begin. Cancel safe in so far as an abandoned request may still be carried out.
    pub(crate) async fn call<M, T, F, R>(
        &self,
        rpc: &'static str,
        answer_within: Duration,
        message: M,
        send: F,
    ) -> Called<T>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let answer_within = answer_within.max(self.timeout);
        let answer_by = begun + answer_within;
        let places = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let policy = Policy { eager_attempts: places, asked: Asked::Masters };
        let mut attempts = Attempts::new(policy, begun + self.timeout);
        let mut last = None;
        loop {
            let ((address, channel), sent_at) = (self.current(), Instant::now());
            let mut request = Request::new(message.clone());
            request.set_timeout(answer_by.saturating_duration_since(Instant::now()));
            let sent = tokio::time::timeout_at(answer_by, send(channel, request)).await;
            let error = match sent {
                Ok(Ok(response)) => {
                    return Called { outcome: Ok(response.into_inner()), attempts: attempts.failed() + 1 };
                }
                Ok(Err(status)) if Instant::now() < answer_by => error_of(status),
                Ok(Err(_)) | Err(_) => WireError::new(
                    ErrorKind::TimedOut,
                    format!("{rpc} was not answered by {address} within {answer_within:?}"),
                ),
            };
            tracing::debug!(rpc, %address, kind = %error.kind, message = error.message, "the master did not answer");
            self.turn(&address, &error);
            if !attempts.again(error.kind).await {
                // A short attempt that the end of the time cut off says less than the one before.
                let cut_off = Instant::now() >= answer_by && sent_at.elapsed() < answer_within / 2;
                let error =
                    if cut_off && error.kind == ErrorKind::TimedOut { last.unwrap_or(error) } else { error };
                return Called { outcome: Err(self.give_up(error)), attempts: attempts.failed() };
            }
            last = Some(error);
        }
    }

    fn current(&self) -> (String, Channel) {
        let state = self.state.lock();
        let channel =
            state.channels.get(&state.current).expect("each address that becomes current has a channel");
        (state.current.clone(), channel.clone())
    }

    /// Decides whom to ask next after `address` met `error`, unless another call has decided already.
    fn turn(&self, address: &str, error: &WireError) {
        if !matches!(error.kind, ErrorKind::NotLeader | ErrorKind::Unavailable | ErrorKind::TimedOut) {
            return;
        }
        let mut state = self.state.lock();
        if state.current != address {
            return;
        }
        if let Some(leader) = error
            .leader
            .as_deref()
            .filter(|leader| *leader != address && state.knows(leader, &self.addresses))
        {
            state.current = leader.to_owned();
            return;
        }
        let place = self.addresses.iter().position(|known| known == address);
        let next = place.map_or(0, |place| (place + 1) % self.addresses.len());
        state.current.clone_from(&self.addresses[next]);
    }

    fn give_up(&self, error: WireError) -> ClientError {
        match error.kind {
            ErrorKind::NotLeader | ErrorKind::Unavailable => ClientError::NoMaster {
                addresses: self.addresses.join(", "),
                waited: self.timeout,
                last: error.message,
            },
            _ => error.into(),
        }
    }
}

impl State {
    /// Whether there is a channel to `address`, which a hint named; makes one if it may. What older hints named makes
    /// room, since masters move in the life of a client.
    fn knows(&mut self, address: &str, configured: &[String]) -> bool {
        if self.channels.contains_key(address) {
            return true;
        }
        let Ok(endpoint) = endpoint(address) else { return false };
        if self.channels.len() >= MASTERS_MAX {
            self.channels.retain(|known, _| configured.contains(known) || *known == self.current);
        }
        if self.channels.len() >= MASTERS_MAX {
            return false;
        }
        self.channels.insert(address.to_owned(), endpoint.connect_lazy());
        true
    }
}

impl<T> Called<T> {
    /// The outcome alone.
    pub(crate) fn outcome(self) -> Result<T, ClientError> {
        self.outcome
    }
}

/// How to reach a master or worker at `address`.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, ClientError> {
    transport::endpoint(address).map_err(|_| ClientError::Address { address: address.to_owned() })
}

#[cfg(test)]
mod tests;
