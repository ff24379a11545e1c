//! The state of a cluster is backed up to a bucket of a real S3 server and restored from it. What could not be written whole is
//! not there, and what is no whole backup, or one of a later version, begins no cluster.

use std::fs;
use std::path::Path;

use forebay_integration_tests::{
    Fault, FaultProxy, KEY_ID, Output, Process, Radosgw, Rclone, SECRET_KEY, run, run_with, write_file,
};
use forebay_types::crc32c;
use serde_json::Value;

/// Directories, and files in all of them, whose names make the state longer than a part of an upload.
const DIRECTORIES: usize = 10;
const FILES: usize = 14_000;
const NAME_LENGTH: usize = 200;
/// A part of an upload, in bytes.
const PART_LENGTH: u64 = 8 << 20;

fn ok(output: &Output) {
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
}

fn refused(output: &Output, with: &[&str]) {
    assert_eq!(output.code, 1, "{}{}", output.stdout, output.stderr);
    for part in with {
        assert!(output.stderr.contains(part), "{} should say `{part}`", output.stderr);
    }
}

/// Masters in folders of one place, one at a time.
struct World {
    dir: tempfile::TempDir,
    master: Option<(Process, String)>,
}

impl World {
    fn start() -> Self {
        let mut world = Self { dir: tempfile::tempdir().expect("a folder"), master: None };
        world.begin("master", &[], &[]);
        world
    }

    fn arguments(&self, folder: &str, further: &[String]) -> Vec<String> {
        let folder = self.dir.path().join(folder).display().to_string();
        let own = ["master", "--dir", &folder, "--listen", "127.0.0.1:0"].map(str::to_owned);
        own.into_iter().chain(further.iter().cloned()).collect()
    }

    /// Another master in the place of the one before.
    fn begin(&mut self, folder: &str, further: &[String], environment: &[(&str, &str)]) {
        self.master = None;
        let arguments = self.arguments(folder, further);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Vec<_> = environment.iter().map(owned).collect();
        let (process, ready) = Process::start("master", &arguments, &environment, self.dir.path());
        self.master = Some((process, ready.value("listen").to_owned()));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let (_, address) = self.master.as_ref().expect("one runs");
        run(&[arguments, &["--masters", address]].concat())
    }

    fn backup(&self, uri: &str, endpoint: &str, further: &[&str]) -> Output {
        let options = options(endpoint);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        self.run(&[&["admin", "backup", uri], &options[..], further].concat())
    }

    /// Has the state take more than one part.
    fn fill(&self) {
        let source = self.dir.path().join("source");
        let directory = |number: usize| source.join(format!("d{}", number % DIRECTORIES));
        (0..DIRECTORIES).for_each(|number| fs::create_dir_all(directory(number)).expect("made"));
        for number in 0..FILES {
            fs::write(directory(number).join(format!("{number:0NAME_LENGTH$}")), b"").expect("written");
        }
        ok(&self.run(&[
            "mount",
            &format!("file://{}", source.display()),
            "/data",
            "--freshness",
            "immutable",
        ]));
        assert_eq!(self.files(), FILES as u64);
    }

    fn files(&self) -> u64 {
        let output = self.run(&["fs", "du", "/data", "--output", "json"]);
        ok(&output);
        let document: Value = serde_json::from_str(&output.stdout).expect("a document");
        document["files"].as_u64().expect("a figure")
    }
}

fn options(endpoint: &str) -> Vec<String> {
    let all = [
        format!("endpoint={endpoint}"),
        format!("access_key_id={KEY_ID}"),
        format!("secret_access_key={SECRET_KEY}"),
    ];
    all.into_iter().flat_map(|option| ["--option".to_owned(), option]).collect()
}

fn object(bucket: &str, key: &str, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let take = |_, piece: &[u8]| bytes.extend_from_slice(piece);
    Radosgw::shared().client().get_range(bucket, key, 0..length, take);
    bytes
}

