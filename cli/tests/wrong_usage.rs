//! What is typed or configured and makes no sense: exit code 2 with the flag, variable or option to mend, and nothing is
//! begun. No cluster is needed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

fn forebay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.env_remove("FOREBAY_MASTERS").args(arguments);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The first line and the exit code of a process that must not start.
fn refusal_of_process(arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = forebay(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    // The first line decides: one that has started logs, and would go on for ever.
    let mut said = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut said).expect("text");
    if !said.starts_with("error: ") {
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    }
    let code = child.wait().expect("it ends").code();
    (said, code)
}

#[test]
fn durations_that_cannot_be_are_refused_with_the_reason_wherever_they_stand() {
    let folder = tempfile::tempdir().expect("a folder");
    for (duration, why) in [
        ("0", "longer than zero"),
        ("0s", "longer than zero"),
        ("5", "with its unit"),
        ("500000000000000m", "100 years"),
        ("500000000000000000m", "100 years"),
    ] {
        let flag = forebay(&["mounts", "--masters", NOBODY, "--timeout", duration]).output();
        let variable =
            forebay(&["mounts", "--masters", NOBODY]).env("FOREBAY_CLIENT_TIMEOUT", duration).output();
        let file = folder.path().join("forebay.toml");
        std::fs::write(&file, format!("[client]\ntimeout = \"{duration}\"\n")).expect("written");
        let file = file.display().to_string();
        let configured = forebay(&["mounts", "--masters", NOBODY, "--config", &file]).output();
        for (origin, output) in
            [("--timeout", flag), ("FOREBAY_CLIENT_TIMEOUT", variable), ("forebay.toml", configured)]
        {
            let output = output.expect("the binary runs");
            let said = said(&output);
            assert_eq!(output.status.code(), Some(2), "{origin} {duration}: {said}");
            assert!(said.contains(origin) && said.contains(why), "{origin} {duration}: {said}");
        }
    }
}

#[test]
fn a_freshness_that_is_too_long_is_refused_before_a_master_is_asked() {
    let arguments =
        ["mount", "file:///srv", "/srv", "--freshness", "101years", "--masters", NOBODY, "--timeout", "1ms"];
    let output = forebay(&arguments).output().expect("the binary runs");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--freshness") && said.contains("100 years"), "{said}");
}

#[test]
fn an_empty_address_is_refused_by_the_name_of_where_it_stands() {
    for masters in ["", "a:1,", " , a:1"] {
        let variable = forebay(&["mounts"]).env("FOREBAY_MASTERS", masters).output();
        let flag = forebay(&["mounts", "--masters", masters]).output();
        for (origin, output) in [("FOREBAY_MASTERS", variable), ("--masters", flag)] {
            let output = output.expect("the binary runs");
            let said = said(&output);
            assert_eq!(output.status.code(), Some(2), "{origin} `{masters}`: {said}");
            assert!(said.contains(origin) && said.contains("HOST:PORT"), "{origin} `{masters}`: {said}");
        }
    }
}

#[test]
fn a_word_that_is_no_level_is_refused() {
    for level in ["bogus", "inof", "warn,forebay_worker"] {
        let output = forebay(&["mounts", "--masters", NOBODY, "--timeout", "1ms"])
            .env("FOREBAY_LOG_LEVEL", level)
            .output()
            .expect("the binary runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{level}: {said}");
        assert!(said.contains(level) && said.contains("debug"), "{level}: {said}");
    }
}

#[test]
fn processes_that_would_stand_in_their_own_way_do_not_begin() {
    let folder = tempfile::tempdir().expect("a folder");
    let below = |name: &str| folder.path().join(name).display().to_string();
    let (dir, tier, nested) = (below("dir"), below("tier:1MiB"), below("tier/sub:1MiB"));
    let (mount, within) = (format!("/a=file://{}", below("x")), format!("/b=file://{}", below("x/sub")));
    let process = |name| [name, "--listen", "127.0.0.1:0", "--dir", &*dir];
    for (arguments, told) in [
        ([&process("local")[..], &["--tier", &tier, "--mount", &mount, "--mount", &within]].concat(), "/b"),
        (
            [&process("worker")[..], &["--masters", NOBODY, "--tier", &tier, "--tier", &nested]].concat(),
            "sub",
        ),
        ([&process("master")[..], &["--id", "0"]].concat(), "--id 0"),
    ] {
        let (said, code) = refusal_of_process(&arguments);
        assert!(said.starts_with("error: ") && said.contains(told), "{arguments:?}: {said}");
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
    assert!(!Path::new(&dir).exists(), "nothing was begun");
}

#[test]
fn a_master_s_folder_stays_in_its_slot() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().display().to_string();
    let arguments = ["master", "--listen", "127.0.0.1:0", "--dir", &dir];
    for slot in ["3", "3"] {
        let mut command = forebay(&arguments);
        let mut master =
            command.args(["--id", slot]).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut ready = String::new();
        BufReader::new(master.stdout.take().expect("piped")).read_line(&mut ready).expect("text");
        assert!(ready.starts_with("ready "), "{ready}");
        let _ = kill_process(Pid::from_child(&master), Signal::TERM);
        assert!(master.wait().expect("it ends").success());
    }
    let (said, code) = refusal_of_process(&[&arguments[..], &["--id", "4"]].concat());
    assert!(said.contains("slot 3") && said.contains("--id 3"), "{said}");
    assert_eq!(code, Some(1), "{said}");
}
