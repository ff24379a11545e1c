//! A cluster of separate processes: one master or several, some workers, FUSE mounts, each on a "host" of its own name.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Output, run};
use crate::http::http_get;
use crate::process::{Process, ReadyLine};

/// The processes, their folders and mounts. All go when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// The master, the first of several.
    pub master: Process,
    /// The other masters, in the order of their slots.
    pub further_masters: Vec<Process>,
    /// The workers, in the order of their start.
    pub workers: Vec<Process>,
    /// The FUSE mounts.
    pub mounts: Vec<Process>,
    /// Where each of them has its pages.
    pages: Vec<String>,
    /// Where the masters are, as `--masters` takes it.
    address: String,
    /// Where each process listens: at a port that nobody has.
    listen: &'static str,
    dir: TempDir,
}

impl Fleet {
    /// Starts a master and `workers` workers, worker `n` on host `host-n`.
    ///
    /// # Panics
    /// When one does not get ready.
    #[must_use]
    pub fn start(workers: usize) -> Self {
        Self::start_on("127.0.0.1:0", workers)
    }

    /// The same at another address, such as `[::1]:0`.
    ///
    /// # Panics
    /// When one does not get ready.
    #[must_use]
    pub fn start_on(listen: &'static str, workers: usize) -> Self {
        let dir = TempDir::new().expect("a folder");
        let (master, ready) = start_master(dir.path(), "master", listen, &[]);
        let address = ready.value("listen").to_owned();
        Self::with(vec![master], workers, address, listen, dir)
    }

    /// The same with this many masters, 2 or more, that form a cluster.
    ///
    /// # Panics
    /// When one does not get ready.
    #[must_use]
    pub fn start_with_masters(masters: usize, workers: usize) -> Self {
        let dir = TempDir::new().expect("a folder");
        // All at once, so that no two are the same.
        let free = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
        let listeners: Vec<_> = (0..masters).map(free).collect();
        let address = |of: &TcpListener| of.local_addr().expect("bound").to_string();
        let addresses: Vec<_> = listeners.iter().map(address).collect();
        drop(listeners);
        let started = std::thread::scope(|scope| {
            // None is ready before all are there.
            let start = |number| {
                let (dir, addresses) = (dir.path(), &addresses);
                scope.spawn(move || start_one_of(dir, addresses, number))
            };
            let starting: Vec<_> = (0..masters).map(start).collect();
            starting.into_iter().map(|one| one.join().expect("it starts")).collect()
        });
        Self::with(started, workers, addresses.join(","), "127.0.0.1:0", dir)
    }

    fn with(
        mut masters: Vec<Process>,
        workers: usize,
        address: String,
        listen: &'static str,
        dir: TempDir,
    ) -> Self {
        let further_masters = masters.split_off(1);
        let master = masters.remove(0);
        let (mounts, pages) = (Vec::new(), Vec::new());
        let mut fleet =
            Self { master, further_masters, workers: Vec::new(), mounts, pages, address, listen, dir };
        (0..workers).for_each(|number| {
            let worker = fleet.start_worker(number);
            fleet.workers.push(worker);
        });
        fleet
    }

    /// Sends the master of this number a signal.
    pub fn signal_master(&self, number: usize, signal: Signal) {
        let masters = std::iter::once(&self.master).chain(&self.further_masters);
        masters.skip(number).take(1).for_each(|master| master.signal(signal));
    }

