//! Asks all masters at once how they are, whoever leads and whether anybody does, and the one that leads how the cluster is.
//!
//! Each is asked by itself, so one that is silent holds up no other; what has not come by the deadline is left out and said
//! so. Masters that others name are asked, too.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_proto::v1::admin_client::AdminClient;
use forebay_proto::v1::cluster_client::ClusterClient;
use forebay_proto::v1::masters_client::MastersClient;
use forebay_proto::{WireError, v1};
use forebay_types::limits::RPC_LENGTH_MAX;
use forebay_types::{ErrorKind, Timestamp};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::answer::error_of;
use crate::error::ClientError;
use crate::limits::{CLOCK_READINGS, EXAMINED_HELLO_DEADLINE, EXAMINED_HELLO_PART, MASTERS_MAX};
use crate::master_channel::endpoint;

/// What came of a look at all masters.
#[derive(Clone, Debug)]
pub struct ClusterExamination {
    /// Each that was asked, by address.
    pub masters: Vec<ExaminedMaster>,
}

/// What one master said, or why nothing.
#[derive(Clone, Debug)]
pub struct ExaminedMaster {
    /// Where it was asked.
    pub address: String,
    /// Who is there.
    pub presence: MasterPresence,
}

/// How far a master has answered.
#[derive(Clone, Debug)]
pub enum MasterPresence {
    /// Nobody answered.
    Silent(WireError),
    /// A master that is not ready to say who it is.
    Starting(WireError),
    /// A master.
    There(Box<Told>),
}

/// What a master told.
#[derive(Clone, Debug)]
pub struct Told {
    /// Who it is.
    pub hello: v1::HelloResponse,
    /// Its clock; `None` where it did not say.
    pub clock: Option<ClockReading>,
    /// How it is.
    pub examination: Result<v1::ExamineResponse, WireError>,
    /// How the cluster is, of one that leads.
    pub report: Option<Result<v1::GetReportResponse, WireError>>,
}

/// A clock beside the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// How far it is ahead of the caller's; less than 0: behind it.
    pub ahead_nanos: i64,
    /// By how much that may be wrong: half of the time that the question took.
    pub within: Duration,
}

/// Looks at the masters at `addresses`, and at those that they name, until `deadline`. `now` is the caller's clock.
///
/// # Errors
/// An address that is none, none at all, or too many.
pub async fn examine(
    addresses: &[String],
    header: v1::RequestHeader,
    now: impl Fn() -> Timestamp,
    deadline: Instant,
) -> Result<ClusterExamination, ClientError> {
    if addresses.len() > MASTERS_MAX {
        return Err(ClientError::LimitExceeded { what: "the list of masters", max: MASTERS_MAX as u64 });
    }
    for address in addresses {
        endpoint(address)?;
    }
    let (header, now) = (&header, &now);
    let look_at = |address: String| async move {
        let presence = ask(&address, header, now, deadline).await;
        ExaminedMaster { address, presence }
    };
    let mut asked: BTreeSet<String> = addresses.iter().cloned().collect();
    let mut under_way: FuturesUnordered<_> = asked.iter().cloned().map(look_at).collect();
    let mut masters: Vec<ExaminedMaster> = Vec::new();
    while let Some(answer) = under_way.next().await {
        for named in answer.names() {
            if asked.len() < MASTERS_MAX && endpoint(&named).is_ok() && asked.insert(named.clone()) {
                under_way.push(look_at(named));
            }
        }
        masters.push(answer);
    }
    drop(under_way);
    masters.sort_by(|a, b| a.address.cmp(&b.address));
    Ok(ClusterExamination { masters: once_each(masters) })
}

/// Without the second answer of a master that was asked at two addresses.
fn once_each(masters: Vec<ExaminedMaster>) -> Vec<ExaminedMaster> {
    let mut known = BTreeSet::new();
    let is_new = |master: &ExaminedMaster| match &master.presence {
        MasterPresence::There(told) => known.insert(told.hello.process),
        MasterPresence::Silent(_) | MasterPresence::Starting(_) => true,
    };
    // The one at its own address stays.
    let (own, other): (Vec<_>, Vec<_>) = masters.into_iter().partition(ExaminedMaster::is_at_own_address);
    own.into_iter().chain(other).filter(is_new).collect()
}

impl ExaminedMaster {
    fn is_at_own_address(&self) -> bool {
        matches!(&self.presence, MasterPresence::There(told) if told.hello.address == self.address)
    }

    /// The masters that it names.
    fn names(&self) -> Vec<String> {
        let MasterPresence::There(told) = &self.presence else { return Vec::new() };
        let of_log = told.examination.iter().flat_map(|said| &said.members).map(|of| of.address.clone());
        match &told.hello.membership {
            Some(membership) => of_log.chain([membership.leader.clone()]).collect(),
            // It is to form a cluster with these.
            None => told.hello.peers.iter().map(|peer| peer.address.clone()).collect(),
        }
    }
}

