//! Commands against a real `forebay local`: paths as they are typed, names as they are shown, and what it says of itself.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A cluster over a folder, which ends with it.
struct Local {
    process: Child,
    /// What it said when it was ready.
    ready: String,
    address: String,
}

fn forebay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.env_remove("FOREBAY_MASTERS");
    command
}

impl Local {
    fn start(dir: &Path, mounts: &[String]) -> Self {
        let tier = format!("{}:64MiB", dir.join("tier").display());
        let mut command = forebay();
        command.args(["local", "--listen", "127.0.0.1:0", "--tier", &tier, "--dir"]).arg(dir);
        for mount in mounts {
            command.args(["--mount", mount]);
        }
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut ready = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut ready).expect("text");
        let address = ready.split_whitespace().find_map(|part| part.strip_prefix("listen="));
        let address = address.unwrap_or_else(|| panic!("not ready: {ready}")).to_owned();
        Self { process, ready, address }
    }

    fn command(&self, arguments: &[&OsStr]) -> Command {
        let mut command = forebay();
        command.args(arguments).args(["--masters", &self.address]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
        self.command(&arguments).output().expect("the binary runs")
    }

    /// What a command that must fail says.
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    }

    fn json(&self, arguments: &[&OsStr]) -> Value {
        let output = self.command(arguments).args(["--output", "json"]).output().expect("the binary runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

/// A folder for the cluster and one with files, mounted at `/data`.
fn source() -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("sub")).expect("made");
    std::fs::write(source.join("a.txt"), b"bytes").expect("written");
    let mount = format!("/data=file://{}", source.display());
    (folder, source, mount)
}

