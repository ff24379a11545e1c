//! A double of the local worker over a real socket: holds are given, read, given back and survive its death.

mod lending;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_local::{LEVEL, LocalError, LocalSocket, NotHeldReason, Reply, Request};
use forebay_types::{ErrorKind, Timestamp, WorkerId};

use super::*;
use crate::Client;
use crate::doubles::{Answer as Sent, Master, Worker, capability, connect, content, version};

const FILE: u64 = 300_000;
const FILE_LENGTH: usize = 300_000;

/// A local worker on a thread; it ends when it is dropped, and its connections with it.
struct LocalDouble {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    seen: Arc<Mutex<Vec<Request>>>,
    wants_back: Arc<Mutex<Vec<u64>>>,
}

type Script = fn(u64) -> Reply;

fn held(request: u64) -> Reply {
    Reply::Held { request, hold: 100 + request }
}

/// The double adds the time of its file.
fn held_to_rest(request: u64) -> Reply {
    let changed = Timestamp::from_nanos(0);
    Reply::HeldAt { request, hold: 100 + request, changed, may_rest: true }
}

fn incomplete(request: u64) -> Reply {
    Reply::NotHeld { request, reason: NotHeldReason::Incomplete }
}

impl LocalDouble {
    fn serve(socket: PathBuf, file: PathBuf, level: u8, script: Script) -> Self {
        let listener = LocalSocket::listen(&socket).unwrap();
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, saw) = (Arc::clone(&stop), Arc::clone(&seen));
        let wants_back = Arc::<Mutex<Vec<u64>>>::default();
        let wanted = Arc::clone(&wants_back);
        let thread = std::thread::spawn(move || {
            let mut connections: Vec<LocalSocket> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                connections.extend(listener.accept());
                let holds = std::mem::take(&mut *wanted.lock());
                for connection in &connections {
                    if !holds.is_empty() {
                        connection.send(&Reply::WantedBack { holds: holds.clone() }, &[]).unwrap();
                    }
                    if let Ok((request, _)) = connection.recv::<Request>() {
                        saw.lock().push(request.clone());
                        answer(connection, &request, &file, (level, script));
                    }
                }
                std::thread::yield_now();
            }
        });
        Self { stop, thread: Some(thread), seen, wants_back }
    }

    fn released(&self) -> Vec<u64> {
        let release = |request: &Request| match request {
            Request::Release { hold } => Some(*hold),
            _ => None,
        };
        self.seen.lock().iter().filter_map(release).collect()
    }

    fn count(&self, is_meant: fn(&Request) -> bool) -> usize {
        self.seen.lock().iter().filter(|request| is_meant(request)).count()
    }

    /// How often a hold was asked for.
    fn asked(&self) -> usize {
        self.count(|request| matches!(request, Request::Hold { .. } | Request::Open { .. }))
    }
}

impl Drop for LocalDouble {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(connection: &LocalSocket, request: &Request, file: &Path, (level, script): (u8, Script)) {
    let sent = match request {
        Request::Hello { .. } => connection.send(&Reply::Hello { level, worker: WorkerId::new(1) }, &[]),
        Request::Hold { request, .. } => hold(connection, script(*request), file),
        Request::Lend { request, .. } => lend(connection, *request, file),
        Request::Open { request, .. } => match script(*request) {
            Reply::NotHeld { .. } => lend(connection, *request, file),
            reply => hold(connection, reply, file),
        },
        Request::Release { .. } => Ok(()),
    };
    assert!(matches!(sent, Ok(()) | Err(LocalError::Closed)), "{sent:?}");
}

fn hold(connection: &LocalSocket, reply: Reply, file: &Path) -> Result<(), LocalError> {
    match reply {
        Reply::Held { .. } => connection.send(&reply, &[std::fs::File::open(file).unwrap().as_fd()]),
        Reply::HeldAt { request, hold, may_rest, .. } => {
            let opened = std::fs::File::open(file).unwrap();
            let changed = FileState::of(&rustix::fs::fstat(&opened).unwrap()).changed();
            let reply = Reply::HeldAt { request, hold, changed, may_rest };
            connection.send(&reply, &[opened.as_fd()])
        }
        reply => connection.send(&reply, &[]),
    }
}

/// What is lent are the file and its index file, if there is one.
fn lend(connection: &LocalSocket, request: u64, file: &Path) -> Result<(), LocalError> {
    let Ok(index) = std::fs::File::open(file.with_extension("index")) else {
        return connection.send(&incomplete(request), &[]);
    };
    let (records, seed) = (lending::RECORDS, lending::seed().number());
    let lent = Reply::Lent { request, lend: 100 + request, records, seed };
    let data = std::fs::File::open(file).unwrap();
    connection.send(&lent, &[data.as_fd(), index.as_fd()])
}

/// A client on the machine of a local worker, with a folder for its socket and file.
struct Lab {
    folder: tempfile::TempDir,
    worker: Arc<Worker>,
    _serving: [crate::doubles::Serving; 2],
    client: Client,
}

async fn lab() -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(folder.path().join("file")).unwrap();
    file.write_all(&content(0, FILE_LENGTH)).unwrap();
    let worker = Worker::new([Sent::Good]);
    let at_worker = worker.serve();
    let master = Master::with_workers(&[(1, "here", at_worker.address)]);
    master.workers.lock()[0].local_socket = folder.path().join("socket").to_str().unwrap().to_owned();
    let at_master = master.serve();
    let client = connect(&[at_master.address]).await;
    Lab { folder, worker, _serving: [at_worker, at_master], client }
}

