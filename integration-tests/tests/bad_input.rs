//! Wrong input gets an error that names the thing and the way out, and changes nothing.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use forebay_integration_tests::{Cluster, READ_MODES, content, run, run_with, write_file};
use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;

fn source() -> tempfile::TempDir {
    let source = tempfile::tempdir().expect("a folder");
    write_file(&source.path().join("sub/f"), 1, 10);
    source
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn mounts_that_cannot_be_are_refused_with_the_reason() {
    let source = source();
    let cluster = Cluster::builder().mount("/data", &uri(source.path())).start();
    let before = cluster.json(&["mounts"]);
    let cases: [(&[&str], &str); 9] = [
        (&["mount", "file:///does/not/exist", "/x"], "/does/not/exist"),
        (&["mount", &uri(&source.path().join("sub")), "/x"], "overlaps"),
        (&["mount", "file:///etc", "/data"], "/data"),
        (&["mount", "file:///etc", "/data/sub"], "hid"),
        (&["mount", "file:///etc", "x"], "relative"),
        (&["mount", "file:///etc", "/a/../b"], ".."),
        (&["mount", "gopher://x", "/x"], "gopher"),
        (&["mount", "file:///etc", "/x", "--option", "colour=blue"], "colour"),
        (&["unmount", "/nothing"], "/nothing"),
    ];
    for (arguments, named) in cases {
        let output = cluster.run(arguments);
        assert!(matches!(output.code, 1 | 2), "{arguments:?} ended with {}", output.code);
        assert!(
            output.stderr.starts_with("error: ") && output.stderr.contains(named),
            "{arguments:?}: {}",
            output.stderr
        );
    }
    let long = format!("/{}", "n".repeat(256));
    assert_ne!(cluster.run(&["mount", "file:///etc", &long]).code, 0);
    assert_eq!(cluster.json(&["mounts"]), before);
}

#[test]
fn paths_that_are_none_are_wrong_usage_for_every_command_and_change_nothing() {
    let source = source();
    let cluster = Cluster::builder().mount("/data", &uri(source.path())).start();
    let state =
        || (cluster.json(&["mounts"]), cluster.json(&["fs", "ls", "/"]), cluster.json(&["job", "list"]));
    let before = state();
    let target = source.path().join("got").display().to_string();
    let (long, longest) = (format!("/data/{}", "n".repeat(256)), format!("/data/{}", "n".repeat(255)));
    for (path, named) in [("/data/../data", "`..`"), ("data/sub", "relative"), (&long, "a name of 256 bytes")]
    {
        let commands: [&[&str]; 12] = [
            &["fs", "ls", path],
            &["fs", "stat", path],
            &["fs", "cat", path],
            &["fs", "get", path, &target],
            &["fs", "du", path],
            &["fs", "locate", path],
            &["fs", "cached", path],
            &["fs", "free", path],
            &["load", path],
            &["load", path, "--detach"],
            &["mount", "file:///etc", path],
            &["unmount", path],
        ];
        for arguments in commands {
            let output = cluster.run(arguments);
            assert_eq!(output.code, 2, "{arguments:?}: {}", output.stderr);
            let said = &output.stderr;
            assert!(said.starts_with("error: ") && said.contains(path) && said.contains(named), "{said}");
            assert!(output.stdout.is_empty(), "{}", output.stdout);
        }
    }
    let output = cluster.run(&["fs", "stat", &longest]);
    assert_eq!(output.code, 1, "a name of 255 bytes is one, and is not there: {}", output.stderr);
    assert_eq!(state(), before);
    assert!(!Path::new(&target).exists());
}

#[test]
fn a_name_of_more_than_255_bytes_is_too_long_for_the_mount() {
    let source = source();
    let cluster = Cluster::builder().mount("/data", &uri(source.path())).fuse().start();
    for (length, errno) in [(255, Errno::NOENT), (256, Errno::NAMETOOLONG)] {
        let error =
            std::fs::metadata(cluster.fuse().join("data").join("n".repeat(length))).expect_err("none");
        assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{length}: {error}");
    }
}

#[test]
fn a_master_that_is_not_there_is_exit_code_3_and_names_the_address() {
    let output = run(&["mounts", "--masters", "127.0.0.1:1", "--timeout", "500ms"]);
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert!(output.stderr.contains("127.0.0.1:1"), "{}", output.stderr);
}

#[test]
fn whoever_says_nothing_waits_ten_seconds_for_a_master_that_refuses_or_never_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_at = silent.local_addr().expect("bound").to_string();
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (shown, got) = (path("shown"), path("got"));
    let commands: [&[&str]; 7] = [
        &["mounts"],
        &["mount", "file:///etc", "/etc"],
        &["fs", "ls", "/"],
        &["fs", "get", "/data/a", &got],
        &["load", "/data"],
        &["admin", "report"],
        &["fuse", "mount", &shown],
    ];
    std::thread::scope(|scope| {
        for (address, arguments) in
            ["127.0.0.1:1", &silent_at].iter().flat_map(|at| commands.iter().map(move |one| (*at, *one)))
        {
            scope.spawn(move || {
                let begin = Instant::now();
                let output = run(&[arguments, &["--masters", address]].concat());
                let waited = begin.elapsed();
                assert_eq!(output.code, 3, "{arguments:?} at {address}: {}", output.stderr);
                assert!(output.stderr.contains(address), "{}", output.stderr);
                // An attempt that would end too late is not begun, so a little of the wait may be left over.
                let least = Duration::from_secs(10) - Duration::from_secs(1);
                assert!(waited > least && waited < least * 2, "{arguments:?} took {waited:?}");
            });
        }
    });
    assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0, "nothing is left behind");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in
        [&["no-such-command"][..], &["mounts", "--no-such-flag"], &["local", "--ram", "lots"], &[]]
    {
        assert_eq!(run(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn listening_beyond_loopback_needs_a_word() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().display().to_string();
    let output = run(&["local", "--dir", &path, "--ram", "0", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("--insecure"), "{}", output.stderr);
}

#[test]
fn a_port_in_use_is_named_by_each_process_and_none_is_left() {
    let cluster = Cluster::builder().start();
    let (dir, taken) = (tempfile::tempdir().expect("a folder"), cluster.address());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let workers = cluster.json(&["admin", "report"])["workers"].clone();
    let cases: [&[&str]; 4] = [
        &["local", "--ram", "0", "--listen", taken],
        &["master", "--listen", taken],
        &["worker", "--ram", "0", "--masters", taken, "--listen", taken],
        &["worker", "--ram", "0", "--masters", taken, "--listen", "127.0.0.1:0", "--http", taken],
    ];
    for (number, arguments) in cases.iter().enumerate() {
        let (state, tier) =
            (path(&format!("state-{number}")), format!("{}:16MiB", path(&number.to_string())));
        let mut all = arguments.to_vec();
        all.extend(["--dir", &state]);
        if arguments[0] != "master" {
            all.extend(["--tier", &tier]);
        }
        let output = run(&all);
        assert_eq!(output.code, 1, "{all:?}: {}", output.stderr);
        let said = output.stderr.lines().next_back().unwrap_or_default();
        assert!(said.starts_with("error: ") && said.contains(taken), "{all:?}: {said}");
    }
    assert_eq!(cluster.json(&["admin", "report"])["workers"].as_array().map(Vec::len), Some(1), "{workers}");
}

#[test]
fn an_unknown_key_of_a_file_is_named_with_its_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("forebay.toml");
    std::fs::write(&file, "[local]\nramm = \"1GiB\"\n").expect("written");
    let output = run(&["local", "--config", &file.display().to_string()]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("ramm") && output.stderr.contains('2'), "{}", output.stderr);
}

#[test]
fn unknown_keys_of_each_part_options_of_a_mount_and_variables_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("forebay.toml");
    let path = file.display().to_string();
    for part in ["local", "master", "worker", "fuse"] {
        std::fs::write(&file, format!("[{part}]\ncolour = 1\n")).expect("written");
        let command: &[&str] = if part == "fuse" { &["fuse", "mount", "/nowhere"] } else { &[part] };
        let output = run(&[command, &["--config", &path]].concat());
        assert_eq!(output.code, 2, "{part}: {}", output.stderr);
        assert!(output.stderr.contains("colour") && output.stderr.contains(&path), "{}", output.stderr);
    }
    std::fs::write(&file, "[colours]\n").expect("written");
    let output = run(&["local", "--config", &path]);
    assert!(output.code == 2 && output.stderr.contains("colours"), "{output:?}");
    let state = dir.path().join("state").display().to_string();
    let output = run_with(&[("FOREBAY_LOCAL_COLOUR", "1")], &["local", "--dir", &state]);
    assert!(output.code == 2 && output.stderr.contains("FOREBAY_LOCAL_COLOUR"), "{output:?}");
    let output = run(&["fuse", "mount", &state, "-o", "allow_other,colour=1"]);
    assert!(output.code == 2 && output.stderr.contains("colour"), "{output:?}");
    assert!(!Path::new(&state).exists());
}

#[test]
fn the_tree_is_read_only() {
    for mode in READ_MODES {
        let source = source();
        let cluster =
            Cluster::builder().mount("/data", &uri(source.path())).fuse().fuse_options(mode).start();
        expect_read_only(&cluster.fuse().join("data"));
        assert_eq!(std::fs::read_dir(source.path()).expect("there").count(), 1, "the source is as it was");
        let bytes = std::fs::read(source.path().join("sub/f")).expect("there");
        assert_eq!(bytes, content(1, 10));
    }
}

fn expect_read_only(data: &Path) {
    let file = data.join("sub/f");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    let refused = [
        ("create", std::fs::write(data.join("new"), b"x")),
        ("open to write", File::options().write(true).open(&file).map(drop)),
        ("open to append", File::options().append(true).open(&file).map(drop)),
        ("truncate", File::options().write(true).truncate(true).open(&file).map(drop)),
        ("remove", std::fs::remove_file(&file)),
        ("make a directory", std::fs::create_dir(data.join("dir"))),
        ("remove a directory", std::fs::remove_dir(data.join("sub"))),
        ("rename", std::fs::rename(&file, data.join("g"))),
        ("link", std::fs::hard_link(&file, data.join("g"))),
        ("link by name", std::os::unix::fs::symlink("f", data.join("g"))),
        ("change the mode", std::fs::set_permissions(&file, mode)),
        ("change the owner", std::os::unix::fs::chown(&file, Some(1), Some(1))),
        ("attach", fs::setxattr(&file, "user.a", b"1", XattrFlags::empty()).map_err(Into::into)),
    ];
    for (what, outcome) in refused {
        let error = outcome.expect_err(what);
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{what}: {error}");
    }
}

#[test]
fn a_stopped_cluster_ends_with_exit_code_0_and_leaves_no_mount() {
    let source = source();
    let mut cluster = Cluster::builder().mount("/data", &uri(source.path())).fuse().start();
    let _ = std::fs::read(cluster.fuse().join("data/sub/f")).expect("readable");
    assert_eq!(cluster.process().stop(), 0);
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("readable");
    assert!(!mounts.contains(&cluster.fuse().display().to_string()));
}

#[test]
fn a_process_that_cannot_start_ends_with_exit_code_1_and_never_by_a_signal() {
    let cluster = Cluster::builder().start();
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    for number in 0..8 {
        // The port of the pages is taken, which shows only after the log was opened.
        let (state, tier) =
            (path(&format!("local-{number}")), format!("{}:5MiB", path(&format!("tier-{number}"))));
        let local = [
            "local",
            "--dir",
            &state,
            "--tier",
            &tier,
            "--listen",
            "127.0.0.1:0",
            "--http",
            cluster.address(),
        ];
        assert_eq!(run(&local).code, 1);
        let state = path(&format!("master-{number}"));
        let master = ["master", "--dir", &state, "--listen", "127.0.0.1:0", "--http", cluster.address()];
        assert_eq!(run(&master).code, 1);
    }
}

#[test]
fn addresses_that_are_none_and_sizes_beyond_the_machine_are_wrong_usage() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().display().to_string();
    for arguments in [
        &["mounts", "--masters", "127.0.0.1:99999"][..],
        &["mounts", "--masters", "foo"],
        &["local", "--dir", &path, "--ram", "99999TiB", "--listen", "127.0.0.1:0"],
    ] {
        let output = run(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {}", output.stderr);
    }
}
