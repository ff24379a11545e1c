//! Clients of a cluster of masters, on a host of their own, that ask one thing after the other until they are stopped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_client::{Client, ClientError, ClientSettings};
use forebay_history::{Answer, ClientId, Inode, Operation, Outcome, ROOT};
use forebay_types::{HostId, Principal};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::question::ask;
use super::recorder::Recorder;
use super::workload::{INNER, Shared, Workload};
use crate::masters::Masters;

/// How long a patient client waits: longer than any trouble lasts.
const PATIENT: Duration = Duration::from_secs(60);
/// How long an impatient one does, whatever the SDK would do: it goes away in the middle of a request.
const IMPATIENT: Duration = Duration::from_millis(1500);
/// Longest pause of a client between two questions, in milliseconds.
const PAUSE_MAX: usize = 80;
/// Threads that carry all clients.
const THREADS: usize = 2;

/// Whether a client waits until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It does.
    Patient,
    /// It gives up soon, and so makes outcomes that nobody knows.
    Impatient,
}

/// The clients. They stop when this is dropped.
#[derive(Debug)]
pub struct Clients {
    runtime: Runtime,
    masters: Vec<String>,
    recorder: Arc<Recorder>,
    shared: Arc<Shared>,
    is_over: Arc<AtomicBool>,
    asking: Vec<JoinHandle<()>>,
}

impl Clients {
    /// None yet, on the clients' host of `masters`.
    ///
    /// # Panics
    /// When no threads can be had.
    #[must_use]
    pub fn new(masters: &Masters, recorder: Arc<Recorder>) -> Self {
        let namespace = masters.clients_namespace();
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .on_thread_start(move || namespace.enter())
            .enable_all()
            .build()
            .expect("threads");
        Self {
            runtime,
            masters: masters.addresses(),
            recorder,
            shared: Arc::default(),
            is_over: Arc::default(),
            asking: Vec::new(),
        }
    }

    /// One more client begins to ask what follows from `seed`.
    ///
    /// # Panics
    /// When the client meets no master at all.
    pub fn begin(&mut self, client: ClientId, seed: u64, patience: Patience) {
        let mut workload = Workload::new(seed, Arc::clone(&self.shared));
        let (recorder, shared) = (Arc::clone(&self.recorder), Arc::clone(&self.shared));
        let (is_over, masters) = (Arc::clone(&self.is_over), self.masters.clone());
        self.asking.push(self.runtime.spawn(async move {
            let connected = connect(masters).await.expect("a master answers before the trouble begins");
            while !is_over.load(Ordering::Relaxed) {
                let (operation, called) = (workload.next(), recorder.now());
                let outcome = within(patience, ask(&connected, &operation)).await;
                if let Outcome::Ok(Answer::Made(inode)) = &outcome {
                    shared.made(*inode);
                }
                recorder.ended(client, called, operation, outcome);
                tokio::time::sleep(Duration::from_millis(workload.millis(PAUSE_MAX))).await;
            }
            connected.close().await;
        }));
    }