impl Lab {
    fn local(&self, script: Script) -> LocalDouble {
        self.local_of(LEVEL, script)
    }

    fn local_of(&self, level: u8, script: Script) -> LocalDouble {
        let [socket, file] = ["socket", "file"].map(|name| self.folder.path().join(name));
        LocalDouble::serve(socket, file, level, script)
    }

    async fn hold(&self) -> Result<Option<Hold>, ClientError> {
        self.client.hold(&version(FILE), &capability()).await
    }

    /// Asks until the pause after a failed attempt to connect is over.
    async fn hold_again(&self) -> Hold {
        loop {
            if let Some(hold) = self.hold().await.unwrap() {
                return hold;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hold_reads_the_local_file_and_is_given_back_when_dropped() {
    let lab = lab().await;
    let local = lab.local(held);
    let hold = lab.hold().await.unwrap().unwrap();
    assert_eq!(hold.read_at(FileOffset::new(1000), 5000).unwrap(), content(1000, 5000));
    assert_eq!(hold.read_at(FileOffset::new(FILE - 3), 10).unwrap(), content(FILE - 3, 3));
    let flags = rustix::fs::fcntl_getfl(&hold).unwrap();
    assert_eq!(flags & rustix::fs::OFlags::RWMODE, rustix::fs::OFlags::RDONLY);
    assert!(hold.is_live());
    drop(hold);
    until(|| local.released() == [100]).await;
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let lab = lab().await;
    let local = lab.local(held);
    let holds = futures::future::join_all((0..50).map(|_| lab.hold())).await;
    assert!(holds.iter().all(|hold| matches!(hold, Ok(Some(_)))));
    drop(holds);
    until(|| local.released().len() == 50).await;
    assert_eq!(local.count(|request| matches!(request, Request::Hello { .. })), 1);
}

#[tokio::test]
async fn no_hold_is_no_error_and_a_refusal_is_one() {
    let lab = lab().await;
    assert!(lab.hold().await.unwrap().is_none(), "nobody listens");
    let local = lab.local(incomplete);
    while local.asked() == 0 {
        assert!(lab.hold().await.unwrap().is_none());
        tokio::task::yield_now().await;
    }
    drop(local);
    let local = lab.local(|request| {
        let message = "the capability is over".into();
        Reply::Refused { request, kind: ErrorKind::Unauthenticated, message }
    });
    let error = loop {
        match lab.hold().await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    drop(local);
}

#[tokio::test]
async fn a_hold_that_nobody_waits_for_any_more_is_given_back() {
    let lab = lab().await;
    let local = lab.local(held);
    {
        let asked = lab.hold();
        tokio::pin!(asked);
        // Sends the request and goes away before the answer is taken.
        assert!(futures::poll!(asked.as_mut()).is_pending());
    }
    until(|| local.released() == [100]).await;
}

#[tokio::test]
async fn a_hold_outlives_its_worker_and_the_next_worker_is_found() {
    let lab = lab().await;
    let local = lab.local(held);
    let hold = lab.hold().await.unwrap().unwrap();
    drop(local);
    until(|| !hold.is_live()).await;
    assert_eq!(hold.read_at(FileOffset::new(0), 10).unwrap(), content(0, 10));
    let next = lab.local(held);
    let newer = lab.hold_again().await;
    drop(hold);
    drop(newer);
    until(|| !next.released().is_empty()).await;
    assert_eq!(next.released(), [100], "only its own hold is given back");
}

#[tokio::test]
async fn a_hold_rests_without_a_descriptor_until_it_is_dropped_or_wanted_back() {
    let lab = lab().await;
    let local = lab.local(held_to_rest);
    let [one, two] = [lab.hold().await.unwrap().unwrap(), lab.hold().await.unwrap().unwrap()];
    let [one, two] = [one.rest(), two.rest()];
    for resting in [&one, &two] {
        assert!(!resting.is_open() && resting.may_rest() && resting.is_unchanged());
    }
    local.wants_back.lock().extend([101, 12_345]);
    lab.client.resting_wanted_back().await;
    assert!(one.may_rest() && !two.may_rest());
    assert!(local.released().is_empty(), "whoever has it gives it back");
    drop(two);
    until(|| local.released() == [101]).await;
    drop(one);
    until(|| local.released() == [101, 100]).await;
}

#[tokio::test]
async fn a_file_that_is_changed_moved_or_removed_while_it_rests_is_noticed() {
    let changes: [fn(&Path); 3] = [
        |file| std::fs::write(file, content(0, FILE_LENGTH)).unwrap(),
        |file| std::fs::rename(file, file.with_extension("old")).unwrap(),
        |file| {
            std::fs::copy(file, file.with_extension("new")).unwrap();
            std::fs::rename(file.with_extension("new"), file).unwrap();
        },
    ];
    for change in changes {
        let lab = lab().await;
        let _local = lab.local(held_to_rest);
        let resting = lab.hold_again().await.rest();
        assert!(resting.is_unchanged());
        change(&lab.folder.path().join("file"));
        assert!(!resting.is_unchanged());
        assert!(resting.may_rest(), "the worker said nothing");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_found_by_its_path_rests_with_its_descriptor() {
    let lab = lab().await;
    let _local = lab.local(held_to_rest);
    let hold = lab.hold().await.unwrap().unwrap();
    // Something else is mounted over it, as in the container of a worker.
    let cover = tempfile::NamedTempFile::new().unwrap();
    let file = lab.folder.path().join("file");
    rustix::mount::mount_bind(cover.path(), &file).expect("tests of mounts need root");
    let resting = hold.rest();
    let is_unchanged = resting.is_unchanged();
    rustix::mount::unmount(&file, rustix::mount::UnmountFlags::empty()).unwrap();
    assert!(is_unchanged && resting.is_open() && resting.may_rest());
}

#[tokio::test]
async fn with_its_worker_a_resting_hold_is_over() {
    let lab = lab().await;
    let local = lab.local(held_to_rest);
    let resting = lab.hold().await.unwrap().unwrap().rest();
    drop(local);
    lab.client.resting_wanted_back().await;
    until(|| !resting.may_rest()).await;
    assert!(resting.is_unchanged(), "what is open can be read on");
}

#[tokio::test]
async fn a_worker_of_an_earlier_version_gives_holds_that_do_not_rest() {
    let lab = lab().await;
    let local = lab.local(held);
    let resting = lab.hold().await.unwrap().unwrap().rest();
    assert!(!resting.may_rest());
    drop(resting);
    until(|| local.released() == [100]).await;
}

#[tokio::test]
async fn a_file_of_another_length_is_not_taken() {
    let lab = lab().await;
    let local = lab.local(held);
    std::fs::File::options()
        .append(true)
        .open(lab.folder.path().join("file"))
        .unwrap()
        .write_all(b"x")
        .unwrap();
    assert!(lab.hold().await.unwrap().is_none());
    until(|| local.released() == [100]).await;
}

#[tokio::test]
async fn a_complete_file_is_read_without_the_network_and_counted_as_hit() {
    let lab = lab().await;
    let local = lab.local(held);
    let reader = lab.client.reader(version(FILE), capability());
    for offset in (0..FILE).step_by(100_000) {
        assert_eq!(reader.read_at(FileOffset::new(offset), 100_000).await.unwrap(), content(offset, 100_000));
    }
    assert_eq!((lab.worker.asked_bytes(), local.asked()), (0, 1));
    let counters = lab.client.counters().snapshot();
    assert_eq!(counters.short_circuit_bytes, ByteCount::new(FILE));
    let hits = counters.mounts[&version(FILE).mount];
    assert_eq!(hits, (ByteCount::new(FILE), ByteCount::ZERO));
}

#[tokio::test]
async fn a_buffer_is_filled_from_the_local_file_and_else_as_any_read_is() {
    let lab = lab().await;
    let local = lab.local(held);
    let reader = lab.client.reader(version(FILE), capability());
    let mut buffer = vec![0; 100_000];
    for (offset, length) in [(0, 100_000), (250_000, 50_000), (FILE, 0), (FILE + 7, 0), (99_999, 100_000)] {
        let had = reader.read_into(FileOffset::new(offset), &mut buffer).await.unwrap();
        assert!(had == length && buffer[..had] == content(offset, length), "{had} from {offset}");
    }
    assert_eq!((lab.worker.asked_bytes(), local.asked()), (0, 1));
    assert_eq!(lab.client.counters().snapshot().short_circuit_bytes, ByteCount::new(250_000));
    let other = lab.hold().await.unwrap().unwrap();
    drop(local);
    until(|| !other.is_live()).await;
    let had = reader.read_into(FileOffset::new(10), &mut buffer).await.unwrap();
    assert!(had == 100_000 && buffer == content(10, 100_000));
    assert!(lab.worker.asked_bytes() > 0, "nothing is believed of a hold that is over");
}

#[tokio::test]
async fn a_file_that_is_not_complete_is_asked_for_rarely() {
    let lab = lab().await;
    let local = lab.local(incomplete);
    let reader = lab.client.reader(version(FILE), capability());
    for _ in 0..crate::limits::HOLD_RETRY_READS {
        reader.read_at(FileOffset::new(10), 10).await.unwrap();
    }
    assert_eq!(local.asked(), 1);
    reader.read_at(FileOffset::new(10), 10).await.unwrap();
    assert_eq!(local.asked(), 2);
    assert_eq!(lab.client.counters().snapshot().short_circuit_bytes, ByteCount::ZERO);
}