async fn ask(
    address: &str,
    header: &v1::RequestHeader,
    now: &impl Fn() -> Timestamp,
    deadline: Instant,
) -> MasterPresence {
    let channel = match endpoint(address) {
        Ok(endpoint) => endpoint.connect_lazy(),
        Err(error) => return MasterPresence::Silent(WireError::new(error.kind(), error.to_string())),
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let hello_by = Instant::now() + EXAMINED_HELLO_DEADLINE.min(left / EXAMINED_HELLO_PART);
    let (hello, mut clock) = match hello(&channel, now, hello_by).await {
        Ok(answered) => answered,
        Err(error) if error.is_said => return MasterPresence::Starting(error.error),
        Err(error) => return MasterPresence::Silent(error.error),
    };
    // The first one may have waited for its connection.
    for _ in 1..CLOCK_READINGS {
        let Ok((_, again)) = self::hello(&channel, now, hello_by).await else { break };
        clock = [clock, again].into_iter().flatten().min_by_key(|reading| reading.within);
    }
    let examined = async {
        let mut client = AdminClient::new(channel.clone());
        let request = v1::ExamineRequest { header: Some(header.clone()) };
        answer_by(deadline, client.examine(request)).await.map_err(|error| error.error)
    };
    let leads = hello.membership.as_ref().is_some_and(|membership| membership.role == "LEADER");
    let reported = async {
        let mut client = ClusterClient::new(channel.clone()).max_decoding_message_size(RPC_LENGTH_MAX);
        let request = v1::GetReportRequest { header: Some(header.clone()) };
        Some(answer_by(deadline, client.get_report(request)).await.map_err(|error| error.error))
    };
    let reported = async { if leads { reported.await } else { None } };
    let (examination, report) = tokio::join!(examined, reported);
    MasterPresence::There(Box::new(Told { hello, clock, examination, report }))
}

/// A call that failed.
struct Failed {
    error: WireError,
    /// The other side said so, rather than nobody.
    is_said: bool,
}

async fn hello(
    channel: &Channel,
    now: &impl Fn() -> Timestamp,
    by: Instant,
) -> Result<(v1::HelloResponse, Option<ClockReading>), Failed> {
    let mut client = MastersClient::new(channel.clone());
    let (begun, since) = (now(), Instant::now());
    let said = answer_by(by, client.hello(v1::HelloRequest::default())).await?;
    let took = since.elapsed();
    let reading = said.clock_nanos.map(|theirs| clock_reading(begun, took, theirs));
    Ok((said, reading))
}

/// A clock that showed `theirs` at some time within `took` from `begun` on: half-way, as far as is known.
fn clock_reading(begun: Timestamp, took: Duration, theirs: i64) -> ClockReading {
    let within = took / 2;
    let ours = begun.nanos().saturating_add(i64::try_from(within.as_nanos()).unwrap_or(i64::MAX));
    ClockReading { ahead_nanos: theirs.saturating_sub(ours), within }
}

async fn answer_by<T>(
    by: Instant,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failed> {
    match tokio::time::timeout_at(by, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => {
            let is_said = std::error::Error::source(&status).is_none();
            Err(Failed { error: error_of(status), is_said })
        }
        Err(_) => {
            let error = WireError::new(ErrorKind::TimedOut, "no answer came in time");
            Err(Failed { error, is_said: false })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_with_the_middle_of_the_question() {
        let begun = Timestamp::from_parts(100, 0);
        let took = Duration::from_millis(40);
        let read = |millis: i64| clock_reading(begun, took, begun.nanos() + millis * 1_000_000);
        let within = Duration::from_millis(20);
        assert_eq!(read(20), ClockReading { ahead_nanos: 0, within });
        assert_eq!(read(-480), ClockReading { ahead_nanos: -500_000_000, within });
        assert_eq!(read(1020), ClockReading { ahead_nanos: 1_000_000_000, within });
    }

    #[test]
    fn a_master_that_was_asked_at_two_addresses_counts_once() {
        let at = |address: &str, own: &str, process| {
            let hello = v1::HelloResponse { address: own.to_owned(), process, ..Default::default() };
            let examination = Ok(v1::ExamineResponse::default());
            let told = Told { hello, clock: None, examination, report: None };
            ExaminedMaster { address: address.to_owned(), presence: MasterPresence::There(Box::new(told)) }
        };
        let all = vec![at("a:1", "b:1", 7), at("b:1", "b:1", 7), at("c:1", "c:1", 8)];
        let left: Vec<_> = once_each(all).into_iter().map(|master| master.address).collect();
        assert_eq!(left, ["b:1", "c:1"]);
    }

    #[tokio::test]
    async fn masters_that_are_not_there_are_told_of_in_time() {
        let nobody = crate::doubles::Nobody::new();
        let addresses = [nobody.address.to_string()];
        let deadline = Instant::now() + Duration::from_secs(5);
        let now = || Timestamp::from_parts(1, 0);
        let examined = examine(&addresses, v1::RequestHeader::default(), now, deadline).await.unwrap();
        assert!(Instant::now() <= deadline + Duration::from_secs(1));
        assert!(matches!(
            &examined.masters[..],
            [ExaminedMaster { presence: MasterPresence::Silent(_), .. }]
        ));
        let wrong = examine(&["x".to_owned()], v1::RequestHeader::default(), now, deadline).await;
        assert!(matches!(wrong, Err(ClientError::Address { .. })));
    }
}
