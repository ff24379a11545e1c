//! The S3 gateway of a Ceph cluster of one node, in memory: the server whose word on conditional reads and listings
//! counts.
//!
//! It takes some seconds to start, so all tests of a process share one, each with buckets of its own. The script that
//! starts it ends it as soon as this process is gone, however it went.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::s3_client::S3Client;
use crate::signature::{KEY_ID, SECRET_KEY};

/// A running gateway.
#[derive(Debug)]
pub struct Radosgw {
    endpoint: String,
    buckets: AtomicU32,
    /// Whose standard input is open for as long as this process lives.
    _script: Child,
}

impl Radosgw {
    /// The one of this process.
    ///
    /// # Panics
    /// When it cannot be installed or started.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Radosgw> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let servers = concat!(env!("CARGO_MANIFEST_DIR"), "/servers");
        let installed = Command::new(format!("{servers}/install-radosgw.sh")).status();
        assert!(installed.expect("the script runs").success(), "radosgw cannot be installed");
        let folder = tempfile::tempdir().expect("a folder").keep();
        let ports = free_ports();
        let mut script = Command::new(format!("{servers}/radosgw.sh"))
            .arg(&folder)
            .args(ports.map(|port| port.to_string()))
            .args([KEY_ID, SECRET_KEY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script runs");
        let mut line = String::new();
        let said = BufReader::new(script.stdout.take().expect("piped")).read_line(&mut line);
        assert!(said.is_ok() && line == "ready\n", "radosgw does not start: {line}");
        Self {
            endpoint: format!("http://127.0.0.1:{}", ports[0]),
            buckets: AtomicU32::new(0),
            _script: script,
        }
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> S3Client {
        S3Client::new(&self.endpoint)
    }

    /// Makes a bucket that nobody else has, and gives its name.
    #[must_use]
    pub fn bucket(&self) -> String {
        let bucket = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        self.client().create_bucket(&bucket);
        bucket
    }
}

/// Ports that nobody listens on now.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}
