//! The binary under test: the release build, since that is what people run.

use std::path::PathBuf;
use std::process::Command;

/// What a command printed, and its exit code.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Path of the binary: `FOREBAY_BIN`, else the release build beside the test's own build.
///
/// # Panics
/// When there is none: build it with `make build`.
#[must_use]
pub fn forebay() -> PathBuf {
    if let Some(path) = std::env::var_os("FOREBAY_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.ancestors().nth(3).expect("tests lie in TARGET/PROFILE/deps").to_owned();
    let binary = target.join("release/forebay");
    assert!(binary.exists(), "{} is missing: run `make build`, or set FOREBAY_BIN", binary.display());
    binary
}

/// Runs the binary to its end. The environment is this process's without AWS_ and FOREBAY_ variables.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(arguments: &[&str]) -> Output {
    run_with(&[], arguments)
}

/// As [`run`], with variables.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run_with(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = clean(Command::new(forebay()));
    let output =
        command.envs(environment.iter().copied()).args(arguments).output().expect("the binary starts");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the binary, which must succeed, and gives the bytes that it printed.
///
/// # Panics
/// When it fails.
#[must_use]
pub(crate) fn run_for_bytes(arguments: &[&str]) -> Vec<u8> {
    let output = clean(Command::new(forebay())).args(arguments).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output.stdout
}

/// Without variables that would change what is tested.
pub(crate) fn clean(mut command: Command) -> Command {
    let ours = |name: &str| name.starts_with("AWS_") || name.starts_with("FOREBAY_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    command
}
