//! How much memory a process takes for itself: what it allocated, without files that it maps and without a cache in
//! memory, which lies in a file system.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::process::Process;

const INTERVAL: Duration = Duration::from_millis(20);

/// Anonymous memory of a process that is resident, in bytes.
///
/// # Panics
/// When it is gone.
#[must_use]
pub fn own_memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel tells it");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}

/// The most that each of `processes` took while `act` ran.
///
/// # Panics
/// When one is gone.
pub fn own_memory_during(processes: &[&Process], act: impl FnOnce()) -> Vec<u64> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = vec![0; processes.len()];
            while !is_over.load(Ordering::Relaxed) {
                for (most, process) in most.iter_mut().zip(processes) {
                    *most = own_memory(process).max(*most);
                }
                thread::sleep(INTERVAL);
            }
            most
        });
        act();
        is_over.store(true, Ordering::Relaxed);
        watching.join().expect("it watched")
    })
}
