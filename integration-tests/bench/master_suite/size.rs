//! What many files cost a master: how long it takes to start with them, and how much memory it has then, with all of them
//! reported as cached, and while it is asked about them.
//!
//! Its folder is filled by the log itself, which takes minutes where listings would take hours; what starts then is the
//! real process. Bars are those of the product: 60 s and 4 GiB, for ten million files.

mod asking;
mod filling;
mod reports;
mod tree;

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_client::{Access, Client};
use forebay_integration_tests::{Process, forebay};
use forebay_types::NamespacePath;
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::asking::{Question, percentile};
use self::filling::Filled;
use self::reports::Worker;
use self::tree::Tree;
use crate::comparison::{Effort, Row};

const START_BAR: Duration = Duration::from_secs(60);
const MEMORY_BAR_GIB: f64 = 4.0;
/// A snapshot must not keep proposals waiting until clients notice.
const SNAPSHOT_BAR: Duration = Duration::from_secs(1);
/// How long a start is waited for, whatever its bar.
const READY_WITHIN: Duration = Duration::from_secs(600);
const WORKERS: usize = 8;
const GIB: f64 = (1_u64 << 30) as f64;

/// Measures with so many files.
pub(super) fn rows(effort: Effort, files: u64) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut size = Size::fill(runtime, files);
    size.first_start();
    let workers = size.report_all();
    let staying: Vec<_> = workers.into_iter().map(|worker| size.runtime.spawn(worker.stay())).collect();
    size.ask(effort.pick(Duration::from_secs(10), Duration::from_secs(1)));
    staying.into_iter().for_each(|task| task.abort());
    size.report_copies();
    size.start_again(effort.pick(Duration::from_secs(5), Duration::from_secs(1)));
    size.rows
}

/// A master and what it knows.
struct Size {
    runtime: Runtime,
    tree: Arc<Tree>,
    filled: Arc<Filled>,
    address: String,
    master: Option<Process>,
    dir: TempDir,
    rows: Vec<Row>,
}

/// What the kernel says of a process's memory, in bytes.
#[derive(Clone, Copy, Debug)]
struct Memory {
    now: u64,
    most: u64,
}

impl Size {
    fn fill(runtime: Runtime, files: u64) -> Self {
        let dir = TempDir::new().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = port.local_addr().expect("bound").to_string();
        drop(port);
        let tree = Arc::new(Tree::new(files));
        let filled = Arc::new(runtime.block_on(filling::fill(&dir.path().join("master"), &address, &tree)));
        eprintln!(
            "{files} files in {} directories were listed into the log in {:.0?}; the folder has {:.2} GiB",
            tree.directories(),
            filled.took,
            length_below(dir.path()) as f64 / GIB
        );
        let mut size = Self { runtime, tree, filled, address, master: None, dir, rows: Vec::new() };
        let (took, longest) = size.filled.snapshot;
        eprintln!("a snapshot took {took:.2?}; a proposal waited {longest:.2?} meanwhile at the longest");
        let case = size.case("a proposal while a snapshot is made, the longest");
        let rate = |wait: Duration| 1.0 / wait.as_secs_f64();
        size.rows.push(Row::once(&case, "1/s", rate(longest), rate(SNAPSHOT_BAR), "1 s"));
        size
    }

    fn first_start(&mut self) {
        self.forget_files();
        self.start("start, nothing in the page cache");
        self.remember_memory("memory after the start");
    }

    /// Has as many workers more report all files, so that each lies on two, while a caller asks about one file after the
    /// other.
    fn report_copies(&mut self) {
        let (files, filled) = (self.tree.files, &self.filled);
        let over = Arc::new(AtomicBool::new(false));
        let (took, stats) = self.runtime.block_on(async {
            let client = asking::client(&self.address).await;
            let asked = tokio::spawn(asking::ask_until(client, Arc::clone(&self.tree), Arc::clone(&over)));
            let began = Instant::now();
            let joined =
                (0..).take(WORKERS).map(|number| Worker::join(&self.address, WORKERS as u64 + number));
            let mut workers = futures::future::join_all(joined).await;
            let reported = (0..).zip(&mut workers).map(|(number, worker)| {
                let own = (number..files).step_by(WORKERS);
                worker.report(own.map(|number| (number, filled.version(number))))
            });
            futures::future::join_all(reported).await;
            over.store(true, Ordering::Relaxed);
            (began.elapsed(), asked.await.expect("a caller"))
        });
        eprintln!(
            "{WORKERS} workers more reported all of them in {took:.1?}; meanwhile a stat took p50 {:.2?}, p99 {:.2?}, at the \
             longest {:.2?}",
            percentile(&stats, 50),
            percentile(&stats, 99),
            percentile(&stats, 100)
        );
        self.remember_memory("memory with all of them cached twice");
    }

    /// Has workers report all files, each one of them, and one begin anew.
    fn report_all(&mut self) -> Vec<Worker> {
        let files = self.tree.files;
        let filled = Arc::clone(&self.filled);
        let versions =
            |number: u64| (number..files).step_by(WORKERS).map(|number| (number, filled.version(number)));
        let before = self.memory().now;
        let (mut workers, took, longest) = self.runtime.block_on(async {
            let joined = (0..).take(WORKERS).map(|number| Worker::join(&self.address, number));
            let mut workers = futures::future::join_all(joined).await;
            let began = Instant::now();
            let reported = (0..).zip(&mut workers).map(|(number, worker)| worker.report(versions(number)));
            let longest = futures::future::join_all(reported).await.into_iter().max();
            (workers, began.elapsed(), longest.expect("workers"))
        });
        let bytes = self.memory().now.saturating_sub(before) as f64 / files as f64;
        eprintln!(
            "{WORKERS} workers reported {files} versions in {took:.1?} ({:.0} a second), one heartbeat took {longest:.2?} \
             at the longest; {bytes:.0} bytes for each",
            files as f64 / took.as_secs_f64()
        );
        self.remember_memory("memory with all of them cached");
        let (registered, took) = self.runtime.block_on(async {
            let registered = workers[0].register().await;
            let began = Instant::now();
            workers[0].report(versions(0)).await;
            (registered, began.elapsed())
        });
        eprintln!(
            "one of them registered again in {registered:.2?}, and reported {} versions in {took:.1?}",
            versions(0).count()
        );
        self.remember_memory("memory after a worker began anew");
        workers
    }

