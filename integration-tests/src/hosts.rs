//! Several hosts on this machine: a network namespace each, joined by a bridge in one more, so that traffic between two of them
//! can be cut, also in one direction. They go when this is dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::binary::clean;

/// What all names begin with, before the id of the process that made them.
const PREFIX: &str = "forebay";

static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// The hosts, by their numbers from 0.
#[derive(Debug)]
pub struct Hosts {
    /// What the names of this set begin with.
    prefix: String,
    count: usize,
}

/// The network of a host.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Moves the calling thread into it, for good.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn enter(&self) {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).expect("as root");
    }
}

impl Hosts {
    /// Makes so many.
    ///
    /// # Panics
    /// Without root, or when the kernel has no namespaces.
    #[must_use]
    pub fn new(count: usize) -> Self {
        remove_left_behind();
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let hosts = Self { prefix: format!("{PREFIX}-{}-{number}", std::process::id()), count };
        let switch = hosts.name("switch");
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "bridge", "up"]);
        for host in 0..count {
            let (name, port) = (hosts.name(host), format!("port{host}"));
            ip(&["netns", "add", &name]);
            ip(&[
                "-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", &switch,
            ]);
            ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"]);
            ip(&["-n", &name, "address", "add", &format!("{}/24", hosts.address(host)), "dev", "eth0"]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
        }
        hosts
    }

    fn name(&self, of: impl std::fmt::Display) -> String {
        format!("{}-{of}", self.prefix)
    }

    /// The address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> String {
        assert!(host < self.count, "there are {} hosts", self.count);
        format!("10.77.0.{}", host + 1)
    }

    /// A command that becomes `program` on a host. Its environment is this process's without AWS_ and FOREBAY_ variables.
    #[must_use]
    pub fn command(&self, host: usize, program: impl AsRef<OsStr>) -> Command {
        let mut command = clean(Command::new("nsenter"));
        command.arg(format!("--net={}", self.path(host))).arg("--").arg(program);
        command
    }

    /// The network of a host, for threads of this process.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn namespace(&self, host: usize) -> Namespace {
        Namespace(File::open(self.path(host)).expect("it was made"))
    }

    fn path(&self, host: usize) -> String {
        format!("/run/netns/{}", self.name(host))
    }

    /// From now on nothing that `from` sends reaches `to`.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn cut(&self, from: usize, to: usize) {
        self.filter(to, &["-A", "INPUT", "-s", &self.address(from), "-j", "DROP"]);
    }

    /// Mends what [`cut`](Self::cut) has cut.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn mend(&self, from: usize, to: usize) {
        self.filter(to, &["-D", "INPUT", "-s", &self.address(from), "-j", "DROP"]);
    }

    fn filter(&self, host: usize, rule: &[&str]) {
        let mut command = self.command(host, "iptables");
        run(command.arg("-w").args(rule));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        remove(&self.prefix);
    }
}

/// Removes what processes left behind that were killed.
fn remove_left_behind() {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1)) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            remove(&format!("{PREFIX}-{pid}"));
        }
    }
}

/// Removes the namespaces whose names begin with `prefix` and a dash.
fn remove(prefix: &str) {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        if name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')) {
            let _ = Command::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

/// Runs a command that must succeed.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
