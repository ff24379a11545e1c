//! The masters of one cluster, each on a host of its own with a disk of its own, and one more host for clients. What can happen
//! to a master can be made to happen to each: it dies, stands still, loses its disk or finds it full or slow, loses the network,
//! or has its clock set.

mod disk;
mod faults;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Output, forebay};
use crate::hosts::{Hosts, Namespace};
use crate::process::{Process, Starting};
use crate::wait::wait_until;
use disk::Disk;
pub use faults::{CutOff, Direction, clock_library};

/// Where each master listens, on its own host.
const PORT: u16 = 7411;
/// How long the masters may take until one leads, on a busy machine.
const LED_WITHIN: Duration = Duration::from_secs(60);
/// How long a master may take to stop before it is killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
/// How long a command may wait for a master that says who leads.
const ASKED_WITHIN: &str = "2s";

/// The masters, by their numbers from 0, which is one less than the slot.
#[derive(Debug)]
pub struct Masters {
    masters: Vec<Master>,
    /// Whether their clocks can be set.
    clocks: Clocks,
    // Processes go before what they stand on.
    hosts: Hosts,
    dir: TempDir,
}

/// Whether the clocks of masters can be set while they run, which loads a library into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// They are the machine's.
    Real,
    /// They can be set.
    Settable,
}

#[derive(Debug)]
struct Master {
    process: Option<(Process, Starting)>,
    disk: Disk,
    /// What the library that sets its clock reads.
    clock: PathBuf,
    /// The id under which it voted when it lost its disk, and never may again.
    lost: Option<u64>,
    /// What makes its syncs slow.
    slow: Option<std::process::Child>,
}

