//! Who the masters are: they form one cluster, take others in, replace one that lost its disk, and refuse what would lose
//! something.

use std::fs;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Listed, MasterCluster, Output, Process, Syncs, forebay, run, wait_until};

const WITHIN: Duration = Duration::from_secs(60);

fn ok(output: &Output) {
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
}

/// Slots and whether they vote.
fn votes(listed: &[Listed]) -> Vec<(u64, bool)> {
    listed.iter().map(|master| (master.slot, master.votes)).collect()
}

/// What a master says that does not start.
fn refused(cluster: &MasterCluster, number: usize, peers: &str) -> String {
    let arguments = cluster.arguments(number, peers);
    let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_ne!(output.code, 0, "{}", output.stdout);
    output.stderr
}

#[test]
fn a_cluster_grows_hands_the_lead_over_and_shrinks() {
    let mut cluster = MasterCluster::prepare(3, Syncs::AsTheDisk);
    cluster.start_all(&[0], &cluster.peers(&[0]));
    ok(&cluster.run(&["fs", "mkdir", "/kept"]));
    for number in [1, 2] {
        cluster.start_all(&[number], &cluster.peers(&[0, 1, 2]));
        let slot = (number + 1).to_string();
        let listed = cluster.listed();
        let joined = listed.iter().find(|master| master.slot == number as u64 + 1).expect("it joined");
        assert_eq!((joined.votes, &joined.role[..]), (false, "LEARNER"));
        ok(&cluster.run(&["admin", "masters", "add", &slot]));
        // An answer may be lost: to ask again changes nothing.
        ok(&cluster.run(&["admin", "masters", "add", &slot]));
    }
    assert_eq!(votes(&cluster.listed()), [(1, true), (2, true), (3, true)]);
    ok(&cluster.run(&["admin", "masters", "transfer-leader", "2"]));
    assert_eq!(cluster.leader(), 1);
    // One that leads is taken out after it has handed over.
    ok(&cluster.run(&["admin", "masters", "remove", "2"]));
    assert_eq!(votes(&cluster.listed()), [(1, true), (3, true)]);
    ok(&cluster.run(&["fs", "stat", "/kept"]));

    let unknown = cluster.run(&["admin", "masters", "remove", "7"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("no master in slot 7"), "{}", unknown.stderr);
    let unknown = cluster.run(&["admin", "masters", "add", "7"]);
    assert!(unknown.stderr.contains("start it first"), "{}", unknown.stderr);
}

#[test]
fn what_would_leave_no_majority_is_refused() {
    let mut cluster = MasterCluster::start(3, Syncs::AsTheDisk);
    let leader = cluster.leader();
    let [gone, other] = [1, 2].map(|step| (leader + step) % 3);
    cluster.kill(gone);
    let refused = cluster.run(&["admin", "masters", "remove", &(other + 1).to_string()]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("no majority"), "{}", refused.stderr);
    ok(&cluster.run(&["fs", "mkdir", "/still"]));
    // The one that is away may go.
    ok(&cluster.run(&["admin", "masters", "remove", &(gone + 1).to_string()]));
    ok(&cluster.run(&["fs", "stat", "/still"]));
}

#[test]
fn a_master_that_lost_its_folder_comes_back_under_a_new_id_and_votes() {
    comes_back_after(|folder| fs::remove_dir_all(folder).expect("removed"));
}

#[test]
fn a_master_that_lost_its_log_and_still_knows_its_id_comes_back_under_a_new_one() {
    comes_back_after(|folder| {
        assert!(folder.join("member").exists(), "it joined");
        for part in ["log", "state", "snapshots"] {
            fs::remove_dir_all(folder.join(part)).expect("removed");
        }
    });
}

#[test]
fn a_master_that_was_formatted_comes_back_under_a_new_id() {
    comes_back_after(|folder| {
        // No address that the others know, so it ends when it has said what it waits for.
        let dir = folder.display().to_string();
        let alone = ["master", "--id", "9", "--listen", "127.0.0.1:0", "--dir", &dir, "--format", "--force"];
        let said = run(&alone);
        assert!(said.stderr.contains("was deleted"), "{}", said.stderr);
        assert!(!folder.join("member").exists(), "its earlier id is forgotten");
    });
}

#[test]
fn the_master_that_formed_the_cluster_and_lost_its_state_with_the_power_comes_back_from_its_log() {
    let mut cluster = MasterCluster::start(3, Syncs::AsTheDisk);
    ok(&cluster.run(&["fs", "mkdir", "/before"]));
    let before = cluster.listed();
    cluster.kill(0);
    // What is not synced with each entry, and no snapshot was made of it yet.
    fs::remove_dir_all(cluster.folder(0).join("state")).expect("removed");
    ok(&cluster.run(&["fs", "mkdir", "/meanwhile"]));
    cluster.restart_killed();
    wait_until("it follows under its own id, and votes", WITHIN, || {
        let listed = cluster.listed();
        let is_it = |of: &Listed| (of.slot, of.votes, &of.role[..]) == (1, true, "FOLLOWER");
        listed.iter().any(|of| is_it(of) && before.iter().any(|old| old.slot == 1 && old.node == of.node))
    });
    cluster.kill(1);
    ok(&cluster.run(&["fs", "stat", "/meanwhile"]));
    ok(&cluster.run(&["fs", "mkdir", "/after"]));
}

/// A master other than the leader ends, `lose` takes something of its folder away, and it is started again.
fn comes_back_after(lose: impl FnOnce(&Path)) {
    let mut cluster = MasterCluster::start(3, Syncs::AsTheDisk);
    ok(&cluster.run(&["fs", "mkdir", "/before"]));
    let lost = if cluster.leader() == 1 { 2 } else { 1 };
    let slot = lost as u64 + 1;
    let before = cluster.listed();
    cluster.kill(lost);
    lose(&cluster.folder(lost));
    ok(&cluster.run(&["fs", "mkdir", "/meanwhile"]));
    cluster.restart_killed();
    wait_until("it votes", WITHIN, || {
        let listed = cluster.listed();
        votes(&listed) == [(1, true), (2, true), (3, true)]
            && before.iter().all(|old| old.slot != slot || listed.iter().all(|new| new.node != old.node))
    });
    // It has all: with it alone as the other half of the majority the cluster goes on.
    let others: Vec<usize> = (0..3).filter(|number| *number != lost).collect();
    cluster.kill(others[0]);
    ok(&cluster.run(&["fs", "stat", "/before"]));
    ok(&cluster.run(&["fs", "stat", "/meanwhile"]));
    ok(&cluster.run(&["fs", "mkdir", "/after"]));
}

#[test]
fn wrong_lists_and_foreign_folders_are_refused_with_what_to_do() {
    let mut cluster = MasterCluster::prepare(3, Syncs::AsTheDisk);
    let all = cluster.peers(&[0, 1, 2]);
    // Not in its own list.
    let said = refused(&cluster, 2, &cluster.peers(&[0, 1]));
    assert!(said.contains("does not have slot 3") && said.contains("--id"), "{said}");
    for (list, part) in [("1:a", "SLOT=HOST:PORT"), ("1=h:1,1=h:2", "slot 1"), ("1=h:1,2=h:1", "h:1")] {
        let said = refused(&cluster, 0, list);
        assert!(said.contains("--peers") && said.contains(part), "{said}");
    }
    // Two masters that are to form a cluster, and do not agree who belongs to it.
    let mut command = std::process::Command::new(forebay());
    command.args(cluster.arguments(0, &all));
    let logs = tempfile::tempdir().expect("a folder");
    let (waiting, _lines) = Process::spawn("waiting", command, logs.path());
    wait_until("it waits for the others", WITHIN, || waiting.log_text().contains("no cluster yet"));
    let other = cluster.peers(&[0, 1]);
    let said = refused(&cluster, 1, &other);
    assert!(said.contains(&all) && said.contains(&other) && said.contains("the same list"), "{said}");
    drop(waiting);

    // A slot that somebody has.
    cluster.start_all(&[0, 1, 2], &all);
    let twice = MasterCluster::prepare(1, Syncs::AsTheDisk);
    let elsewhere = &twice.addresses()[0];
    let list = format!("1={},2={},3={elsewhere}", cluster.addresses()[0], cluster.addresses()[1]);
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().display().to_string();
    let said = run(&["master", "--id", "3", "--dir", &dir, "--listen", elsewhere, "--peers", &list]);
    assert_eq!(said.code, 1, "{}", said.stdout);
    assert!(said.stderr.contains("slot 3 is in use"), "{}", said.stderr);

    // A folder of another slot.
    cluster.kill(2);
    let mut arguments = cluster.arguments(2, &all);
    arguments[4] = cluster.folder(1).display().to_string();
    let said = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.stderr.contains("is the folder of the master in slot 2"), "{}", said.stderr);
}

