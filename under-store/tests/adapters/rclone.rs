//! A real S3 server for a test: `rclone serve s3` on a loopback port and folder of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub(crate) const KEY_ID: &str = "forebay";
pub(crate) const SECRET_KEY: &str = "forebay-secret";

/// A running server; it is killed when this is dropped.
pub(crate) struct Rclone {
    process: Child,
    pub(crate) endpoint: String,
    _folder: TempDir,
}

impl Rclone {
    /// Starts one with these buckets. A server that does not start fails the test.
    pub(crate) fn start(buckets: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).expect("a bucket");
        }
        let mut process = Command::new(binary())
            .args(["serve", "s3", "--config", "/dev/null", "--addr", "127.0.0.1:0", "--dir-cache-time", "1h"])
            .args(["--auth-key", &format!("{KEY_ID},{SECRET_KEY}")])
            .arg(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rclone starts");
        let log = BufReader::new(process.stderr.take().expect("piped"));
        let mut lines = log.lines().map_while(Result::ok);
        let endpoint = lines.find_map(|line| {
            let (_, rest) = line.split_once("Starting s3 server on [")?;
            Some(rest.split_once("/]")?.0.to_owned())
        });
        // The rest of the log is read, so that the server never waits for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, endpoint: endpoint.expect("rclone says where it listens"), _folder: folder }
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        self.process.kill().expect("rclone was running");
        self.process.wait().expect("rclone ended");
    }
}

fn binary() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../integration-tests/servers/install-rclone.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("the script runs");
    assert!(output.status.success(), "{script} failed");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
}
