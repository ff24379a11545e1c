//! A cluster in one process (`forebay local`) over a folder of its own, with a FUSE mount if asked.

use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Output, run, run_for_bytes};
use crate::http::http_get;
use crate::process::Process;
use crate::signature::{KEY_ID, SECRET_KEY};

/// What a cluster is to be like.
#[derive(Debug, Default)]
pub struct ClusterBuilder {
    mounts: Vec<(String, String)>,
    fuse: bool,
    ram: Option<String>,
    tier: Option<String>,
    tier_folder: Option<PathBuf>,
    listen: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A cluster, its folders and its mount. All go when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    process: Option<Process>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    address: String,
    dir: TempDir,
    fuse: Option<PathBuf>,
}

impl ClusterBuilder {
    /// Attaches `uri` at `path`.
    #[must_use]
    pub fn mount(mut self, path: &str, uri: &str) -> Self {
        self.mounts.push((path.to_owned(), uri.to_owned()));
        self
    }

    /// Shows the namespace by FUSE.
    #[must_use]
    pub fn fuse(mut self) -> Self {
        self.fuse = true;
        self
    }

    /// Options of the FUSE mount, as `-o` takes them.
    #[must_use]
    pub fn fuse_options(self, options: &str) -> Self {
        self.argument("-o").argument(options)
    }

    /// Size of the RAM tier; 64MiB unless said.
    #[must_use]
    pub fn ram(mut self, size: &str) -> Self {
        self.ram = Some(size.to_owned());
        self
    }

    /// Size of the disk tier; 4GiB unless said.
    #[must_use]
    pub fn tier(mut self, size: &str) -> Self {
        self.tier = Some(size.to_owned());
        self
    }

    /// Folder of the disk tier; one of the cluster's own unless said.
    #[must_use]
    pub fn tier_folder(mut self, folder: &Path) -> Self {
        self.tier_folder = Some(folder.to_owned());
        self
    }

    /// Where it is to listen; 127.0.0.1 unless said.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start(self) -> Cluster {
        let dir = TempDir::new().expect("a folder");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let folder = self.tier_folder.map_or_else(|| path("disk"), |folder| folder.display().to_string());
        let tier = format!("{folder}:{}", self.tier.as_deref().unwrap_or("4GiB"));
        let mut arguments: Vec<String> =
            ["local", "--dir", &path("state"), "--tier", &tier].map(str::to_owned).into();
        arguments.extend(["--ram".to_owned(), self.ram.unwrap_or_else(|| "64MiB".to_owned())]);
        for (at, uri) in &self.mounts {
            arguments.extend(["--mount".to_owned(), format!("{at}={uri}")]);
        }
        let fuse = self.fuse.then(|| dir.path().join("fuse"));
        if let Some(fuse) = &fuse {
            arguments.extend(["--fuse".to_owned(), fuse.display().to_string()]);
        }
        arguments.extend(self.arguments);
        let mut cluster = Cluster {
            process: None,
            arguments,
            environment: self.environment,
            address: self.listen.unwrap_or_else(|| "127.0.0.1:0".to_owned()),
            dir,
            fuse,
        };
        cluster.start();
        cluster
    }
}

impl Cluster {
    /// What the next one is to be like.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// Starts it again, at the same address.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start(&mut self) {
        let mut arguments = self.arguments.clone();
        arguments.extend(["--listen".to_owned(), self.address.clone()]);
        let (process, ready) = Process::start("local", &arguments, &self.environment, self.dir.path());
        self.address = ready.value("listen").to_owned();
        self.process = Some(process);
    }

    /// Where the FUSE mount is.
    ///
    /// # Panics
    /// When none was asked for.
    #[must_use]
    pub fn fuse(&self) -> &Path {
        self.fuse.as_deref().expect("asked for")
    }

    /// The folder that all of it lies in: `state`, `disk`, `fuse`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("running")
    }

    /// Runs a command against it.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--masters", &self.address]);
        run(&all)
    }

    /// Runs a command against it that must succeed, and gives the bytes that it printed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run_for_bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let mut all = arguments.to_vec();
        all.extend(["--masters", &self.address]);
        run_for_bytes(&all)
    }

    /// Attaches a bucket at `path` with the key of the scenarios' servers, and with further arguments.
    #[must_use]
    pub fn mount_s3(&self, uri: &str, path: &str, endpoint: &str, further: &[&str]) -> Output {
        let options = [
            format!("endpoint={endpoint}"),
            format!("access_key_id={KEY_ID}"),
            format!("secret_access_key={SECRET_KEY}"),
        ];
        let mut arguments = vec!["mount", uri, path];
        options.iter().for_each(|option| arguments.extend(["--option", option]));
        arguments.extend(further);
        self.run(&arguments)
    }

    /// Runs a command that must succeed, and gives its JSON document.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let output = self.run(&all);
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
        serde_json::from_str(&output.stdout).expect("a document")
    }

    /// The sum of a metric over its labels, as it is now; 0 while nothing was counted.
    ///
    /// # Panics
    /// When the pages are not served.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let text = http_get(&self.address, "/metrics");
        let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok());
        text.lines().filter(of_it).filter_map(value).sum()
    }

    /// One figure of `reads` in the report, at most two seconds old.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn reads(&self, figure: &str) -> u64 {
        self.json(&["admin", "report"])["reads"][figure].as_u64().expect("a figure")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            if std::thread::panicking() {
                eprintln!("log of the cluster:\n{}", process.log_text());
            }
            process.signal(rustix::process::Signal::TERM);
            for _ in 0..200 {
                if self.fuse.as_ref().is_none_or(|fuse| !is_mounted(fuse)) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            process.kill();
        }
        if let Some(fuse) = &self.fuse {
            while is_mounted(fuse) && unmount(fuse, UnmountFlags::DETACH | UnmountFlags::FORCE).is_ok() {}
        }
        // The RAM tier is a tmpfs inside of the folder.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let inside = |line: &str| {
            line.split(' ').nth(1).map(PathBuf::from).filter(|at| at.starts_with(self.dir.path()))
        };
        for at in mounts.lines().filter_map(inside) {
            let _ = unmount(&at, UnmountFlags::DETACH);
        }
    }
}

fn is_mounted(at: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1).map(Path::new) == Some(at))
}
