//! Two of three masters die: nothing is answered, commands say so with exit code 3, and once one is back all goes on as if nothing
//! had been.

use forebay_integration_tests::Watched;

#[test]
fn without_a_majority_commands_exit_with_3_and_clients_that_wait_see_no_error() {
    let mut watched = Watched::start(13);
    let leader = watched.masters.wait_for_leader();
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    watched.note("both followers: killed");
    for master in others {
        watched.masters.kill(master);
    }
    // A removal that is carried out late is refused then, since nothing is there.
    for arguments in [["fs", "rmdir", "/never"], ["fs", "ls", "/"]] {
        let output = watched.masters.run(&[&arguments[..], &["--timeout", "2s"]].concat());
        assert_eq!(output.code, 3, "{arguments:?}: {}", output.stderr);
        assert!(output.stderr.starts_with("error: "), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    watched.masters.spawn(others[0]);
    watched.wait_for_answers(30);
    watched.masters.spawn(others[1]);
    watched.masters.wait_for_voters(3);
    let counts = watched.judged().counts();
    assert_eq!((counts.unknown, counts.unanswered_reads), (0, 0), "{counts:?}");
}