#[test]
fn a_backup_to_a_bucket_is_restored_from_it() {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    let mut world = World::start();
    world.fill();
    let uri = format!("s3://{bucket}/backups/one");
    let proxy = FaultProxy::start(server.endpoint());
    let output = world.backup(&uri, &proxy.endpoint(), &["--output", "json"]);
    ok(&output);
    let said: Value = serde_json::from_str(&output.stdout).expect("a document");
    let length = said["length_bytes"].as_u64().expect("a length");
    assert!(length > PART_LENGTH, "{said}");
    assert_eq!(said["file"], uri.as_str());
    let parts = proxy.exchanges().iter().filter(|of| of.target.contains("partNumber=")).count();
    assert_eq!(parts as u64, length.div_ceil(PART_LENGTH), "it came in parts: {said}");
    // It is what a backup to a file is, but for its moment.
    let bytes = object(&bucket, "backups/one", length);
    assert!(bytes.starts_with(b"FBBACKUP"));
    assert!(!bytes.windows(SECRET_KEY.len()).any(|part| part == SECRET_KEY.as_bytes()));

    refused(&world.backup(&uri, server.endpoint(), &[]), &["the object exists", "--force"]);
    ok(&world.backup(&uri, server.endpoint(), &["--force"]));

    let mut further = vec!["--restore".to_owned(), uri.clone()];
    further.extend(options(server.endpoint()));
    world.begin("restored", &further, &[]);
    assert_eq!(world.files(), FILES as u64);
    // The same with what the environment says.
    let environment = [
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    world.begin("by-environment", &["--restore".to_owned(), uri], &environment);
    assert_eq!(world.files(), FILES as u64);
}

#[test]
fn a_read_that_breaks_off_in_the_midst_of_a_restore_goes_on_behind_it() {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    let mut world = World::start();
    world.fill();
    let uri = format!("s3://{bucket}/one");
    ok(&world.backup(&uri, server.endpoint(), &[]));
    let proxy = FaultProxy::start(server.endpoint());
    proxy.fail("/one", Fault::CutAfter(3 << 20), Some(2));
    let mut further = vec!["--restore".to_owned(), uri];
    further.extend(options(&proxy.endpoint()));
    world.begin("restored", &further, &[]);
    assert_eq!(world.files(), FILES as u64);
    assert_eq!(proxy.object_gets(), 3);
}

#[test]
fn what_could_not_be_written_whole_is_not_there_and_leaves_no_parts() {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    let world = World::start();
    world.fill();
    let proxy = FaultProxy::start(server.endpoint());
    let uri = format!("s3://{bucket}/one");
    ok(&world.backup(&uri, server.endpoint(), &[]));
    let before = head(&bucket);
    proxy.fail_puts("partNumber=2", Fault::Status(403), None);
    let output = world.backup(&uri, &proxy.endpoint(), &["--force"]);
    refused(&output, &["cannot be written", "planted"]);
    let exchanges = proxy.exchanges();
    let aborts = exchanges.iter().filter(|of| of.method == "DELETE" && of.target.contains("uploadId="));
    assert_eq!(aborts.map(|of| of.status).collect::<Vec<_>>(), [204], "{exchanges:?}");
    assert_eq!(head(&bucket), before, "what was there is there");
    // An address where nobody is, a bucket that is not there, and what is no place.
    let missing = world.backup("s3://no-such-bucket/one", server.endpoint(), &["--force"]);
    refused(&missing, &["s3://no-such-bucket/one"]);
    for wrong in ["s3://bucket", "file:///tmp/one"] {
        assert_eq!(world.run(&["admin", "backup", wrong]).code, 2, "{wrong}");
    }
}

/// The first bytes of the one object and how many keys there are.
fn head(bucket: &str) -> (Vec<u8>, usize) {
    let (keys, _) = Radosgw::shared().client().list_page(bucket, "", None);
    (object(bucket, "one", 4096), keys)
}

#[test]
fn a_second_server_takes_and_gives_backups_too() {
    let rclone = Rclone::start("bucket", |_| {});
    let mut world = World::start();
    world.fill();
    ok(&world.backup("s3://bucket/backups/one", rclone.endpoint(), &[]));
    refused(&world.backup("s3://bucket/backups/one", rclone.endpoint(), &[]), &["the object exists"]);
    let mut further = vec!["--restore".to_owned(), "s3://bucket/backups/one".to_owned()];
    further.extend(options(rclone.endpoint()));
    world.begin("restored", &further, &[]);
    assert_eq!(world.files(), FILES as u64);
}

#[test]
fn a_backup_that_is_damaged_cut_off_or_of_a_later_version_begins_no_cluster() {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    let world = World::start();
    write_file(&world.dir.path().join("source/f"), 1, 1000);
    ok(&world.run(&["fs", "mkdir", "-p", "/kept/below"]));
    let file = world.dir.path().join("backup");
    ok(&world.run(&["admin", "backup", &file.display().to_string()]));
    let whole = fs::read(&file).expect("there");
    let mut later = whole.clone();
    later[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let sum = crc32c::crc32c(&later[..12]);
    later[12..16].copy_from_slice(&sum.to_le_bytes());
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let middle = whole.len() / 2;
    for (name, bytes, words) in [
        ("later", later, &["it has format 2", "upgrade Forebay"][..]),
        ("flipped", damaged(middle), &["damaged at byte", "take another backup"]),
        ("flipped-at-the-begin", damaged(9), &["damaged at byte 0"]),
        ("cut-off", whole[..whole.len() - 1].to_vec(), &["ends too early", "take another backup"]),
        ("longer", [&whole[..], b"x"].concat(), &["bytes follow its end"]),
        ("foreign", b"not a backup at all, and long enough".to_vec(), &["no backup of Forebay"]),
    ] {
        let path = world.dir.path().join(name).display().to_string();
        fs::write(&path, &bytes).expect("written");
        server.client().put(&bucket, name, &bytes);
        let uri = format!("s3://{bucket}/{name}");
        for (place, options) in [(&path, Vec::new()), (&uri, options(server.endpoint()))] {
            let mut further = vec!["--restore".to_owned(), place.clone()];
            further.extend(options);
            let arguments = world.arguments("empty", &further);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            refused(&run(&arguments), &[&[place.as_str()], words].concat());
            assert!(is_without_state(&world.dir.path().join("empty")), "{place}");
        }
    }
    let uri = format!("s3://{bucket}/none");
    let arguments = world.arguments("empty", &["--restore".to_owned(), uri]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let environment = [
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    refused(&run_with(&environment, &arguments), &["there is no such object"]);
    // In the same folder a whole one is taken.
    let mut world = world;
    world.begin("empty", &["--restore".to_owned(), file.display().to_string()], &[]);
    ok(&world.run(&["fs", "stat", "/kept/below"]));
}

/// Whether a restore that was refused left nothing that a master would take for a state.
fn is_without_state(folder: &Path) -> bool {
    let has = |part: &str| folder.join(part).exists();
    let states = fs::read_dir(folder.join("state")).into_iter().flatten().flatten();
    !has("log") && !has("snapshots") && states.map(|of| of.file_name()).all(|name| name != "1")
}
