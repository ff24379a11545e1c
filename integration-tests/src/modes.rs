//! The two ways in which bytes come out of a mount; what comes out must be the same.

use std::thread;

/// Options of a FUSE mount: the kernel reads whole files itself, or asks us for each byte.
pub const READ_MODES: [&str; 2] = ["passthrough=auto", "passthrough=off"];

/// Runs a scenario in both modes at once: for those that mostly wait.
///
/// # Panics
/// When one of them does.
pub fn in_both_modes(scenario: impl Fn(&str) + Sync) {
    thread::scope(|scope| {
        let named = |mode: &'static str| thread::Builder::new().name(mode.to_owned());
        let begin = |mode| named(mode).spawn_scoped(scope, || scenario(mode)).expect("a thread");
        for run in READ_MODES.map(begin) {
            run.join().expect("the scenario holds in this mode");
        }
    });
}