impl Masters {
    /// Starts `count` masters, and waits until one of them leads.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn start(count: usize, clocks: Clocks) -> Self {
        let dir = TempDir::new().expect("a folder");
        let masters = (0..count).map(|number| Master {
            process: None,
            disk: Disk::mount(dir.path().join(format!("master-{}", number + 1))),
            clock: dir.path().join(format!("clock-{}", number + 1)),
            lost: None,
            slow: None,
        });
        let mut started = Self { masters: masters.collect(), clocks, hosts: Hosts::new(count + 1), dir };
        (0..count).for_each(|number| started.set_clock(number, 0));
        (0..count).for_each(|number| started.spawn(number));
        for number in 0..count {
            let (_, starting) = started.masters[number].process.as_ref().expect("started");
            let ready = starting.ready_by(Instant::now() + LED_WITHIN);
            assert!(ready.is_some(), "master {} is not ready:\n{}", number + 1, started.logs());
        }
        started.wait_for_leader();
        started
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.masters.len()
    }

    /// Where a master serves.
    #[must_use]
    pub fn address(&self, master: usize) -> String {
        format!("{}:{PORT}", self.hosts.address(master))
    }

    /// Where all of them serve.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        (0..self.count()).map(|master| self.address(master)).collect()
    }

    /// The network of the clients' host.
    #[must_use]
    pub fn clients_namespace(&self) -> Namespace {
        self.hosts.namespace(self.clients())
    }

    /// The number of the clients' host.
    #[must_use]
    const fn clients(&self) -> usize {
        self.masters.len()
    }

    /// Starts a master that does not run, and does not wait for it.
    ///
    /// # Panics
    /// When it runs.
    pub fn spawn(&mut self, master: usize) {
        assert!(self.masters[master].process.is_none(), "master {} runs", master + 1);
        let mut command = self.hosts.command(master, forebay());
        let slot = (master + 1).to_string();
        command.args(["master", "--id", &slot, "--listen", &self.address(master), "--insecure", "--dir"]);
        command.arg(self.masters[master].disk.folder());
        if self.count() > 1 {
            let peer = |(number, address): (usize, String)| format!("{}={address}", number + 1);
            let peers: Vec<_> = self.addresses().into_iter().enumerate().map(peer).collect();
            command.args(["--peers", &peers.join(",")]);
        }
        if self.clocks == Clocks::Settable {
            self.let_clock_be_set(master, &mut command);
        }
        self.masters[master].process =
            Some(Process::spawn(&format!("master-{slot}"), command, self.dir.path()));
    }

    /// Whether a master has printed that it serves.
    ///
    /// # Panics
    /// When it was not started.
    #[must_use]
    pub fn is_ready_by(&self, master: usize, end: Instant) -> bool {
        let (_, starting) = self.masters[master].process.as_ref().expect("it was started");
        starting.ready_by(end).is_some()
    }

    /// Ends a master as a crash would. Whether it ran.
    pub fn kill(&mut self, master: usize) -> bool {
        self.make_syncs_fast(master);
        let Some((mut process, _)) = self.masters[master].process.take() else { return false };
        let ran = process.is_running();
        process.kill();
        faults::forget_clock(process.pid());
        ran
    }

    /// Whether a request lies at a master that it has not read, as where it stands still.
    ///
    /// # Panics
    /// When it was not started.
    #[must_use]
    pub fn has_unread_requests(&self, master: usize) -> bool {
        let (process, _) = self.masters[master].process.as_ref().expect("it was started");
        let sockets = std::fs::read_to_string(format!("/proc/{}/net/tcp", process.pid())).unwrap_or_default();
        let port = format!(":{PORT:04X}");
        sockets.lines().skip(1).any(|line| {
            let parts: Vec<_> = line.split_whitespace().collect();
            let unread = parts.get(4).and_then(|queues| queues.split_once(':')).map(|(_, unread)| unread);
            parts.get(1).is_some_and(|local| local.ends_with(&port))
                && unread.is_some_and(|unread| unread != "00000000")
        })
    }

    /// Whether a master runs. One that was started, and does not, has ended by itself.
    pub fn is_running(&mut self, master: usize) -> bool {
        self.masters[master].process.as_mut().is_some_and(|(process, _)| process.is_running())
    }

    /// Whether a master was started and not ended since, by us.
    #[must_use]
    pub fn is_started(&self, master: usize) -> bool {
        self.masters[master].process.is_some()
    }

    /// Ends a master as an operator would who does not wait forever: it may stand still.
    pub fn end(&mut self, master: usize) {
        self.make_syncs_fast(master);
        let Some((mut process, _)) = self.masters[master].process.take() else { return };
        process.signal(Signal::TERM);
        let end = Instant::now() + STOPPED_WITHIN;
        while process.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        process.kill();
        faults::forget_clock(process.pid());
    }

    /// Sends a master a signal, if it was started.
    pub fn signal(&self, master: usize, signal: Signal) {
        if let Some((process, _)) = &self.masters[master].process {
            process.signal(signal);
        }
    }

    /// Runs a command on the host of the clients against all masters.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.hosts.command(self.clients(), forebay());
        command.args(arguments).args(["--masters", &self.addresses().join(",")]);
        let output = command.output().expect("the binary starts");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What the cluster says of its masters; `None` while nobody answers.
    #[must_use]
    pub fn report(&self) -> Option<Value> {
        let arguments = ["admin", "masters", "list", "--output", "json", "--timeout", ASKED_WITHIN];
        let output = self.run(&arguments);
        if output.code != 0 {
            return None;
        }
        serde_json::from_str(&output.stdout).ok()
    }

    /// Who leads; `None` while nobody answers.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let report = self.report()?;
        let leads = |master: &&Value| master["role"].as_str().is_some_and(|role| role == "LEADER");
        let slot = report["masters"].as_array()?.iter().find(leads)?["id"].as_u64()?;
        usize::try_from(slot).ok()?.checked_sub(1)
    }

    /// The id that a master has in the cluster; `None` while nobody answers.
    #[must_use]
    pub fn node_id(&self, master: usize) -> Option<u64> {
        let (report, slot) = (self.report()?, u64::try_from(master + 1).ok()?);
        report["masters"].as_array()?.iter().find(|of| of["id"] == slot)?["node_id"].as_u64()
    }

    /// How many masters vote, those that lost their disks under other ids; `None` while nobody answers.
    #[must_use]
    pub fn voters(&self) -> Option<usize> {
        let is_lost = |master: &Value| {
            self.masters.iter().any(|of| of.lost.is_some() && of.lost == master["node_id"].as_u64())
        };
        let votes = |master: &&Value| master["votes"] == true && !is_lost(master);
        Some(self.report()?["masters"].as_array()?.iter().filter(votes).count())
    }

    /// Waits until so many masters vote.
    ///
    /// # Panics
    /// When they do not in time.
    pub fn wait_for_voters(&self, count: usize) {
        wait_until("all masters vote", LED_WITHIN, || self.voters() == Some(count));
    }

    /// Where masters panicked, by their logs.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        self.logs().lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
    }

    /// Waits until somebody leads, and gives who.
    ///
    /// # Panics
    /// When nobody does in time.
    pub fn wait_for_leader(&self) -> usize {
        let mut leader = None;
        wait_until("a master leads", LED_WITHIN, || {
            leader = self.leader();
            leader.is_some()
        });
        leader.expect("waited for")
    }

    /// What all of them have logged.
    #[must_use]
    pub fn logs(&self) -> String {
        let logs = (1..=self.count()).map(|slot| {
            let path = self.dir.path().join(format!("master-{slot}-{}.log", std::process::id()));
            format!("log of master {slot}:\n{}", std::fs::read_to_string(path).unwrap_or_default())
        });
        logs.collect()
    }

    fn let_clock_be_set(&self, master: usize, command: &mut Command) {
        command.env("LD_PRELOAD", faults::clock_library());
        command.env("FAKETIME_TIMESTAMP_FILE", &self.masters[master].clock);
        // Only the time of day is set: the other clocks of a machine do not jump.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME_CACHE_DURATION", "1");
    }
}

impl Drop for Masters {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        for master in 0..self.count() {
            self.kill(master);
        }
    }
}
