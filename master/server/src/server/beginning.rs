//! What is done once, before a master starts: its state is restored from a backup, or a folder is emptied for a new
//! cluster.

use std::fs::{DirBuilder, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forebay_metadata::snapshot::{Life, closed_mounts, next_incarnation, without_sealed_options};
use forebay_metadata::{Mutation, StateReader, StoreError};
use forebay_raft::backup::{BackupError, BackupReader};
use forebay_raft::{RaftError, RestoreError, RestoredNode, erase, has_state};
use forebay_runtime::Clock;
use forebay_types::{ClusterId, Incarnation, Timestamp};
use thiserror::Error;

use super::{KEY_FILE, PeerList};
use crate::sealing::{SealingError, SealingKey};

/// From what, and where, a master's state is restored.
#[derive(Debug)]
pub struct RestoreSettings {
    /// The backup, or what it is called where its bytes come from elsewhere.
    pub file: PathBuf,
    /// Its bytes; `None`: those of the file.
    pub content: Option<BackupContent>,
    /// The master's folder, without a state.
    pub dir: PathBuf,
    /// The master's place in the configuration.
    pub slot: u32,
    /// Host and port at which others find it.
    pub address: String,
    /// The masters of the cluster. With several the others join this one, before anything is acknowledged.
    pub peers: PeerList,
    /// The clock that the number of the new life comes from.
    pub clock: Arc<dyn Clock>,
    /// Whether mounts whose credentials cannot be opened go on without them.
    pub without_credentials: bool,
}

/// The bytes of a backup, whatever they are read from.
pub struct BackupContent(Box<dyn Read + Send>);

impl BackupContent {
    /// These, to their end.
    pub fn new(bytes: impl Read + Send + 'static) -> Self {
        Self(Box::new(bytes))
    }
}

impl std::fmt::Debug for BackupContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupContent").finish_non_exhaustive()
    }
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The cluster.
    pub cluster: ClusterId,
    /// The life that begins.
    pub incarnation: Incarnation,
    /// The moment that it begins from.
    pub taken_at: Timestamp,
}

