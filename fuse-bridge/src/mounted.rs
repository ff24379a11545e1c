//! A mount from its begin to its end: made ready, served by threads, unmounted by us or by anybody else.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fuser::{Config, Session, SessionACL};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::answers::Answers;
use crate::bridge::{Bridge, Shared};
use crate::changes::Teller;
use crate::errno;
use crate::error::FuseError;
use crate::kernel_mount::{self, Unmount};
use crate::limits::{JOIN_DEADLINE, UNMOUNT_PAUSE};
use crate::metrics::{Collectors, Metrics};
use crate::mount_point;
use crate::mount_table::{mount_at, without_links};
use crate::namespace::Namespace;
use crate::notices::Notices;
use crate::passthrough::{PassthroughState, ReadMode, stack_depth};
use crate::settings::{FuseOptions, MountSettings};

/// A mount that serves. Dropping it detaches the mount point without waiting for anybody.
#[derive(Debug)]
pub struct MountedFuse {
    /// Without links.
    mount_point: PathBuf,
    /// The kernel's number for our file system, by which the mount point is known to be still ours.
    device: Option<String>,
    passthrough: Arc<PassthroughState>,
    answers: Arc<Answers>,
    /// True once the kernel has let go and the threads have ended.
    ended: watch::Receiver<bool>,
}

/// Mounts a directory of the namespace; what is returned serves already. If the call is given up, the mount is taken
/// down again.
///
/// # Errors
/// [`FuseError`], with what to do about it.
pub async fn mount<N: Namespace>(settings: MountSettings<N>) -> Result<MountedFuse, FuseError> {
    let inode = settings.root;
    let root = settings.namespace.ask_attributes(inode).await;
    let root = root.map_err(|error| FuseError::Root { inode, kind: error.kind, reason: error.message })?;
    let (metrics, collectors) = Metrics::new()?;
    let shared = Arc::new(Shared::new(&settings, metrics, &root)?);
    let attached = spawn_blocking(move || attach(&settings, &shared, collectors)).await;
    attached.unwrap_or_else(|defect| std::panic::resume_unwind(defect.into_panic()))
}

