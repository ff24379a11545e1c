//! Asks the master that leads: finds it, follows its hints, tries again until the time is over.
//!
//! A master that says nothing for a second may have stopped, with its connections open. It is waited for on, and meanwhile
//! the others are asked the same: one that follows says at once who leads, and a change that two of them get has one
//! stamp. So a question may be carried out twice, and a change is not.
//!
//! One connection per master, made when it is first needed and kept alive by probes, so that a dead peer is noticed.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use forebay_proto::{WireError, transport};
use forebay_types::ErrorKind;
use futures::future::select_all;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::answer::error_of;
use crate::error::ClientError;
use crate::limits::{MASTER_PAUSE_MAX, MASTER_SILENCE, MASTERS_MAX};
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

/// A call and its waits.
#[derive(Debug)]
pub(crate) struct Call<M, F> {
    pub(crate) rpc: &'static str,
    /// How long an answer under way is waited for, if that is longer than the client's timeout.
    pub(crate) answer_within: Duration,
    /// How long a master may be silent before others are asked beside it.
    pub(crate) silence: Duration,
    pub(crate) message: M,
    pub(crate) send: F,
}

/// Why nobody answered.
#[derive(Debug)]
enum Unanswered {
    /// The last one that was asked failed so.
    With(WireError),
    /// The time is over, and this one was waited for.
    By(String),
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
        self.call_of(Call { rpc, answer_within, silence: MASTER_SILENCE, message, send }).await
    }

    /// The same of a call that says how long a master may be silent.
    pub(crate) async fn call_of<M, T, F, R>(&self, call: Call<M, F>) -> Called<T>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let answer_within = call.answer_within.max(self.timeout);
        let answer_by = begun + answer_within;
        let places = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let policy = Policy { eager_attempts: places, asked: Asked::Masters };
        let mut attempts = Attempts::new(policy, begun + self.timeout);
        let (mut last, mut sent) = (None, 0);
        loop {
            let asked_at = Instant::now();
            let error = match self.ask(&call, answer_by, &mut sent).await {
                Ok(answer) => return Called { outcome: Ok(answer), attempts: sent },
                Err(Unanswered::With(error)) => error,
                Err(Unanswered::By(address)) => {
                    let message =
                        format!("{} was not answered by {address} within {answer_within:?}", call.rpc);
                    WireError::new(ErrorKind::TimedOut, message)
                }
            };
            if !attempts.again(error.kind).await {
                // A short attempt that the end of the time cut off says less than the one before.
                let cut_off = Instant::now() >= answer_by && asked_at.elapsed() < answer_within / 2;
                let error =
                    if cut_off && error.kind == ErrorKind::TimedOut { last.unwrap_or(error) } else { error };
                return Called { outcome: Err(self.give_up(error)), attempts: sent };
            }
            last = Some(error);
        }
    }

    /// Asks the master that is thought to lead, and others while it is silent, until one answers or none is left that
    /// might.
    async fn ask<M, T, F, R>(
        &self,
        call: &Call<M, F>,
        answer_by: Instant,
        sent: &mut u32,
    ) -> Result<T, Unanswered>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        // Mostly one: polled by themselves, so that none costs a task.
        let mut under_way = Vec::with_capacity(1);
        // Those that are waited for, and those that have said no since the last look.
        let (mut waited, mut passed) = (Vec::new(), Vec::new());
        let (first, channel) = self.current();
        let mut next = Some((first.clone(), channel));
        let mut look_at = Instant::now() + call.silence;
        loop {
            if let Some((address, channel)) = next.take() {
                let mut request = Request::new(call.message.clone());
                request.set_timeout(answer_by.saturating_duration_since(Instant::now()));
                let answer = (call.send)(channel, request);
                waited.push(address.clone());
                *sent += 1;
                under_way.push(Box::pin(async move { (address, answer.await) }));
            }
            let (address, error) = tokio::select! {
                ((address, answer), place) = async {
                    // Never empty: whoever has nobody left that may answer has returned.
                    let (answered, place, _) = select_all(&mut under_way).await;
                    (answered, place)
                } => {
                    drop(under_way.swap_remove(place));
                    match answer {
                        Ok(response) => {
                            self.answered(&first, &address);
                            return Ok(response.into_inner());
                        }
                        Err(status) if Instant::now() < answer_by => (address, error_of(status)),
                        Err(_) => return Err(self.too_late(address)),
                    }
                }
                () = tokio::time::sleep_until(look_at.min(answer_by)) => {
                    if Instant::now() >= answer_by {
                        return Err(self.too_late(first));
                    }
                    look_at += call.silence / 2;
                    passed.clear();
                    next = self.other_than(&waited, &passed);
                    continue;
                }
            };
            let (rpc, kind) = (call.rpc, error.kind);
            tracing::debug!(rpc, %address, %kind, message = error.message, "the master did not answer");
            waited.retain(|of| *of != address);
            if waited.is_empty() || !may_turn(kind) {
                self.turn(&address, &error);
                return Err(Unanswered::With(error));
            }
            passed.push(address);
            next = match error.leader {
                // It is asked already: whoever names it has no other.
                Some(leader) if waited.contains(&leader) => None,
                Some(leader) => self.named(&leader),
                None => {
                    // Nobody leads at present; soon somebody will.
                    look_at = look_at.min(Instant::now() + MASTER_PAUSE_MAX);
                    self.other_than(&waited, &passed)
                }
            };
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
        if !may_turn(error.kind) {
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

    /// Somebody else than whom we ask first leads.
    fn answered(&self, first: &str, address: &str) {
        if first != address {
            address.clone_into(&mut self.state.lock().current);
        }
    }

    fn too_late(&self, address: String) -> Unanswered {
        self.turn(&address, &WireError::new(ErrorKind::TimedOut, String::new()));
        Unanswered::By(address)
    }

    /// A master that is neither waited for nor has said no.
    fn other_than(&self, waited: &[String], passed: &[String]) -> Option<(String, Channel)> {
        let state = self.state.lock();
        let is_other =
            |(address, _): &(&String, &Channel)| !waited.contains(address) && !passed.contains(address);
        state.channels.iter().find(is_other).map(|(address, channel)| (address.clone(), channel.clone()))
    }

    /// The master that a hint names.
    fn named(&self, leader: &str) -> Option<(String, Channel)> {
        let mut state = self.state.lock();
        let is_known = state.knows(leader, &self.addresses);
        is_known.then(|| state.channels.get(leader).map(|channel| (leader.to_owned(), channel.clone())))?
    }

    /// Whom we ask now.
    pub(crate) fn address(&self) -> String {
        self.state.lock().current.clone()
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

/// Whether another master may do better.
const fn may_turn(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotLeader | ErrorKind::Unavailable | ErrorKind::TimedOut)
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
