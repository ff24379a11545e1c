//! Masters of one cluster as processes on loopback, without workers.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Output, forebay, run};
use crate::process::Process;
use crate::wait::wait_until;

const WITHIN: Duration = Duration::from_secs(60);

/// How long syncs of the disk take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// As they do.
    AsTheDisk,
    /// So much longer.
    Longer(Duration),
}

/// Some masters, by their numbers from 0, which is one less than the slot.
#[derive(Debug)]
pub struct MasterCluster {
    addresses: Vec<String>,
    syncs: Syncs,
    processes: Vec<Option<Process>>,
    dir: TempDir,
}

/// What a master says of itself in `admin masters list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its slot.
    pub slot: u64,
    /// The id that it votes under.
    pub node: u64,
    /// What it does.
    pub role: String,
    /// Whether it votes.
    pub votes: bool,
}

impl MasterCluster {
    /// Starts `masters` masters that know each other.
    ///
    /// # Panics
    /// When one does not get ready.
    #[must_use]
    pub fn start(masters: usize, syncs: Syncs) -> Self {
        let mut cluster = Self::prepare(masters, syncs);
        let all: Vec<usize> = (0..masters).collect();
        cluster.start_all(&all, &cluster.peers(&all));
        cluster
    }

    /// Gives `masters` masters addresses, and starts none.
    ///
    /// # Panics
    /// When there are no ports.
    #[must_use]
    pub fn prepare(masters: usize, syncs: Syncs) -> Self {
        // Held until all are known, so that none is given twice.
        let ports: Vec<_> =
            (0..masters).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let addresses = ports.iter().map(|port| port.local_addr().expect("bound").to_string()).collect();
        drop(ports);
        let processes = (0..masters).map(|_| None).collect();
        Self { addresses, syncs, processes, dir: TempDir::new().expect("a folder") }
    }

    /// The list of some of them, as `--peers` takes it.
    #[must_use]
    pub fn peers(&self, numbers: &[usize]) -> String {
        let peers: Vec<_> =
            numbers.iter().map(|number| format!("{}={}", number + 1, self.addresses[*number])).collect();
        peers.join(",")
    }

    /// Starts some at once: each may wait for the others.
    ///
    /// # Panics
    /// When one does not get ready.
    pub fn start_all(&mut self, numbers: &[usize], peers: &str) {
        self.start_each(numbers, peers, None);
    }

    /// Starts some, all others being gone: the first with the state that a backup has, in its folder, which has none.
    ///
    /// # Panics
    /// When one does not get ready.
    pub fn restore(&mut self, numbers: &[usize], backup: &str) {
        self.start_each(numbers, &self.peers(numbers), Some(backup));
    }

    /// Kills all masters, and deletes their folders.
    ///
    /// # Panics
    /// When a folder cannot be deleted.
    pub fn wipe(&mut self) {
        self.processes.iter_mut().filter_map(Option::take).for_each(|mut process| process.kill());
        for folder in (0..self.processes.len()).map(|number| self.folder(number)) {
            if folder.exists() {
                std::fs::remove_dir_all(folder).expect("deleted");
            }
        }
    }

    fn start_each(&mut self, numbers: &[usize], peers: &str, backup: Option<&str>) {
        let first = numbers.first().copied();
        let started: Vec<_> = std::thread::scope(|scope| {
            let cluster = &*self;
            let begin = |number: usize| {
                let backup = backup.filter(|_| first == Some(number));
                (number, scope.spawn(move || cluster.start_one(number, peers, backup)))
            };
            let starting: Vec<_> = numbers.iter().copied().map(begin).collect();
            starting.into_iter().map(|(number, one)| (number, one.join().expect("started"))).collect()
        });
        started.into_iter().for_each(|(number, process)| self.processes[number] = Some(process));
    }

    fn start_one(&self, number: usize, peers: &str, backup: Option<&str>) -> Process {
        let name = format!("master-{number}");
        let mut command = match self.syncs {
            Syncs::AsTheDisk => Command::new(forebay()),
            Syncs::Longer(longer) => {
                let mut command = Command::new("strace");
                let inject = format!("inject=fdatasync,fsync:delay_exit={}", longer.as_micros());
                command.args(["-f", "--seccomp-bpf", "-o", "/dev/null"]);
                command.args(["-e", "trace=fdatasync,fsync", "-e", &inject]).arg(forebay());
                command
            }
        };
        command.args(self.arguments(number, peers));
        command.args(backup.into_iter().flat_map(|file| ["--restore", file]));
        Process::start_command(&name, command, self.dir.path()).0
    }

    /// The command line of a master.
    #[must_use]
    pub fn arguments(&self, number: usize, peers: &str) -> Vec<String> {
        let (id, dir) = ((number + 1).to_string(), self.folder(number).display().to_string());
        let listen = self.addresses[number].clone();
        let arguments = ["master", "--id", &id, "--dir", &dir, "--listen", &listen, "--peers", peers];
        arguments.map(str::to_owned).into()
    }

    /// A master's folder.
    #[must_use]
    pub fn folder(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("master-{number}"))
    }

    /// Where they are, for a client.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Runs a command of the command line with all of them.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let masters = self.addresses.join(",");
        run(&[arguments, &["--masters", &masters]].concat())
    }

    /// The masters, by slot, as the one that leads sees them; none when nobody leads.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        let output = self.run(&["admin", "masters", "list", "--output", "json"]);
        let document: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let masters = document["masters"].as_array().cloned().unwrap_or_default();
        let listed = |master: &Value| {
            Some(Listed {
                slot: master["id"].as_u64()?,
                node: master["node_id"].as_u64()?,
                role: master["role"].as_str()?.to_owned(),
                votes: master["votes"].as_bool()?,
            })
        };
        masters.iter().filter_map(listed).collect()
    }

    /// The number of the one that leads.
    ///
    /// # Panics
    /// When none does in time.
    #[must_use]
    pub fn leader(&self) -> usize {
        let mut leader = None;
        wait_until("one leads", WITHIN, || {
            leader = self.listed().iter().find(|master| master.role == "LEADER").map(|master| master.slot);
            leader.is_some()
        });
        usize::try_from(leader.expect("one leads") - 1).expect("a number")
    }

    /// The process of a master that runs.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process(&mut self, number: usize) -> &mut Process {
        self.processes[number].as_mut().expect("it runs")
    }

    /// Kills a master.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, number: usize) {
        self.processes[number].take().expect("it runs").kill();
    }

    /// Starts those that do not run, and waits until each follows or leads.
    ///
    /// # Panics
    /// When one does not get ready.
    pub fn restart_killed(&mut self) {
        let all: Vec<usize> = (0..self.processes.len()).collect();
        let gone: Vec<usize> =
            all.iter().copied().filter(|number| self.processes[*number].is_none()).collect();
        self.start_all(&gone, &self.peers(&all));
        wait_until("all follow", WITHIN, || {
            let listed = self.listed();
            listed.len() == all.len() && listed.iter().all(|master| master.role != "UNREACHABLE")
        });
    }
}