#[test]
fn a_master_with_the_data_of_another_cluster_is_believed_by_nobody_and_damages_nothing() {
    let mut cluster = MasterCluster::start(3, Syncs::AsTheDisk);
    ok(&cluster.run(&["fs", "mkdir", "/ours"]));
    let moved = (cluster.leader() + 1) % 3;
    cluster.kill(moved);
    // Another cluster's state is put in its place.
    fs::rename(cluster.folder(moved), cluster.folder(moved).with_extension("kept")).expect("renamed");
    let (all, alone) = (cluster.peers(&[0, 1, 2]), cluster.peers(&[moved]));
    cluster.start_all(&[moved], &alone);
    ok(&run(&["fs", "mkdir", "/theirs", "--masters", &cluster.addresses()[moved]]));
    cluster.process(moved).stop();
    cluster.kill(moved);
    let said = refused(&cluster, moved, &all);
    assert!(said.contains("the data of the cluster") && said.contains("--dir"), "{said}");
    ok(&cluster.run(&["fs", "stat", "/ours"]));
    // With its own data it is back.
    fs::remove_dir_all(cluster.folder(moved)).expect("removed");
    fs::rename(cluster.folder(moved).with_extension("kept"), cluster.folder(moved)).expect("renamed");
    cluster.restart_killed();
    ok(&cluster.run(&["fs", "mkdir", "/more"]));
}
