//! Wrong input gets an error that names the thing and the way out, and changes nothing.

use std::path::Path;

use forebay_integration_tests::{Cluster, run, write_file};

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
fn a_master_that_is_not_there_is_exit_code_3_and_names_the_address() {
    let output = run(&["mounts", "--masters", "127.0.0.1:1", "--timeout", "500ms"]);
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert!(output.stderr.contains("127.0.0.1:1"), "{}", output.stderr);
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
fn a_port_in_use_is_named() {
    let cluster = Cluster::builder().start();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().display().to_string();
    let output = run(&["local", "--dir", &path, "--ram", "0", "--listen", cluster.address()]);
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains(cluster.address()), "{}", output.stderr);
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
fn the_tree_is_read_only() {
    let source = source();
    let cluster = Cluster::builder().mount("/data", &uri(source.path())).fuse().start();
    let data = cluster.fuse().join("data");
    let refused = [
        std::fs::write(data.join("new"), b"x").expect_err("refused"),
        std::fs::remove_file(data.join("sub/f")).expect_err("refused"),
        std::fs::create_dir(data.join("dir")).expect_err("refused"),
        std::fs::rename(data.join("sub/f"), data.join("g")).expect_err("refused"),
    ];
    for error in refused {
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{error}");
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
