//! `forebay admin doctor` finds what is wrong with real masters: one that is dead, one that stands still, a disk whose syncs are
//! slow, a clock that is off, a worker that is gone; and says so in time, whoever is silent.

use std::process::Command;
use std::time::{Duration, Instant};

use forebay_integration_tests::{
    Clocks, Fleet, MasterCluster, Masters, Output, Process, Syncs, clock_library, forebay, run, wait_until,
};
use rustix::process::Signal;
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(60);
/// How long the doctor may take in these tests, and how much longer a busy machine.
const ASKED_WITHIN: Duration = Duration::from_secs(6);
const ROOM: Duration = Duration::from_secs(6);

const ARGUMENTS: [&str; 6] = ["admin", "doctor", "--output", "json", "--timeout", "6s"];

/// What the doctor printed.
struct Said {
    code: i32,
    document: Value,
}

impl Said {
    fn of(output: &Output) -> Self {
        let document = serde_json::from_str(&output.stdout);
        let document = document.unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr));
        Self { code: output.code, document }
    }

    /// The states of a check for those whose names have `subject` in them.
    fn states(&self, check: &str, subject: &str) -> Vec<String> {
        let findings = self.document["findings"].as_array().expect("a list").iter();
        let is_meant = |of: &&Value| {
            of["check"] == check && of["subject"].as_str().is_some_and(|name| name.contains(subject))
        };
        findings.filter(is_meant).map(|of| of["state"].as_str().expect("a state").to_owned()).collect()
    }

    /// Whether all findings of a check that are not OK have advice, and those that are have none.
    fn has_advice(&self) -> bool {
        let findings = self.document["findings"].as_array().expect("a list").iter();
        let fits = |of: &Value| (of["state"] == "OK") == of["advice"].as_str().is_some_and(str::is_empty);
        findings.into_iter().all(fits)
    }
}

#[test]
fn of_three_masters_that_are_well_nothing_is_wrong() {
    let fleet = Fleet::start_with_masters(3, 1);
    let said = Said::of(&fleet.run(&ARGUMENTS));
    assert_eq!((said.code, &said.document["healthy"]), (0, &Value::Bool(true)), "{:#}", said.document);
    assert_eq!(said.states("QUORUM", "cluster"), ["OK"]);
    assert_eq!(said.states("MASTER", ""), ["OK"; 3], "{:#}", said.document);
    assert_eq!(said.states("CLOCK", ""), ["OK"; 4], "three masters and a worker: {:#}", said.document);
    assert_eq!(said.states("DISK", "").len(), 3);
    assert_eq!(said.states("SPACE", "").len(), 3);
    assert_eq!(said.states("WORKER", ""), ["OK"]);
    assert!(said.has_advice(), "{:#}", said.document);
    let text = fleet.run(&["admin", "doctor"]);
    assert!(text.stdout.starts_with("STATE  CHECK"), "{}", text.stdout);
    assert!(text.stdout.contains("fsync p50"), "{}", text.stdout);
    // One of them is enough to find all.
    let (first, _) = fleet.address().split_once(',').expect("three");
    let said = Said::of(&run(&[&ARGUMENTS[..], &["--masters", first]].concat()));
    assert_eq!(said.states("MASTER", ""), ["OK"; 3], "{:#}", said.document);
}