/// Why nothing was begun. The folder is as before.
#[derive(Debug, Error)]
pub enum BeginError {
    /// There is a state where a new one was to begin from a backup.
    #[error(
        "{dir} holds the state of a master already; start without --restore to go on with it, or give another --dir"
    )]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// There is a state, and nobody said that it may go.
    #[error(
        "{dir} holds the state of a master, which --format would delete; start without --format to go on with it, or \
         say --force as well"
    )]
    NotForced {
        /// The folder.
        dir: PathBuf,
    },
    /// The backup.
    #[error("{file} cannot be restored: {source}")]
    Backup {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: BackupError,
    },
    /// What the backup has cannot be used.
    #[error("{file} cannot be restored: {source}; take another backup")]
    State {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: StoreError,
    },
    /// Credentials that cannot be opened.
    #[error(
        "the mounts {mounts} of {file} have sealed credentials, and {key} does not open them; put the cluster.key of \
         the master that took the backup there, or say --without-credentials and mount them again"
    )]
    Key {
        /// The backup.
        file: PathBuf,
        /// The mounts' paths.
        mounts: String,
        /// Where the key is looked for.
        key: PathBuf,
    },
    /// The folder.
    #[error("the master's folder {dir} cannot be used: {source}; give it a folder of its own with --dir")]
    Dir {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A database or a file in the folder.
    #[error(transparent)]
    Folder(#[from] RaftError),
    /// The key that lies there.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// No random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
}

/// Begins a new life of a cluster from a backup, in a folder without a state. The master is started afterwards.
///
/// # Errors
/// [`BeginError`]; the folder has no state then, and can be restored into.
pub async fn restore(mut settings: RestoreSettings) -> Result<Restored, BeginError> {
    let content = settings.content.take();
    let restoring = tokio::task::spawn_blocking(move || restore_now(&settings, content));
    restoring.await.map_err(|_| BeginError::Stopping)?
}

/// Deletes the state of a master so that a new cluster can begin in its folder; without `force` only where there is
/// none. The cluster's key stays, since earlier backups need it. The cluster that was there.
///
/// # Errors
/// [`BeginError`].
pub async fn format(dir: PathBuf, force: bool) -> Result<Option<ClusterId>, BeginError> {
    let formatting = move || match has_state(&dir)? {
        true if !force => Err(BeginError::NotForced { dir }),
        is_there => {
            let erased = if is_there { erase(&dir)? } else { None };
            super::log::forget_cluster(&dir).map_err(|source| BeginError::Dir { dir, source })?;
            if is_there {
                wait_for_the_next_second();
            }
            Ok(erased)
        }
    };
    tokio::task::spawn_blocking(formatting).await.map_err(|_| BeginError::Stopping)?
}

fn restore_now(settings: &RestoreSettings, content: Option<BackupContent>) -> Result<Restored, BeginError> {
    let RestoreSettings { file, dir, .. } = settings;
    let unreadable = |source| BeginError::Backup { file: file.clone(), source };
    let opened: Box<dyn Read> = match content {
        Some(BackupContent(bytes)) => bytes,
        None => Box::new(File::open(file).map_err(|error| unreadable(error.into()))?),
    };
    let backup = BackupReader::open(BufReader::with_capacity(READ_AHEAD, opened)).map_err(unreadable)?;
    let failed = |source| BeginError::Dir { dir: dir.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let mut capability_secret = [0; 32];
    getrandom::fill(&mut capability_secret).map_err(BeginError::Random)?;
    wait_for_the_next_second();
    let before = backup.description().incarnation;
    let life = Life { incarnation: next_incarnation(settings.clock.now(), Some(before)), capability_secret };
    if !settings.peers.is_one() {
        super::log::begin_forming(dir).map_err(failed)?;
    }
    let node = RestoredNode { address: settings.address.clone(), slot: settings.slot };
    let done = forebay_raft::restore(dir, backup, &life, node, |state| settings.credentials(state));
    let description = done.map_err(|error| match error {
        RestoreError::NotEmpty => BeginError::NotEmpty { dir: dir.clone() },
        RestoreError::Backup(source) => unreadable(source),
        RestoreError::State(source) => BeginError::State { file: file.clone(), source },
        RestoreError::Folder(error) => error.into(),
        RestoreError::Unwanted(error) => error,
    })?;
    // Of a life before, whose log is gone.
    super::member::forget(dir).map_err(failed)?;
    Ok(Restored {
        cluster: description.cluster,
        incarnation: life.incarnation,
        taken_at: description.taken_at,
    })
}

/// Lives are numbered by the second in which they begin, and the one before, whichever it was, may have begun in this one.
fn wait_for_the_next_second() {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    std::thread::sleep(
        Duration::from_secs(1).saturating_sub(Duration::from_nanos(since.subsec_nanos().into())),
    );
}

/// Bytes of a backup that are read at once.
const READ_AHEAD: usize = 1 << 20;

impl RestoreSettings {
    /// Sees to it that no mount is left with credentials that the key in the folder does not open: the workers could
    /// not be told of any mount then.
    fn credentials(&self, state: &dyn StateReader) -> Result<Vec<Mutation>, BeginError> {
        let key = self.key()?;
        let opens = |path: &_, sealed: &[u8]| key.as_ref().is_some_and(|key| key.open(path, sealed).is_ok());
        let state_error = |source| BeginError::State { file: self.file.clone(), source };
        let closed = closed_mounts(state, opens).map_err(state_error)?;
        if closed.is_empty() || self.without_credentials {
            return Ok(without_sealed_options(closed));
        }
        let mounts: Vec<_> = closed.iter().map(|mount| mount.path.to_string()).collect();
        Err(BeginError::Key {
            file: self.file.clone(),
            mounts: mounts.join(", "),
            key: self.dir.join(KEY_FILE),
        })
    }

    /// The key that lies in the folder, if one does.
    fn key(&self) -> Result<Option<SealingKey>, BeginError> {
        let path: &Path = &self.dir.join(KEY_FILE);
        let is_there =
            path.try_exists().map_err(|source| BeginError::Dir { dir: self.dir.clone(), source })?;
        Ok(if is_there { Some(SealingKey::open_or_create(path)?) } else { None })
    }
}

#[cfg(test)]
mod tests;
