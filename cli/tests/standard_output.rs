//! What becomes of a command whose output cannot be written: an error with exit code 1, or, when its reader has gone
//! away, a quiet end. Never a panic.

use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

/// Each way to print something without a cluster.
const PRINTING: [&[&str]; 8] = [
    &["--help"],
    &["-h"],
    &["fs", "ls", "--help"],
    &["help", "load"],
    &["--version"],
    &["version"],
    &["version", "--output", "json"],
    &["completion", "bash"],
];

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into()
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn run(arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    let command = command.args(arguments).env_remove("FOREBAY_MASTERS").stdout(stdout).stderr(stderr);
    command.spawn().and_then(std::process::Child::wait_with_output).expect("the binary runs")
}

#[test]
fn output_that_cannot_be_written_is_exit_code_1_with_the_reason() {
    for arguments in PRINTING {
        let output = run(arguments, full(), Stdio::piped());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("error: cannot write to standard output: "), "{arguments:?}: {said}");
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    for arguments in PRINTING {
        let output = run(arguments, closed(), Stdio::piped());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn an_error_that_cannot_be_told_keeps_its_exit_code() {
    for (arguments, code) in [
        (&["no-such-command"][..], 2),
        (&["fs", "ls", "no-path"], 2),
        (&["mounts", "--masters", "127.0.0.1:1", "--timeout", "1ms"], 3),
    ] {
        for stderr in [full(), closed()] {
            assert_eq!(run(arguments, Stdio::null(), stderr).status.code(), Some(code), "{arguments:?}");
        }
    }
}
