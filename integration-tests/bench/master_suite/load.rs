//! Callers that ask the masters as fast as they are answered.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forebay_client::{Access, Client, ClientSettings};
use forebay_integration_tests::MasterCluster;
use forebay_proto::v1;
use forebay_proto::v1::masters_client::MastersClient;
use forebay_types::{HostId, InodeId, NamespacePath, Principal};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tonic::transport::Channel;

/// Clients of their own, each with a session and a connection: a client has so many mutations under way at most.
const CALLERS_PER_CLIENT: usize = 64;
/// How long a call may take in a fail-over.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Directories that are made to be deleted, by all callers together.
const DELETED_MAX: usize = 20_000;
/// Callers while the leader is killed.
const PAUSE_CALLERS: usize = 4;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Empty,
    Create,
    Stat,
    List,
    Rename,
    Delete,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] = [Self::Create, Self::Stat, Self::List, Self::Rename, Self::Delete];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Create => "create",
            Self::Stat => "stat",
            Self::List => "list (10 names)",
            Self::Rename => "rename",
            Self::Delete => "delete",
        })
    }
}

/// Clients of one cluster.
pub(crate) struct Load {
    runtime: Runtime,
    addresses: Vec<String>,
    duration: Duration,
    /// Numbers for names that nobody has.
    names: AtomicUsize,
}

/// One of those who ask.
#[derive(Clone)]
struct Caller {
    client: Client,
    channel: MastersClient<Channel>,
    /// A directory of its own, with ten in it.
    home: NamespacePath,
    /// The one of the ten.
    listed: InodeId,
}

impl Load {
    pub(crate) fn new(cluster: &MasterCluster, duration: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        Self { runtime, addresses: cluster.addresses().to_vec(), duration, names: AtomicUsize::new(0) }
    }

    /// Calls a second.
    pub(crate) fn rate(&self, operation: Operation, callers: usize) -> f64 {
        let of_one = |(times, taken): (Vec<Duration>, Duration)| times.len() as f64 / taken.as_secs_f64();
        self.run(operation, callers).into_iter().map(of_one).sum()
    }

    /// How long a call takes in the median.
    pub(crate) fn median(&self, operation: Operation, callers: usize) -> Duration {
        let mut times: Vec<_> =
            self.run(operation, callers).into_iter().flat_map(|(times, _)| times).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// What each caller's calls took, and all of them together.
    fn run(&self, operation: Operation, count: usize) -> Vec<(Vec<Duration>, Duration)> {
        self.runtime.block_on(async {
            let (callers, duration) = (self.callers(count).await, self.duration);
            let all_begin = Arc::new(Barrier::new(count));
            let asked = callers.into_iter().map(|caller| {
                let all_begin = Arc::clone(&all_begin);
                tokio::spawn(async move {
                    // What it takes away is made before the clock starts.
                    let most = if operation == Operation::Delete { DELETED_MAX / count } else { usize::MAX };
                    if operation == Operation::Delete {
                        caller.make_many(most).await;
                    }
                    all_begin.wait().await;
                    let (began, mut times) = (Instant::now(), Vec::new());
                    while began.elapsed() < duration && times.len() < most {
                        let asked = Instant::now();
                        caller.ask(operation, times.len()).await;
                        times.push(asked.elapsed());
                    }
                    (times, began.elapsed())
                })
            });
            let asked: Vec<_> = asked.collect();
            let times = futures::future::join_all(asked).await;
            times.into_iter().map(|times| times.expect("a caller")).collect()
        })
    }

    async fn callers(&self, count: usize) -> Vec<Caller> {
        let mut callers = Vec::new();
        while callers.len() < count {
            let principal = Principal::default();
            let settings = ClientSettings::new(self.addresses.clone(), HostId::new("bench"), principal);
            let client =
                Client::connect(ClientSettings { timeout: TIMEOUT, ..settings }).await.expect("a client");
            let endpoint = forebay_proto::transport::endpoint(&self.addresses[0]).expect("an address");
            let channel = MastersClient::new(endpoint.connect_lazy());
            for _ in 0..CALLERS_PER_CLIENT.min(count - callers.len()) {
                let name = format!("/{}-{}", std::process::id(), self.names.fetch_add(1, Ordering::Relaxed));
                let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let home = format!("{name}-{}", nanos.expect("a clock").as_nanos());
                let home: NamespacePath = home.parse().expect("a path");
                let listed = InodeId::default();
                callers.push(Caller { client: client.clone(), channel: channel.clone(), home, listed });
            }
        }
        let prepared = callers.iter_mut().map(async |caller| {
            caller.listed = caller.make(&caller.below("listed".to_owned())).await;
            for number in 0..10 {
                caller.make(&caller.below(format!("listed/{number}"))).await;
            }
            caller.make(&caller.below("moved-0".to_owned())).await;
        });
        futures::future::join_all(prepared).await;
        callers
    }

    /// Runs `disturb` while callers make directories, and gives the longest time in which none was acknowledged. Every
    /// call must succeed.
    pub(crate) fn pause_while(&self, disturb: impl FnOnce()) -> Duration {
        let over = Arc::new(AtomicBool::new(false));
        self.runtime.block_on(async {
            let callers = self.callers(PAUSE_CALLERS).await;
            let asked = callers.into_iter().map(|caller| {
                let over = Arc::clone(&over);
                tokio::spawn(async move {
                    let mut answered = Vec::new();
                    let mut number = 0;
                    while !over.load(Ordering::Relaxed) {
                        caller.ask(Operation::Create, number).await;
                        answered.push(Instant::now());
                        number += 1;
                    }
                    answered
                })
            });
            let asked: Vec<_> = asked.collect();
            tokio::task::block_in_place(disturb);
            let disturbed = Instant::now();
            // Until one was acknowledged after it, by a new leader.
            tokio::time::sleep(Duration::from_secs(4)).await;
            over.store(true, Ordering::Relaxed);
            let answered = futures::future::join_all(asked).await;
            let mut answered: Vec<_> =
                answered.into_iter().flat_map(|one| one.expect("no call fails")).collect();
            answered.sort_unstable();
            assert!(
                answered.last().is_some_and(|last| *last > disturbed),
                "nothing was acknowledged any more"
            );
            answered.windows(2).map(|pair| pair[1] - pair[0]).max().expect("several answers")
        })
    }
}

impl Caller {
    fn below(&self, name: String) -> NamespacePath {
        format!("{}/{name}", self.home).parse().expect("a path")
    }

    async fn make(&self, path: &NamespacePath) -> InodeId {
        self.client.make_directory(path, true, Access::default()).await.expect("made").0
    }

    async fn make_many(&self, count: usize) {
        for number in 0..count {
            self.make(&self.below(format!("made-{number}"))).await;
        }
    }

    async fn ask(&self, operation: Operation, number: usize) {
        match operation {
            Operation::Empty => {
                let request = v1::HelloRequest::default();
                self.channel.clone().hello(request).await.expect("answered");
            }
            Operation::Create => drop(self.make(&self.below(format!("made-{number}"))).await),
            Operation::Stat => drop(self.client.look_at(&self.home).await.expect("known")),
            Operation::List => {
                self.client.list(self.listed, None, 100).await.expect("listed");
            }
            Operation::Rename => {
                let [from, to] = [number, number + 1].map(|number| self.below(format!("moved-{number}")));
                self.client.rename(&from, &to).await.expect("moved");
            }
            Operation::Delete => {
                self.client.remove_directory(&self.below(format!("made-{number}"))).await.expect("removed");
            }
        }
    }
}