    fn ask(&mut self, duration: Duration) {
        for state in ["nothing in the page cache", "warm"] {
            for question in [Question::Stat, Question::List] {
                if state != "warm" {
                    self.forget_files();
                }
                let times = self.runtime.block_on(async {
                    let client = asking::client(&self.address).await;
                    asking::ask(&client, &self.tree, question, duration, true).await
                });
                let what = match question {
                    Question::Stat => "stats",
                    Question::List => "listings of a directory",
                };
                eprintln!(
                    "{:.0} {what} a second by 8 callers ({state}): p50 {:.2?}, p99 {:.2?}; memory then {:.2} GiB",
                    times.len() as f64 / duration.as_secs_f64(),
                    percentile(&times, 50),
                    percentile(&times, 99),
                    self.memory().now as f64 / GIB
                );
            }
        }
        self.remember_memory("memory after questions about all of it");
    }

    /// After an end in order, after a kill in the midst of mutations, and without its state, as after a disk lost it: from
    /// the snapshot and the log behind it.
    fn start_again(&mut self, mutating: Duration) {
        self.master.as_mut().expect("it runs").stop();
        self.forget_files();
        self.start("start after an end in order, nothing in the page cache");
        self.kill_while_mutating(mutating);
        self.start("start after a kill");
        self.kill_while_mutating(mutating);
        std::fs::remove_dir_all(self.folder().join("state")).expect("it was there");
        self.start("start from the snapshot and the log behind it");
        self.remember_memory("memory after that start");
        self.runtime.block_on(async {
            let client = asking::client(&self.address).await;
            asking::ask(&client, &self.tree, Question::Stat, Duration::from_secs(1), false).await;
        });
        self.master.as_mut().expect("it runs").stop();
    }

    fn kill_while_mutating(&mut self, duration: Duration) {
        let mut master = self.master.take().expect("it runs");
        let client = self.runtime.block_on(asking::client(&self.address));
        let mutating = self.runtime.spawn(async move { mutate(&client).await });
        // How long it has mutated is no more exact than the kill.
        std::thread::sleep(duration);
        master.kill();
        mutating.abort();
    }

    fn start(&mut self, what: &str) {
        let (dir, peers) = (self.folder(), format!("1={}", self.address));
        let mut command = Command::new(forebay());
        command.args(["master", "--id", "1", "--listen", &self.address, "--peers", &peers, "--dir"]);
        let began = Instant::now();
        let (process, starting) = Process::spawn(
            "master",
            {
                command.arg(dir);
                command
            },
            self.dir.path(),
        );
        let is_ready = starting.ready_by(began + READY_WITHIN).is_some();
        let took = began.elapsed();
        assert!(is_ready, "the master does not get ready; its log:\n{}", process.log_text());
        self.master = Some(process);
        let memory = self.memory();
        eprintln!("{what}: {took:.2?}, at the most {:.2} GiB", memory.most as f64 / GIB);
        let rate = |took: Duration| self.tree.files as f64 / took.as_secs_f64();
        let row = Row::once(&self.case(what), "files/s", rate(took), rate(START_BAR), "60 s");
        self.rows.push(row);
    }

    fn remember_memory(&mut self, what: &str) {
        let Memory { now, most } = self.memory();
        eprintln!("{what}: {:.2} GiB, at the most {:.2} GiB", now as f64 / GIB, most as f64 / GIB);
        // What it takes for a moment is taken from the machine, too.
        let ours = self.tree.files as f64 / (most as f64 / GIB);
        let bar = self.tree.files as f64 / MEMORY_BAR_GIB;
        self.rows.push(Row::once(&self.case(what), "files/GiB", ours, bar, "4 GiB"));
    }

    fn memory(&self) -> Memory {
        let process = self.master.as_ref().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("it lives");
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
        };
        Memory { now: bytes("VmRSS:"), most: bytes("VmHWM:") }
    }

    fn case(&self, what: &str) -> String {
        format!("{what}, {} files", self.tree.files)
    }

    fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join("master")
    }

    /// Has the kernel forget what it keeps of the master's files, and of no others.
    fn forget_files(&self) {
        for path in files_below(&self.folder()) {
            // A master that runs removes some meanwhile.
            let Ok(file) = File::open(path) else { continue };
            file.sync_all().expect("synced");
            fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
        }
    }
}

/// Makes directories until the master is gone.
async fn mutate(client: &Client) {
    for number in 0_u64.. {
        let path: NamespacePath = format!("/{}-{number}", std::process::id()).parse().expect("a path");
        if client.make_directory(&path, true, Access::default()).await.is_err() {
            return;
        }
    }
}

fn length_below(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::BTreeSet::new();
    let lengths = files_below(dir).into_iter().map(|path| {
        let metadata = path.metadata().expect("a file");
        // Tables of a snapshot are links.
        if seen.insert(metadata.ino()) { metadata.len() } else { 0 }
    });
    lengths.sum()
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}
