//! What is said of what masters tell.

use std::time::Duration;

use forebay_client::{ClockReading, ClusterExamination, ExaminedMaster, MasterPresence, Told};
use forebay_proto::{WireError, v1};
use forebay_types::ErrorKind;

use super::findings::{Check, Finding, State};
use super::judge;

const MILLISECOND: u64 = 1_000_000;

fn address(slot: u32) -> String {
    format!("10.0.0.{slot}:7411")
}

/// A master of three that is well; the first one leads.
fn told(slot: u32) -> Told {
    let role = if slot == 1 { "LEADER" } else { "FOLLOWER" };
    let membership = v1::Membership {
        cluster_id: vec![7; 16].into(),
        incarnation: 5,
        node: slot.into(),
        role: role.to_owned(),
        term: 3,
        ..Default::default()
    };
    let member = |slot: u32| v1::MasterReport {
        slot,
        node_id: slot.into(),
        address: address(slot),
        votes: true,
        ..Default::default()
    };
    Told {
        hello: v1::HelloResponse {
            slot,
            address: address(slot),
            process: slot.into(),
            membership: Some(membership),
            version: "1.0.0".to_owned(),
            feature_level_known: 2,
            ..Default::default()
        },
        clock: Some(ClockReading { ahead_nanos: 300_000, within: Duration::from_millis(1) }),
        examination: Ok(v1::ExamineResponse {
            slot,
            node_id: slot.into(),
            members: (1..=3).map(member).collect(),
            last_log: 5000,
            last_applied: 5000,
            feature_level: 2,
            election_timeout_nanos: 1_500_000_000,
            disk: Some(v1::DiskExamination {
                directory: "/var/lib/forebay".to_owned(),
                sync_nanos: vec![MILLISECOND; 32],
                total_bytes: 100 << 30,
                free_bytes: 50 << 30,
                total_inodes: 1000,
                free_inodes: 900,
                ..Default::default()
            }),
            outbox: (slot == 1).then(v1::OutboxExamination::default),
            ..Default::default()
        }),
        report: (slot == 1).then(|| Ok(report())),
    }
}