    /// The number of the master that leads, as the cluster says.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn leader(&self) -> usize {
        let report = self.json(&["admin", "report"]);
        let leader = report["leader"].as_str().expect("one leads");
        self.address.split(',').position(|address| address == leader).expect("one of ours")
    }

    /// Starts the master of this number again.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn restart_master_of(&mut self, number: usize) {
        let addresses: Vec<_> = self.address.split(',').map(str::to_owned).collect();
        let master = start_one_of(self.dir.path(), &addresses, number);
        match number {
            0 => self.master = master,
            further => self.further_masters[further - 1] = master,
        }
    }

    /// Starts worker `number`, in the folder that it had before if it lived before.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start_worker(&self, number: usize) -> Process {
        let folder = self.dir.path().join(format!("worker-{number}"));
        let tier = format!("{}:2GiB", folder.join("disk").display());
        let arguments =
            ["worker", "--dir", &folder.display().to_string(), "--listen", self.listen, "--ram", "0"];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.extend(["--tier".to_owned(), tier, "--host-id".to_owned(), format!("host-{number}")]);
        arguments.extend(["--masters".to_owned(), self.address.clone()]);
        Process::start(&format!("worker-{number}"), &arguments, &[], self.dir.path()).0
    }

    /// Starts the master again at its address.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn restart_master(&mut self) {
        self.master = start_master(self.dir.path(), "master", &self.address, &[]).0;
    }

    /// Starts another master at its address, in a folder of its own, with the state that a backup has.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn restore_master(&mut self, backup: &str) {
        self.master = start_master(self.dir.path(), "restored", &self.address, &["--restore", backup]).0;
    }

    /// Mounts the namespace on host `host`.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn mount(&mut self, host: &str, options: &str) -> PathBuf {
        let at = self.dir.path().join(format!("fuse-{}", self.mounts.len()));
        let (mount, ready) = self.start_mount(&at, host, options);
        self.mounts.push(mount);
        self.pages.push(ready.value("http").to_owned());
        at
    }

    /// Mounts the namespace at a folder.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn mount_at(&self, at: &Path, host: &str, options: &str) -> Process {
        self.start_mount(at, host, options).0
    }

    fn start_mount(&self, at: &Path, host: &str, options: &str) -> (Process, ReadyLine) {
        let at = at.display().to_string();
        let mut arguments: Vec<String> =
            ["fuse", "mount", &at, "--host-id", host, "--masters", &self.address].map(str::to_owned).into();
        if !options.is_empty() {
            arguments.extend(["-o".to_owned(), options.to_owned()]);
        }
        Process::start("fuse", &arguments, &[], self.dir.path())
    }

    /// The figure of a mount, by its number and as its page of metrics has it.
    ///
    /// # Panics
    /// When there is no such figure.
    #[must_use]
    pub fn mount_metric(&self, mount: usize, line: &str) -> u64 {
        let text = http_get(&self.pages[mount], "/metrics");
        let value = text.lines().find_map(|of| of.strip_prefix(line)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse().ok()).expect("a known figure")
    }

    /// The folder that all of it lies in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the master is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a command against it.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--masters", &self.address]);
        run(&all)
    }

    /// Runs a command that must succeed, and gives its JSON document.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let output = self.run(&all);
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
        serde_json::from_str(&output.stdout).expect("a document")
    }
}

fn start_master(dir: &Path, folder: &str, listen: &str, further: &[&str]) -> (Process, ReadyLine) {
    let folder = dir.join(folder).display().to_string();
    let arguments = ["master", "--id", "1", "--dir", &folder, "--listen", listen];
    let arguments: Vec<_> = arguments.iter().chain(further).map(|part| (*part).to_owned()).collect();
    Process::start("master", &arguments, &[], dir)
}

/// Starts one of several masters.
fn start_one_of(dir: &Path, addresses: &[String], number: usize) -> Process {
    let slot = number + 1;
    let peers: Vec<_> = (1..).zip(addresses).map(|(slot, address)| format!("{slot}={address}")).collect();
    let folder = dir.join(format!("master-{slot}")).display().to_string();
    let (id, peers) = (slot.to_string(), peers.join(","));
    let arguments =
        ["master", "--id", &id, "--dir", &folder, "--listen", &addresses[number], "--peers", &peers];
    let arguments = arguments.map(str::to_owned);
    Process::start(&format!("master-{slot}"), &arguments, &[], dir).0
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the master:\n{}", self.master.log_text());
            for process in self.further_masters.iter().chain(&self.workers).chain(&self.mounts) {
                eprintln!("log of another process:\n{}", process.log_text());
            }
        }
        self.mounts.iter_mut().chain(&mut self.workers).for_each(Process::kill);
        self.master.kill();
        self.further_masters.iter_mut().for_each(Process::kill);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let inside = |line: &str| {
            line.split(' ').nth(1).map(PathBuf::from).filter(|at| at.starts_with(self.dir.path()))
        };
        for at in mounts.lines().filter_map(inside) {
            let _ = unmount(&at, UnmountFlags::DETACH);
        }
    }
}
