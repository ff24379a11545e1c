//! A mounted tree that is unmounted when the test ends, however it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_fuse::{FuseError, FuseOptions, MountSettings, MountedFuse, mount};
use forebay_types::InodeId;
use prometheus::{Registry, TextEncoder};
use rustix::mount::MountFlags;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::tree::Tree;

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A mounted tree.
pub(crate) struct Fixture {
    pub(crate) tree: Arc<Tree>,
    pub(crate) registry: Registry,
    // In this order: first the mount goes, then what serves it, then the directory.
    pub(crate) mounted: Option<MountedFuse>,
    pub(crate) runtime: Runtime,
    folder: TempDir,
}

/// A test of mounts fails where nothing can be mounted.
pub(crate) fn expect_mounts() {
    let can = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
    assert!(can, "tests of mounts need root and /dev/fuse");
}

impl Fixture {
    pub(crate) fn new(tree: &Arc<Tree>) -> Self {
        Self::with(tree, FuseOptions::default())
    }

    pub(crate) fn with(tree: &Arc<Tree>, options: FuseOptions) -> Self {
        expect_mounts();
        let runtime = runtime();
        let folder = tempfile::tempdir().expect("made");
        let registry = Registry::new();
        let settings = settings(tree, folder.path(), options, &runtime, &registry);
        let mounted = runtime.block_on(mount(settings)).expect("mounted");
        Self { tree: Arc::clone(tree), registry, mounted: Some(mounted), runtime, folder }
    }

    /// Where the tree's entry is seen.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The value of a counter or gauge, written as the metrics page has it.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).expect("written");
        let value = text.lines().find_map(|of| of.strip_prefix(line)?.strip_prefix(' ')).expect("known");
        value.parse().expect("a number")
    }

    /// Makes the kernel forget all names that nobody uses; it does so on a remount.
    pub(crate) fn shrink(&self) {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
        rustix::mount::mount_remount(self.root(), flags, "").expect("remounted");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.tree.set_stalled(false);
        if let Some(mounted) = self.mounted.take() {
            let unmounted = self.runtime.block_on(mounted.unmount(Duration::from_secs(1)));
            if !std::thread::panicking() {
                unmounted.expect("unmounted");
            }
        }
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("started")
}

pub(crate) fn settings(
    tree: &Arc<Tree>,
    mount_point: &Path,
    options: FuseOptions,
    runtime: &Runtime,
    registry: &Registry,
) -> MountSettings<Tree> {
    MountSettings {
        mount_point: mount_point.to_owned(),
        root: InodeId::ROOT,
        options,
        namespace: Arc::clone(tree),
        runtime: runtime.handle().clone(),
        registry: registry.clone(),
        cache_directories: Vec::new(),
    }
}

/// Mounts the tree and gives what came of it, with a runtime that must outlive it.
pub(crate) fn try_mount(tree: &Arc<Tree>, at: &Path) -> (Result<MountedFuse, FuseError>, Runtime) {
    let runtime = runtime();
    let settings = settings(tree, at, FuseOptions::default(), &runtime, &Registry::new());
    (runtime.block_on(mount(settings)), runtime)
}

/// Waits until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it never came that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

/// The name of the error number that the kernel gave.
pub(crate) fn errno<T>(outcome: io::Result<T>) -> rustix::io::Errno {
    let error = outcome.err().expect("an error");
    rustix::io::Errno::from_io_error(&error).expect("an error of the kernel")
}

/// Bytes that differ at each place and from seed to seed.
pub(crate) fn content(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|at| {
            seed ^ u8::try_from(at % 251).expect("small") ^ u8::try_from(at / 251 % 256).expect("small")
        })
        .collect()
}