fn report() -> v1::GetReportResponse {
    let worker = |id: u32| v1::WorkerReport {
        worker: Some(v1::WorkerEntry {
            id,
            address: format!("10.0.1.{id}:7421"),
            state: v1::WorkerState::Live.into(),
            ..Default::default()
        }),
        tiers: vec![v1::TierUsage {
            directory: "/nvme".to_owned(),
            health: v1::TierHealth::Up.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mount = v1::MountEntry { path: "/data".into(), state: "READY".to_owned(), ..Default::default() };
    v1::GetReportResponse {
        workers: vec![worker(1), worker(2)],
        mounts: vec![v1::MountReport { mount: Some(mount), counters: None }],
        safe_mode: Some(v1::SafeMode { active: false, workers_expected: 2, workers_live: 2 }),
        ..Default::default()
    }
}

fn there(told: Told) -> ExaminedMaster {
    ExaminedMaster { address: told.hello.address.clone(), presence: MasterPresence::There(Box::new(told)) }
}

fn silent(slot: u32) -> ExaminedMaster {
    let error = WireError::new(ErrorKind::TimedOut, "no answer came in time");
    ExaminedMaster { address: address(slot), presence: MasterPresence::Silent(error) }
}

fn judged(masters: Vec<ExaminedMaster>) -> Vec<Finding> {
    judge(&ClusterExamination { masters })
}

/// What is found where one master tells something else.
fn with(slot: u32, change: impl FnOnce(&mut Told)) -> Vec<Finding> {
    let mut all: Vec<_> = (1..=3).map(told).collect();
    change(&mut all[slot as usize - 1]);
    judged(all.into_iter().map(there).collect())
}

/// What is not as it should be.
fn wrong(findings: &[Finding]) -> Vec<(Check, State, &str)> {
    let is_wrong = |finding: &&Finding| finding.state != State::Ok;
    findings.iter().filter(is_wrong).map(|of| (of.check, of.state, &of.subject[..])).collect()
}

const SECOND: &str = "master 2 (10.0.0.2:7411)";

#[test]
fn of_a_cluster_that_is_well_all_is_ok_and_each_thing_is_told_of() {
    let findings = with(1, |_| {});
    assert_eq!(wrong(&findings), []);
    let count = |check| findings.iter().filter(|finding| finding.check == check).count();
    let counts =
        [Check::Quorum, Check::Master, Check::Clock, Check::Disk, Check::Space, Check::Worker, Check::Mount];
    assert_eq!(counts.map(count), [1, 3, 3, 3, 3, 2, 1]);
    assert!(findings.iter().all(|finding| finding.advice.is_empty()));
}

#[test]
fn one_of_three_that_is_silent_is_an_error_and_two_are_no_majority() {
    let findings = judged(vec![there(told(1)), silent(2), there(told(3))]);
    assert_eq!(
        wrong(&findings),
        [(Check::Quorum, State::Warn, "cluster"), (Check::Master, State::Error, SECOND)]
    );
    let findings = judged(vec![there(told(1)), silent(2), silent(3)]);
    assert!(wrong(&findings).contains(&(Check::Quorum, State::Error, "cluster")), "{findings:?}");
    // Nobody leads, though a majority is there.
    let findings = judged(vec![silent(1), there(told(2)), there(told(3))]);
    let quorum = findings.iter().find(|finding| finding.check == Check::Quorum).expect("told");
    assert_eq!(quorum.state, State::Error);
    assert!(quorum.message.contains("2 of 3") && quorum.message.contains("none of them leads"), "{quorum:?}");
}

#[test]
fn clocks_that_are_off_are_found_on_masters_and_workers_beyond_what_the_question_took() {
    let set =
        |ahead_nanos, within| move |told: &mut Told| told.clock = Some(ClockReading { ahead_nanos, within });
    let short = Duration::from_millis(1);
    let ahead = with(2, set(2_000_000_000, short));
    assert_eq!(wrong(&ahead), [(Check::Clock, State::Warn, SECOND)]);
    let behind = with(2, set(-2_000_000_000, short));
    assert!(behind.iter().any(|finding| finding.message.contains("2.000 s behind this machine's clock")));
    assert_eq!(wrong(&with(2, set(2_000_000_000, Duration::from_secs(3)))), [], "it may be right");
    assert_eq!(wrong(&with(2, set(-7_200_000_000_000, short))), [(Check::Clock, State::Error, SECOND)]);
    let worker = with(1, |told| {
        let said = told.examination.as_mut().expect("told");
        let ahead_nanos = -5_000_000_000;
        said.worker_clocks = vec![v1::WorkerClock { worker: 4, address: "w:1".to_owned(), ahead_nanos }];
    });
    assert_eq!(wrong(&worker), [(Check::Clock, State::Warn, "worker 4 (w:1)")]);
}

#[test]
fn disks_that_are_slow_full_or_broken_are_found() {
    let disk = |change: fn(&mut v1::DiskExamination)| {
        with(2, move |told| {
            change(told.examination.as_mut().ok().and_then(|said| said.disk.as_mut()).expect("told"));
        })
    };
    let slow = disk(|disk| disk.sync_nanos = vec![60 * MILLISECOND; 32]);
    assert_eq!(wrong(&slow), [(Check::Disk, State::Warn, SECOND)]);
    assert!(
        slow.iter()
            .any(|finding| finding.message.contains("p50 60.0 ms, p99 60.0 ms, max 60.0 ms (32 made)"))
    );
    let once = disk(|disk| disk.sync_nanos[7] = 300 * MILLISECOND);
    assert_eq!(wrong(&once), [(Check::Disk, State::Warn, SECOND)]);
    let very = disk(|disk| disk.sync_nanos = vec![900 * MILLISECOND; 2]);
    assert_eq!(wrong(&very), [(Check::Disk, State::Error, SECOND)]);
    let broken = disk(|disk| disk.failure = "Input/output error (os error 5)".to_owned());
    assert_eq!(wrong(&broken), [(Check::Disk, State::Error, SECOND)]);
    let full = disk(|disk| disk.free_bytes = 5 << 30);
    assert_eq!(wrong(&full), [(Check::Space, State::Warn, SECOND)]);
    let names = disk(|disk| disk.free_inodes = 10);
    assert_eq!(wrong(&names), [(Check::Space, State::Error, SECOND)]);
    let large = disk(|disk| (disk.total_bytes, disk.free_bytes) = (4 << 40, 100 << 30));
    assert_eq!(wrong(&large), [], "100 GiB are enough");
    let larger = disk(|disk| (disk.total_bytes, disk.free_bytes) = (400 << 40, 70 << 30));
    assert_eq!(wrong(&larger), [], "70 GiB are enough, however small a part they are");
}

#[test]
fn masters_that_are_behind_of_another_cluster_or_release_are_found() {
    let behind = with(2, |told| told.examination.as_mut().expect("told").last_applied = 10);
    assert_eq!(wrong(&behind), [(Check::Master, State::Warn, SECOND)]);
    let foreign = with(2, |told| {
        told.hello.membership.as_mut().expect("a member").incarnation = 6;
    });
    assert!(wrong(&foreign).contains(&(Check::Master, State::Error, SECOND)), "{foreign:?}");
    let release = with(2, |told| told.hello.version = "0.9.0".to_owned());
    assert_eq!(wrong(&release), [(Check::Version, State::Warn, "masters")]);
    let mut all: Vec<_> = (1..=3).map(told).collect();
    all.iter_mut().for_each(|told| told.hello.feature_level_known = 3);
    let raise = judged(all.into_iter().map(there).collect());
    assert_eq!(wrong(&raise), [(Check::Version, State::Warn, "masters")]);
    let failed = with(2, |told| {
        told.examination = Err(WireError::new(ErrorKind::TimedOut, "no answer came in time"));
    });
    assert_eq!(wrong(&failed), [(Check::Master, State::Error, SECOND)]);
    let old = with(2, |told| told.examination = Err(WireError::new(ErrorKind::Unsupported, "")));
    assert_eq!(wrong(&old), [(Check::Master, State::Warn, SECOND)]);
    // A master that is named and belongs to nobody.
    let waits = judged(
        (1..=3)
            .map(told)
            .map(there)
            .chain([{
                let mut fourth = told(4);
                fourth.hello.membership = None;
                there(fourth)
            }])
            .collect(),
    );
    assert_eq!(wrong(&waits), [(Check::Master, State::Error, "master 4 (10.0.0.4:7411)")]);
}

#[test]
fn workers_mounts_and_the_outbox_are_judged_by_what_the_leader_says() {
    let reported = |change: fn(&mut v1::GetReportResponse)| {
        with(1, move |told| {
            change(told.report.as_mut().and_then(|report| report.as_mut().ok()).expect("told"));
        })
    };
    let lost = reported(|report| {
        report.workers[1].worker.as_mut().expect("one").state = v1::WorkerState::Lost.into();
    });
    assert_eq!(wrong(&lost), [(Check::Worker, State::Warn, "worker 2 (10.0.1.2:7421)")]);
    let down = reported(|report| report.workers[1].tiers[0].health = v1::TierHealth::Down.into());
    assert_eq!(wrong(&down), [(Check::Worker, State::Error, "worker 2 (10.0.1.2:7421)")]);
    let none = reported(|report| report.workers.clear());
    assert_eq!(wrong(&none), [(Check::Worker, State::Error, "cluster")]);
    let safe = reported(|report| {
        report.safe_mode = Some(v1::SafeMode { active: true, workers_expected: 2, workers_live: 1 })
    });
    assert_eq!(wrong(&safe), [(Check::SafeMode, State::Warn, "cluster")]);
    let away =
        reported(|report| report.mounts[0].mount.as_mut().expect("one").state = "UNREACHABLE".to_owned());
    assert_eq!(wrong(&away), [(Check::Mount, State::Error, "/data")]);
    let overdue = with(1, |told| {
        let overdue_nanos = 700_000_000_000;
        told.examination.as_mut().expect("told").outbox =
            Some(v1::OutboxExamination { rows: 3, overdue_nanos });
    });
    assert_eq!(wrong(&overdue), [(Check::Outbox, State::Warn, "cluster")]);
}

#[test]
fn masters_that_wait_differently_for_a_leader_are_found_and_are_wrong_where_leases_are_read_by() {
    let told = |by_lease| {
        with(2, |told| {
            let said = told.examination.as_mut().expect("told");
            (said.election_timeout_nanos, said.reads_by_lease) = (1_000_000_000, by_lease);
        })
    };
    assert_eq!(wrong(&told(false)), [(Check::Master, State::Warn, "masters")]);
    assert_eq!(wrong(&told(true)), [(Check::Master, State::Error, "masters")]);
}