/// Unmounts what another process of ours serves at `path`, or has left there dead. May wait for the kernel; not for
/// the async world.
///
/// # Errors
/// [`FuseError::MountPoint`] if no mount of Forebay lies there or somebody uses it.
pub fn unmount_at(path: &Path) -> Result<(), FuseError> {
    let refuse = |problem: &str, remedy: &str| FuseError::MountPoint {
        mount_point: path.to_owned(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    };
    let target = without_links(path).map_err(FuseError::io("finding the mount point", path))?;
    let line = mount_at(&target).map_err(FuseError::io("reading the mount table", path))?;
    if !line.is_some_and(|line| line.is_forebay()) {
        return Err(refuse(
            "is no mount of Forebay",
            "`forebay fuse umount` takes the directory that was mounted on",
        ));
    }
    match kernel_mount::unmount(&target, Unmount::Gently) {
        Ok(()) => Ok(()),
        Err(error) if errno::is_busy(&error) => Err(refuse(
            "is in use",
            "close what is open there (see `fuser -vm DIR`), or detach it with `umount -l DIR`",
        )),
        Err(error) => Err(FuseError::io("unmounting", path)(error)),
    }
}

fn attach<N: Namespace>(
    settings: &MountSettings<N>,
    shared: &Arc<Shared<N>>,
    collectors: Collectors,
) -> Result<MountedFuse, FuseError> {
    let options = &settings.options;
    let target = mount_point::prepare(&settings.mount_point)?;
    let device = kernel_mount::mount(&target, options)?;
    let (sender, ended) = watch::channel(false);
    // From here on its end takes the mount down.
    let mut mounted = MountedFuse {
        mount_point: target,
        device: None,
        passthrough: Arc::clone(&shared.passthrough),
        answers: Arc::clone(&shared.answers),
        ended,
    };
    let path = &mounted.mount_point;
    let line = mount_at(path).map_err(FuseError::io("reading the mount table", path))?;
    mounted.device = line.filter(|line| line.is_forebay()).map(|line| line.device);
    let bridge = Bridge::new(Arc::clone(shared), stack_depth(&settings.cache_directories));
    let session = begin(bridge, device, options).map_err(FuseError::io("beginning the session", path))?;
    shared.passthrough.probe(&session);
    let notices =
        Notices::new(&session, path.clone()).map_err(FuseError::io("using the session of", path))?;
    let notices = Arc::clone(shared.notices.get_or_init(|| Arc::new(notices)));
    let mut teller = Teller::new(Arc::clone(shared), notices);
    teller.probe();
    shared.answers.spawn(teller.run(settings.namespace.follow_changes()));
    shared.answers.spawn(Arc::clone(shared).give_back_resting());
    shared.answers.spawn(Arc::clone(shared).look_after_listings());
    let serve = move || {
        if let Err(error) = session.run() {
            tracing::warn!(%error, "the FUSE session ended");
        }
        sender.send_replace(true);
    };
    let thread = thread::Builder::new().name("fuse-session".to_owned());
    thread.spawn(serve).map_err(FuseError::io("starting the session's thread", path))?;
    mounted.set_read_ahead(options.read_ahead_kib);
    mounted.register(collectors, &settings.registry)?;
    tracing::info!(mount_point = %mounted.mount_point.display(), passthrough = %mounted.read_mode(), "mounted");
    Ok(mounted)
}

fn begin<N: Namespace>(
    bridge: Bridge<N>,
    device: OwnedFd,
    options: &FuseOptions,
) -> io::Result<Session<Bridge<N>>> {
    let acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(options.threads.max(1));
    config.clone_fd = true;
    Session::from_fd(bridge, device, acl, config)
}

impl MountedFuse {
    /// Where it is mounted, without links.
    #[must_use]
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// How complete files are read now.
    #[must_use]
    pub fn read_mode(&self) -> ReadMode {
        self.passthrough.mode()
    }

    /// Ends when the mount has: somebody unmounted it, perhaps with `fusermount3 -u`. Cancel safe.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // The sender is gone only after it said so, or after its thread died: an end either way.
        ended.wait_for(|ended| *ended).await.map(drop).unwrap_or_default();
    }

    /// Unmounts: gently while there is time, then so that those who still use the mount may go on until the process
    /// ends. Then waits for what is still being answered. Dropped before its end, it detaches without waiting.
    ///
    /// # Errors
    /// [`FuseError::Io`] if the kernel refuses.
    pub async fn unmount(self, deadline: Duration) -> Result<(), FuseError> {
        let until = Instant::now() + deadline;
        while self.is_ours() {
            match self.detach(Unmount::Gently).await {
                Ok(()) => {
                    self.wait_for_end().await;
                    break;
                }
                Err(error) if errno::is_busy(&error) && Instant::now() < until => {
                    tokio::time::sleep(UNMOUNT_PAUSE).await;
                }
                Err(error) if errno::is_busy(&error) => {
                    let mount_point = self.mount_point.display();
                    tracing::warn!(%mount_point, "still in use; detached, and gone for its users with this process");
                    self.detach(Unmount::Lazily)
                        .await
                        .map_err(FuseError::io("detaching", &self.mount_point))?;
                    break;
                }
                // Somebody else was faster.
                Err(_) if !self.is_ours() => break,
                Err(error) => return Err(FuseError::io("unmounting", &self.mount_point)(error)),
            }
        }
        self.answers.end(JOIN_DEADLINE).await;
        Ok(())
    }

    async fn detach(&self, how: Unmount) -> io::Result<()> {
        let mount_point = self.mount_point.clone();
        let outcome = spawn_blocking(move || kernel_mount::unmount(&mount_point, how)).await;
        outcome.unwrap_or_else(|defect| Err(io::Error::other(defect)))
    }

    /// The session outlives the unmount where another mount namespace has a copy of the mount.
    async fn wait_for_end(&self) {
        if tokio::time::timeout(JOIN_DEADLINE, self.ended()).await.is_err() {
            tracing::warn!(mount_point = %self.mount_point.display(), "unmounted, but used elsewhere still");
        }
    }

    /// Whether what one sees at the mount point is still this mount, and not one that somebody made there since.
    fn is_ours(&self) -> bool {
        if *self.ended.borrow() {
            return false;
        }
        let seen = mount_at(&self.mount_point).ok().flatten();
        seen.is_some_and(|line| {
            line.is_forebay() && self.device.as_ref().is_none_or(|own| *own == line.device)
        })
    }

    /// The kernel starts with 128 KiB whatever a session asks for; only root may change it.
    fn set_read_ahead(&self, kib: u32) {
        let Some(device) = self.device.as_ref().filter(|_| rustix::process::geteuid().is_root()) else {
            return;
        };
        let setting = format!("/sys/class/bdi/{device}/read_ahead_kb");
        if let Err(error) = std::fs::write(&setting, kib.to_string()) {
            tracing::debug!(%setting, %error, "the kernel's readahead stays as it is");
        }
    }

    fn register(&self, collectors: Collectors, registry: &Registry) -> Result<(), FuseError> {
        Ok(collectors.register(registry)?)
    }
}

impl Drop for MountedFuse {
    fn drop(&mut self) {
        if self.is_ours()
            && let Err(error) = kernel_mount::unmount(&self.mount_point, Unmount::Lazily)
        {
            tracing::warn!(mount_point = %self.mount_point.display(), %error, "the mount could not be taken off");
        }
    }
}