#[test]
fn masters_that_are_dead_or_stand_still_are_found_in_time() {
    let mut cluster = MasterCluster::start(3, Syncs::AsTheDisk);
    let leader = cluster.leader();
    let [still, other] = [1, 2].map(|step| (leader + step) % 3);
    let asked = |cluster: &MasterCluster| {
        let begun = Instant::now();
        let said = Said::of(&cluster.run(&ARGUMENTS));
        assert!(begun.elapsed() < ASKED_WITHIN + ROOM, "it took {:?}", begun.elapsed());
        assert!(said.has_advice(), "{:#}", said.document);
        said
    };
    cluster.process(still).signal(Signal::STOP);
    let said = asked(&cluster);
    assert_eq!(said.code, 1);
    assert_eq!(said.states("MASTER", &cluster.addresses()[still]), ["ERROR"], "{:#}", said.document);
    assert_eq!(said.states("MASTER", &cluster.addresses()[leader]), ["OK"], "{:#}", said.document);
    assert_eq!(said.states("QUORUM", ""), ["WARN"]);

    cluster.kill(other);
    wait_until("the last one does not lead any more", WITHIN, || {
        let said = asked(&cluster);
        assert_eq!(said.code, 1);
        assert_eq!(said.states("MASTER", &cluster.addresses()[other]), ["ERROR"], "{:#}", said.document);
        said.states("QUORUM", "") == ["ERROR"]
    });

    cluster.process(still).signal(Signal::CONT);
    cluster.restart_killed();
    wait_until("all are well", WITHIN, || asked(&cluster).states("MASTER", "") == ["OK"; 3]);
}

#[test]
fn where_no_master_answers_the_exit_code_is_3() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    drop(taken);
    let output = run(&[&ARGUMENTS[..], &["--masters", &address]].concat());
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("--masters"), "{}", output.stderr);
}

#[test]
fn a_disk_whose_syncs_are_slow_and_a_clock_that_is_off_are_found() {
    let mut masters = Masters::start(3, Clocks::Settable);
    let leader = masters.leader().expect("one leads");
    let [slow, ahead] = [1, 2].map(|step| (leader + step) % 3);
    let said = Said::of(&masters.run(&ARGUMENTS));
    assert_eq!(said.states("CLOCK", ""), ["OK"; 3], "{:#}", said.document);
    masters.make_syncs_slow(slow, Duration::from_millis(60));
    masters.set_clock(ahead, 30);
    let mut last = None;
    wait_until("both are found", WITHIN, || {
        let said = Said::of(&masters.run(&ARGUMENTS));
        let found = said.states("DISK", &masters.address(slow)) == ["WARN"]
            && said.states("CLOCK", &masters.address(ahead)) == ["WARN"];
        last = Some(said);
        found
    });
    let said = last.expect("asked");
    let message = |check: &str, master: usize| {
        let findings = said.document["findings"].as_array().expect("a list").iter();
        let name = masters.address(master);
        let mut of = findings.filter(|of| {
            of["check"] == check && of["subject"].as_str().is_some_and(|subject| subject.contains(&name))
        });
        of.next().and_then(|of| of["message"].as_str()).expect("told").to_owned()
    };
    assert!(message("DISK", slow).contains("fsync p50"), "{}", message("DISK", slow));
    assert!(message("CLOCK", ahead).contains("ahead of this machine's clock"), "{}", message("CLOCK", ahead));
    assert_eq!(said.states("CLOCK", &masters.address(slow)), ["OK"], "{:#}", said.document);
    assert_eq!(said.code, 0, "warnings are no errors: {:#}", said.document);
}

#[test]
fn a_worker_whose_clock_is_off_and_one_that_is_gone_are_found() {
    let mut fleet = Fleet::start_with_masters(3, 1);
    let dir = fleet.dir().join("behind");
    let mut command = Command::new(forebay());
    command.args(["worker", "--listen", "127.0.0.1:0", "--ram", "0", "--masters", fleet.address()]);
    command.args(["--tier", &format!("{}:1GiB", dir.join("tier").display()), "--dir"]).arg(&dir);
    command.env("LD_PRELOAD", clock_library()).env("FAKETIME", "-45s");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    let (behind, ready) = Process::start_command("behind", command, fleet.dir());
    let address = ready.value("listen").to_owned();
    wait_until("its clock is found", WITHIN, || {
        let said = Said::of(&fleet.run(&ARGUMENTS));
        assert_eq!(said.code, 0, "{:#}", said.document);
        said.states("CLOCK", &address) == ["WARN"]
    });
    fleet.workers[0].kill();
    wait_until("one is lost", WITHIN, || {
        let said = Said::of(&fleet.run(&ARGUMENTS));
        said.states("WORKER", "").contains(&"WARN".to_owned())
    });
    drop(behind);
}
