//! One process of Forebay: started, waited for until it serves, ended by its pid.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::binary::{clean, forebay};

/// How long a process may take until it serves, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a process may take to stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// The line `ready ...`, as its `name=value` parts.
#[derive(Clone, Debug)]
pub struct ReadyLine(String);

/// A running process. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What a process that has been started prints.
#[derive(Debug)]
pub struct Starting(mpsc::Receiver<String>);

impl Starting {
    /// Its line `ready ...`; `None` when it ends without, or has none by `end`.
    #[must_use]
    pub fn ready_by(&self, end: Instant) -> Option<ReadyLine> {
        loop {
            let line = self.0.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
            if line.starts_with("ready ") {
                return Some(ReadyLine(line));
            }
        }
    }
}

impl ReadyLine {
    /// The value of one part.
    ///
    /// # Panics
    /// When the line has no such part.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        let prefix = format!("{name}=");
        let found = self.0.split(' ').find_map(|part| part.strip_prefix(&prefix));
        found.unwrap_or_else(|| panic!("`{}` has no {name}", self.0))
    }
}

impl Process {
    /// Starts the binary and waits for its line `ready ...`. Its log goes to a file in `logs`.
    ///
    /// # Panics
    /// When it ends, or says nothing in time; with its log.
    #[must_use]
    pub fn start(
        name: &str,
        arguments: &[String],
        environment: &[(String, String)],
        logs: &Path,
    ) -> (Self, ReadyLine) {
        let mut command = clean(Command::new(forebay()));
        command.args(arguments).envs(environment.iter().cloned());
        Self::start_command(name, command, logs)
    }

    /// The same of a command that becomes the binary.
    ///
    /// # Panics
    /// When it ends, or says nothing in time; with its log.
    #[must_use]
    pub fn start_command(name: &str, command: Command, logs: &Path) -> (Self, ReadyLine) {
        let (mut process, starting) = Self::spawn(name, command, logs);
        let Some(ready) = starting.ready_by(Instant::now() + READY_WITHIN) else {
            process.kill();
            panic!("{name} did not get ready; its log:\n{}", process.log_text());
        };
        (process, ready)
    }

    /// The same without waiting for the line.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(name: &str, mut command: Command, logs: &Path) -> (Self, Starting) {
        let log = logs.join(format!("{name}-{}.log", std::process::id()));
        let stderr = File::options().create(true).append(true).open(&log).expect("a log");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        (Self { child, log }, Starting(lines))
    }

    /// Asks it to stop, and gives its exit code.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits until it has stopped, and gives its exit code.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub fn ended(&mut self) -> i32 {
        let end = Instant::now() + STOPPED_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status.code().unwrap_or(-1);
            }
            if Instant::now() > end {
                self.kill();
                panic!("it did not stop; its log:\n{}", self.log_text());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it has not ended by itself.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, signal);
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far, in all its lives.
    #[must_use]
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.kill();
        }
    }
}
