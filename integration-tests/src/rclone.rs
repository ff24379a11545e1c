//! A real S3 server over a folder: `rclone serve s3`, quick to start and to fill with much data.
//!
//! Not for what depends on conditional reads, which it does not know: see `Radosgw`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::signature::{KEY_ID, SECRET_KEY};

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Rclone {
    process: Child,
    endpoint: String,
    folder: TempDir,
}

impl Rclone {
    /// Starts one with a bucket, which `fill` puts files into before anybody sees it.
    ///
    /// # Panics
    /// When it cannot be installed or started.
    #[must_use]
    pub fn start(bucket: &str, fill: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bucket = folder.path().join(bucket);
        std::fs::create_dir(&bucket).expect("a bucket");
        fill(&bucket);
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
        Self { process, endpoint: endpoint.expect("rclone says where it listens"), folder }
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder whose folders are the buckets.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/install-rclone.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("the script runs");
    assert!(output.status.success(), "{script} failed");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
}