#[test]
fn a_slash_at_the_end_of_a_file_is_an_error_and_of_a_directory_is_not() {
    let (folder, _, mount) = source();
    let cluster = Local::start(&folder.path().join("state"), &[mount]);
    let target = folder.path().join("target").display().to_string();
    for arguments in [
        &["fs", "cat", "/data/a.txt/"][..],
        &["fs", "get", "/data/a.txt/", &target],
        &["fs", "stat", "/data/a.txt//"],
        &["fs", "ls", "/data/a.txt/"],
        &["load", "/data/a.txt/"],
    ] {
        let said = cluster.refusal(arguments);
        assert!(said.starts_with("error: cannot look up /data/a.txt/: it is a file"), "{said}");
    }
    assert!(!Path::new(&target).exists());
    for arguments in [
        &["fs", "ls", "/data/"][..],
        &["fs", "ls", "/"],
        &["fs", "du", "/data/sub//"],
        &["load", "/data/"],
        &["fs", "get", "-r", "/data/", &target],
    ] {
        let output = cluster.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    assert_eq!(std::fs::read(Path::new(&target).join("a.txt")).expect("there"), b"bytes");
}

#[test]
fn a_restarted_cluster_counts_the_mounts_that_it_had() {
    let (folder, source, mount) = source();
    let state = folder.path().join("state");
    let first = Local::start(&state, &[mount]);
    assert!(first.ready.contains(" mounts=1"), "{}", first.ready);
    drop(first);
    assert!(Local::start(&state, &[]).ready.contains(" mounts=1"));
    let other = folder.path().join("other");
    std::fs::create_dir(&other).expect("made");
    let again = Local::start(&state, &[format!("/other=file://{}", other.display())]);
    assert!(again.ready.contains(" mounts=2"), "{} {}", again.ready, source.display());
}

#[test]
fn names_forge_no_lines_for_people_and_lose_no_bytes_for_scripts() {
    let (folder, source, mount) = source();
    let names: [&[u8]; 3] = [b"x\n- 1 forged\x1b[2J", b"y\xfe", b"y\xff"];
    for name in names {
        std::fs::write(source.join(OsStr::from_bytes(name)), b"1").expect("written");
    }
    let cluster = Local::start(&folder.path().join("state"), &[mount]);
    let output = cluster.run(&["fs", "ls", "/data"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.contains("x\\n- 1 forged\\u{1b}[2J") && !text.contains('\x1b'), "{text}");

    let listed = cluster.json(&["fs", "ls", "/data"].map(OsStr::new));
    let listed: Vec<_> = listed["entries"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| (&entry["name"], &entry["name_hex"]))
        .collect();
    let none = Value::Null;
    let [forged, replaced] = ["x\n- 1 forged\x1b[2J", "y\u{fffd}"].map(Value::from);
    let [fe, ff] = ["79fe", "79ff"].map(Value::from);
    assert_eq!(listed[2..], [(&forged, &none), (&replaced, &fe), (&replaced, &ff)]);

    let path = OsStr::from_bytes(b"/data/y\xff");
    let stat = cluster.json(&[OsStr::new("fs"), OsStr::new("stat"), path]);
    assert_eq!(stat["path_hex"], "2f646174612f79ff");
    std::fs::remove_file(source.join(OsStr::from_bytes(b"y\xff"))).expect("removed");
    let load = cluster.json(&[OsStr::new("load"), path]);
    assert_eq!(load["paths_hex"], json!(["2f646174612f79ff"]), "{load}");
    assert_eq!(load["failures"][0]["path_hex"], "2f646174612f79ff", "{load}");

    // Errors are lines too.
    let said = cluster.refusal(&["fs", "cat", "/data/no\nerror: forged"]);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_listing_ends_quietly_when_nobody_reads_on() {
    let (folder, source, mount) = source();
    for number in 0..3000 {
        std::fs::write(source.join(format!("file-{number:050}")), b"").expect("written");
    }
    let cluster = Local::start(&folder.path().join("state"), &[mount]);
    for format in ["text", "json"] {
        let mut command = cluster.command(&["fs", "ls", "/data", "--output", format].map(OsStr::new));
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut first = [0];
        process.stdout.take().expect("piped").read_exact(&mut first).expect("a byte");
        let output = process.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{format}");
    }
}

#[test]
fn sizes_that_cannot_be_are_wrong_usage_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, tier) = (folder.path().join("state"), folder.path().join("tier"));
    let tier = |size: &str| format!("{}:{size}", tier.display());
    let (none, tiny) = (tier("0"), tier("4KiB"));
    for (process, sizes) in [
        ("local", ["--tier", &none]),
        ("worker", ["--tier", &tiny]),
        ("local", ["--ram", "4KiB"]),
        ("worker", ["--ram", "15000000TiB"]),
    ] {
        let mut command = forebay();
        command.args([process, "--listen", "127.0.0.1:0", "--dir"]).arg(&state).args(sizes);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // The first line decides: one that has started logs, and would go on for ever.
        let mut said = String::new();
        BufReader::new(child.stderr.take().expect("piped")).read_line(&mut said).expect("text");
        if !said.starts_with("error: ") {
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        }
        let code = child.wait().expect("it ends").code();
        assert!(said.starts_with("error: ") && said.contains(sizes[0]), "{process} {sizes:?}: {said}");
        assert_eq!(code, Some(2), "{process} {sizes:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

/// The permission bits of what is at a path.
fn mode_of(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777
}

/// The umask of this process, which commands inherit. Asked for without setting it, since other tests run beside.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).expect("a line of it");
    u32::from_str_radix(umask.trim(), 8).expect("octal")
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
}

#[test]
fn what_is_copied_out_gives_nobody_more_than_its_source() {
    let (folder, source, mount) = source();
    let modes =
        [("a.txt", 0o000), ("sub/b", 0o751), ("sub/deep/c", 0o604), ("sub/deep", 0o711), ("sub", 0o500)];
    std::fs::create_dir(source.join("sub/deep")).expect("made");
    for name in ["sub/b", "sub/deep/c"] {
        std::fs::write(source.join(name), b"bytes").expect("written");
    }
    for (name, mode) in modes {
        set_mode(&source.join(name), mode);
    }
    let cluster = Local::start(&folder.path().join("state"), &[mount]);
    let target = folder.path().join("target");
    for round in ["new", "again"] {
        let output = cluster.run(&["fs", "get", "-r", "/data", &target.display().to_string()]);
        assert!(output.status.success(), "{round}: {output:?}");
        for (name, mode) in modes {
            let got = mode_of(&target.join(name));
            assert_eq!(got, mode & !umask(), "{round}: {name} has {got:o}");
        }
    }
    // What was there keeps its mode, as with cp.
    set_mode(&target.join("sub"), 0o700);
    set_mode(&target.join("sub/b"), 0o600);
    let output = cluster.run(&["fs", "get", "-r", "/data", &target.display().to_string()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(["sub", "sub/b"].map(|name| mode_of(&target.join(name))), [0o700, 0o600]);
}

#[test]
fn cat_goes_on_after_what_cannot_be_read_and_names_each() {
    let (folder, source, mount) = source();
    std::os::unix::fs::symlink("a.txt", source.join("link")).expect("linked");
    let cluster = Local::start(&folder.path().join("state"), &[mount]);
    let output =
        cluster.run(&["fs", "cat", "/nope", "/data/a.txt", "/data/link", "/data/sub", "/data/a.txt"]);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b"bytesbytes"[..]), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, told) in lines.iter().zip([
        &["/nope", "`forebay fs ls`"][..],
        &["/data/link", "symbolic link to a.txt"],
        &["/data/sub", "directory", "fs get -r"],
    ]) {
        assert!(told.iter().all(|word| line.contains(word)), "{told:?} not in: {line}");
    }
}

#[test]
fn errors_about_what_is_not_there_say_where_to_look() {
    let (folder, _, mount) = source();
    let cluster = Local::start(&folder.path().join("state"), &[mount]);
    assert!(cluster.run(&["load", "/data"]).status.success());
    for (arguments, told) in [
        (&["fs", "stat", "/nope"][..], "`forebay fs ls`"),
        (&["fs", "ls", "/data/a.txt/below"], "`forebay fs ls`"),
        (&["fs", "locate", "/data/sub"], "it is a directory"),
        (&["unmount", "/nope"], "`forebay mounts`"),
        (&["job", "cancel", "1"], "`forebay job status 1`"),
    ] {
        let said = cluster.refusal(arguments);
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
}

#[test]
fn a_file_cannot_be_the_root_of_a_mount() {
    let (folder, _, mount) = source();
    let cluster = Local::start(&folder.path().join("state"), &[mount]);
    let at = folder.path().join("at");
    let said = cluster.refusal(&["fuse", "mount", &at.display().to_string(), "--path", "/data/a.txt"]);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: cannot mount /data/a.txt: it is a file"), "{said}");
}
