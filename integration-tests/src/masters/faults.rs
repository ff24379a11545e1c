//! What can be made to happen to a master beside its death, and how it is mended.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Masters;

/// How traffic between a master and others is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Nothing reaches it.
    In,
    /// Nothing of it reaches others.
    Out,
    /// Neither.
    Both,
}

/// Who is cut off from a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOff {
    /// The other masters.
    Masters,
    /// The clients.
    Clients,
    /// All of them.
    All,
}

impl Masters {
    /// Ends a master as a crash would, and puts an empty disk in the place of its own.
    pub fn wipe(&mut self, master: usize) {
        let lost = self.node_id(master);
        self.kill(master);
        self.masters[master].lost = lost;
        self.masters[master].disk.replace();
    }

    /// Lets the disk of a master be full.
    pub fn fill_disk(&mut self, master: usize) {
        self.masters[master].disk.fill();
    }

    /// Gives it room again.
    pub fn make_room(&mut self, master: usize) {
        self.masters[master].disk.make_room();
    }

    /// Lets each sync of a master that runs take so much longer.
    ///
    /// # Panics
    /// Without strace.
    pub fn make_syncs_slow(&mut self, master: usize, by: Duration) {
        let Some((process, _)) = &self.masters[master].process else { return };
        let calls = "fdatasync,fsync";
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-f", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-p"]);
        strace.arg(process.pid().to_string());
        strace.args(["-e", &format!("inject={calls}:delay_exit={}", by.as_micros())]);
        let child = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.masters[master].slow = Some(child.expect("strace is installed"));
    }

    /// Ends that.
    pub fn make_syncs_fast(&mut self, master: usize) {
        if let Some(mut strace) = self.masters[master].slow.take() {
            // It lets go of the process; killed, it would take that along.
            let _ = kill_process(Pid::from_child(&strace), Signal::TERM);
            let _ = strace.wait();
        }
    }

    /// Cuts a master off.
    pub fn cut_off(&self, master: usize, from: CutOff, direction: Direction) {
        self.links(master, from, direction).into_iter().for_each(|(from, to)| self.hosts.cut(from, to));
    }

    /// Mends that.
    pub fn mend(&self, master: usize, from: CutOff, direction: Direction) {
        self.links(master, from, direction).into_iter().for_each(|(from, to)| self.hosts.mend(from, to));
    }

    fn links(&self, master: usize, from: CutOff, direction: Direction) -> Vec<(usize, usize)> {
        let clients = self.clients();
        let others = (0..=clients).filter(|host| *host != master).filter(|host| match from {
            CutOff::Masters => *host != clients,
            CutOff::Clients => *host == clients,
            CutOff::All => true,
        });
        let links = others.flat_map(|other| match direction {
            Direction::In => vec![(other, master)],
            Direction::Out => vec![(master, other)],
            Direction::Both => vec![(other, master), (master, other)],
        });
        links.collect()
    }

    /// Sets the clock of a master so many seconds forth, or back.
    ///
    /// # Panics
    /// When the file that says so cannot be written.
    pub fn set_clock(&mut self, master: usize, seconds: i64) {
        let clock = &self.masters[master].clock;
        // At once and as a whole: it may be read at any moment.
        let new = clock.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("written");
        std::fs::rename(&new, clock).expect("renamed");
    }
}

/// The library that lets the clock of a process be set.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn clock_library() -> PathBuf {
    let of_architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = of_architectures.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries
        .find(|library| library.exists())
        .expect("libfaketime is missing: run scripts/install-test-deps.sh")
}

/// Removes what the library leaves behind of a process that was killed.
pub(super) fn forget_clock(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}
