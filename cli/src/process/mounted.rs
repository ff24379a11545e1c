//! A FUSE mount as a part of a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_client::Client;
use forebay_fuse::{FuseOptions, MountSettings};
use forebay_runtime::{Shutdown, Stage};
use forebay_types::{InodeId, NamespacePath};

use crate::failure::Failure;

/// How long the users of the mount have to leave it once the process is to stop.
const UNMOUNT_DEADLINE: Duration = Duration::from_secs(3);

/// What is to be mounted where.
pub(super) struct FuseMount {
    pub(super) mount_point: PathBuf,
    /// What is mounted, as people call it.
    pub(super) path: NamespacePath,
    pub(super) root: InodeId,
    pub(super) options: FuseOptions,
    /// Where the local worker's cache files lie, as far as it is known.
    pub(super) cache_directories: Vec<PathBuf>,
    pub(super) registry: prometheus::Registry,
}

impl FuseMount {
    /// Mounts; gives the mount point without links. The mount ends with its stage, and the process ends when somebody
    /// else takes the mount down.
    pub(super) async fn mount(
        self,
        client: &Client,
        stage: &Stage,
        shutdown: &Shutdown,
    ) -> Result<String, Failure> {
        let mounted = forebay_fuse::mount(MountSettings {
            mount_point: self.mount_point,
            root: self.root,
            options: self.options,
            namespace: Arc::new(client.clone()),
            runtime: tokio::runtime::Handle::current(),
            registry: self.registry,
            cache_directories: self.cache_directories,
        });
        let what = format!("cannot mount {} of the namespace", self.path);
        let mounted = mounted.await.map_err(|error| Failure::start(what, error))?;
        let shown = mounted.mount_point().display().to_string();
        let (token, shutdown) = (stage.token(), shutdown.clone());
        stage.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = mounted.ended() => {
                    tracing::info!("the mount was taken down from outside");
                    shutdown.request();
                }
            }
            if let Err(error) = mounted.unmount(UNMOUNT_DEADLINE).await {
                tracing::warn!(%error, "the mount stays until its users are gone");
            }
        });
        Ok(shown)
    }
}

/// The options as `-o` has them.
pub(super) fn options(words: &[String]) -> Result<FuseOptions, Failure> {
    words.join(",").parse().map_err(|error| Failure::usage(format!("-o: {error}")))
}

/// Ends the client with its stage, so that its last counters arrive.
pub(super) fn close_with(stage: &Stage, client: Client) {
    let token = stage.token();
    stage.spawn(async move {
        token.cancelled().await;
        client.close().await;
    });
}