    /// Waits until each client has got its last answer, or given up.
    ///
    /// # Panics
    /// When a client fails otherwise than by an outcome.
    pub fn stop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for asking in self.asking.drain(..) {
            self.runtime.block_on(asking).expect("a client does not panic");
        }
    }

    /// A new client that knows only these masters at first.
    ///
    /// # Panics
    /// When it meets none of them.
    #[must_use]
    pub fn connect(&self, client: ClientId, masters: Vec<String>) -> Asker {
        let connecting = self.runtime.spawn(connect(masters));
        let connected = self.runtime.block_on(connecting).expect("a client does not panic");
        let (runtime, recorder) = (self.runtime.handle().clone(), Arc::clone(&self.recorder));
        Asker { client, connected: connected.expect("a master answers"), runtime, recorder }
    }

    /// A new client that knows all masters.
    ///
    /// # Panics
    /// When it meets none of them.
    #[must_use]
    pub fn connect_to_all(&self, client: ClientId) -> Asker {
        self.connect(client, self.masters.clone())
    }

    /// Permission bits that no other operation of these clients has.
    #[must_use]
    pub fn new_mode(&self) -> u16 {
        self.shared.mode()
    }

    /// Reads all that there is: a new client lists each directory that it may ask for by its id, and looks at each name. Where
    /// nobody was told an id, it looks at each name that there can be.
    ///
    /// # Panics
    /// When it meets no master.
    pub fn read_all(&self, client: ClientId) {
        let history = self.recorder.history();
        let told = history.operations.iter().filter_map(|recorded| match recorded.outcome {
            Outcome::Ok(Answer::Made(inode)) => Some(inode),
            _ => None,
        });
        let told: BTreeSet<Inode> = told.chain([ROOT]).collect();
        let asker = self.connect_to_all(client);
        let mut open = vec![Look::List { path: String::new(), inode: ROOT }];
        while let Some(look) = open.pop() {
            match (&look, asker.ask(look.operation())) {
                (Look::List { path, .. }, Outcome::Ok(Answer::Names(names))) => {
                    open.extend(names.iter().map(|name| Look::Stat(format!("{path}/{name}"))));
                }
                (Look::Stat(path), Outcome::Ok(Answer::Seen { inode, .. })) if told.contains(&inode) => {
                    open.push(Look::List { path: path.clone(), inode });
                }
                (Look::Stat(path), Outcome::Ok(Answer::Seen { .. })) => {
                    open.extend(INNER.iter().map(|name| Look::Stat(format!("{path}/{name}"))));
                }
                _ => {}
            }
        }
    }
}

/// What a reader of all looks at next.
#[derive(Debug)]
enum Look {
    List { path: String, inode: Inode },
    Stat(String),
}

impl Look {
    fn operation(&self) -> Operation {
        match self {
            Self::List { inode, .. } => Operation::List { inode: *inode },
            Self::Stat(path) => Operation::Stat { path: path.clone() },
        }
    }
}

/// A client that asks what it is told to ask.
#[derive(Debug)]
pub struct Asker {
    client: ClientId,
    connected: Client,
    runtime: Handle,
    recorder: Arc<Recorder>,
}

impl Asker {
    /// Asks, and waits for the outcome.
    ///
    /// # Panics
    /// When the client does.
    #[must_use]
    pub fn ask(&self, operation: Operation) -> Outcome {
        self.runtime.block_on(self.begin_to_ask(operation)).expect("a client does not panic")
    }

    /// Asks, and does not wait.
    #[must_use]
    pub fn begin_to_ask(&self, operation: Operation) -> JoinHandle<Outcome> {
        let (client, connected, recorder) = (self.client, self.connected.clone(), Arc::clone(&self.recorder));
        let called = recorder.now();
        self.runtime.spawn(async move {
            let outcome = ask(&connected, &operation).await;
            recorder.ended(client, called, operation, outcome.clone());
            outcome
        })
    }

    /// Waits for what [`begin_to_ask`](Self::begin_to_ask) began.
    ///
    /// # Panics
    /// When the client does.
    #[must_use]
    pub fn wait(&self, asked: JoinHandle<Outcome>) -> Outcome {
        self.runtime.block_on(asked).expect("a client does not panic")
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.asking.iter().for_each(JoinHandle::abort);
    }
}

async fn connect(masters: Vec<String>) -> Result<Client, ClientError> {
    let host = HostId::new("clients");
    let principal = Principal { name: "chaos".to_owned(), uid: 0, gids: vec![0] };
    let mut settings = ClientSettings::new(masters, host, principal);
    settings.timeout = PATIENT;
    Client::connect(settings).await
}

async fn within(patience: Patience, asked: impl Future<Output = Outcome>) -> Outcome {
    match patience {
        Patience::Patient => asked.await,
        Patience::Impatient => tokio::time::timeout(IMPATIENT, asked)
            .await
            .unwrap_or_else(|_| Outcome::Unknown(format!("given up after {IMPATIENT:?}"))),
    }
}
