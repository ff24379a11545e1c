//! The under-stores of the mounts, connected at first use, with the credentials that only masters and workers see.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use forebay_metadata::{MountOptions, OptionValue};
use forebay_proto::OptionSource;
use forebay_types::{ErrorKind, MountId, NamespacePath, UnderStoreScheme, UnderStoreUri};
use forebay_under_store::{UnderStore, UnderStoreError, connect, is_secret};
use parking_lot::Mutex;
use thiserror::Error;

use crate::sealing::{SealingError, SealingKey};

/// What is connected.
#[derive(Debug)]
pub(crate) struct UnderStores {
    sealing: SealingKey,
    /// What `env:NAME` refers to.
    environment: BTreeMap<String, String>,
    /// Where this process keeps its own files.
    own_folders: Vec<PathBuf>,
    /// Held only to look up or to insert; connecting does no IO.
    connected: Mutex<HashMap<MountId, Connection>>,
}

#[derive(Debug)]
struct Connection {
    store: Arc<dyn UnderStore>,
    /// Why the last request failed; `None` when it did not.
    failure: Option<String>,
}

/// Why an under-store could not be connected.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The under-store or its options.
    #[error(transparent)]
    UnderStore(#[from] UnderStoreError),
    /// A sealed credential.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// A reference that leads nowhere.
    #[error("the option `{option}` refers to `{reference}`, which {problem}")]
    Reference {
        /// The option.
        option: String,
        /// The reference.
        reference: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A local directory in which this cluster keeps its own files.
    #[error(
        "{uri} lies in {folder}, where Forebay keeps its own files; mount another directory, or move that one with --dir"
    )]
    OwnFolder {
        /// What was to be mounted.
        uri: UnderStoreUri,
        /// The folder.
        folder: String,
    },
}

impl UnderStores {
    pub(crate) fn new(
        sealing: SealingKey,
        environment: BTreeMap<String, String>,
        own_folders: Vec<PathBuf>,
    ) -> Self {
        Self { sealing, environment, own_folders, connected: Mutex::default() }
    }

    /// The options as they are logged: secrets sealed. A plain value of a secret option counts as a secret.
    pub(crate) fn seal(
        &self,
        path: &NamespacePath,
        options: BTreeMap<String, OptionSource>,
    ) -> Result<BTreeMap<String, OptionValue>, SealingError> {
        let seal = |(name, source): (String, OptionSource)| {
            let value = match source {
                OptionSource::Reference(reference) => OptionValue::Reference(reference),
                OptionSource::Plain(value) if !is_secret(&name) => OptionValue::Plain(value),
                OptionSource::Plain(value) | OptionSource::Secret(value) => {
                    OptionValue::Sealed(self.sealing.seal(path, &value)?)
                }
            };
            Ok((name, value))
        };
        options.into_iter().map(seal).collect()
    }

    /// The options as a worker gets them: secrets opened, references left for it to follow.
    pub(crate) fn for_worker(
        &self,
        path: &NamespacePath,
        options: &MountOptions,
    ) -> Result<BTreeMap<String, OptionSource>, SealingError> {
        let open = |(name, value): (&String, &OptionValue)| {
            let source = match value {
                OptionValue::Plain(value) => OptionSource::Plain(value.clone()),
                OptionValue::Reference(reference) => OptionSource::Reference(reference.clone()),
                OptionValue::Sealed(sealed) => OptionSource::Secret(self.sealing.open(path, sealed)?),
            };
            Ok((name.clone(), source))
        };
        options.options.iter().map(open).collect()
    }

    /// A connection that belongs to no mount yet, to look whether one is possible.
    pub(crate) fn try_connect(
        &self,
        path: &NamespacePath,
        uri: &UnderStoreUri,
        options: &MountOptions,
    ) -> Result<Arc<dyn UnderStore>, ConnectError> {
        let mut values = BTreeMap::new();
        for (name, value) in &options.options {
            let value = match value {
                OptionValue::Plain(value) => value.clone(),
                OptionValue::Sealed(sealed) => self.sealing.open(path, sealed)?,
                OptionValue::Reference(reference) => self.follow(name, reference)?,
            };
            values.insert(name.clone(), value);
        }
        // Whoever mounts has added its own environment already; that of this process must not mix in.
        Ok(connect(uri, &values, &BTreeMap::new())?)
    }

    /// Refuses the folders of this process: a cache that grows with each read of it, and the cluster's key, are nobody's
    /// data. A directory above may be mounted: it is somebody's, and the rights of the files in it hold. May be slow
    /// where the directory's server is.
    pub(crate) async fn refuse_own_folder(&self, uri: &UnderStoreUri) -> Result<(), ConnectError> {
        if uri.scheme() != UnderStoreScheme::File {
            return Ok(());
        }
        let Ok(root) = tokio::fs::canonicalize(format!("/{}", uri.path())).await else { return Ok(()) };
        for own in &self.own_folders {
            if tokio::fs::canonicalize(own).await.is_ok_and(|own| root.starts_with(own)) {
                return Err(ConnectError::OwnFolder { uri: uri.clone(), folder: own.display().to_string() });
            }
        }
        Ok(())
    }

    /// The connection of a mount, made at first use.
    pub(crate) fn of_mount(
        &self,
        mount: MountId,
        path: &NamespacePath,
        uri: &UnderStoreUri,
        options: &MountOptions,
    ) -> Result<Arc<dyn UnderStore>, ConnectError> {
        if let Some(connection) = self.connected.lock().get(&mount) {
            return Ok(Arc::clone(&connection.store));
        }
        let store = self.try_connect(path, uri, options)?;
        let mut connected = self.connected.lock();
        let connection = connected.entry(mount).or_insert(Connection { store, failure: None });
        Ok(Arc::clone(&connection.store))
    }

    /// Remembers how the last request to a mount's under-store went.
    pub(crate) fn note(&self, mount: MountId, failure: Option<String>) {
        if let Some(connection) = self.connected.lock().get_mut(&mount) {
            connection.failure = failure;
        }
    }

    /// Why the last request to a mount's under-store failed.
    pub(crate) fn failure(&self, mount: MountId) -> Option<String> {
        self.connected.lock().get(&mount).and_then(|connection| connection.failure.clone())
    }

    /// Requests made to a mount's under-store by this master.
    pub(crate) fn requests(&self, mount: MountId) -> u64 {
        let connected = self.connected.lock();
        connected.get(&mount).map_or(0, |connection| {
            let counts = connection.store.statistics().counts();
            counts.list_requests + counts.head_requests + counts.get_requests
        })
    }

    /// Drops the connection of a mount that is gone.
    pub(crate) fn forget(&self, mount: MountId) {
        self.connected.lock().remove(&mount);
    }

    /// What `env:NAME` or `file:PATH` holds, read anew at each connection so that a rotated secret is taken up.
    fn follow(&self, option: &str, reference: &str) -> Result<String, ConnectError> {
        let problem = |problem: String| ConnectError::Reference {
            option: option.to_owned(),
            reference: reference.to_owned(),
            problem,
        };
        match reference.split_once(':') {
            Some(("env", name)) => self
                .environment
                .get(name)
                .cloned()
                .ok_or_else(|| problem("is not set for the master".to_owned())),
            Some(("file", path)) => std::fs::read_to_string(path)
                .map(|value| value.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| problem(format!("cannot be read by the master: {error}"))),
            _ => Err(problem("is neither env:NAME nor file:PATH".to_owned())),
        }
    }
}

impl ConnectError {
    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnderStore(error) => error.kind(),
            Self::Sealing(error) => error.kind(),
            Self::Reference { .. } | Self::OwnFolder { .. } => ErrorKind::InvalidArgument,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores(dir: &std::path::Path) -> UnderStores {
        let sealing = SealingKey::open_or_create(&dir.join("key")).expect("a key");
        UnderStores::new(
            sealing,
            BTreeMap::from([("NAME".to_owned(), "value".to_owned())]),
            vec![dir.join("own")],
        )
    }

    #[test]
    fn secrets_are_sealed_for_the_log_and_opened_for_a_worker() {
        let dir = tempfile::tempdir().expect("a folder");
        let (stores, path) = (stores(dir.path()), "/a".parse().expect("legal"));
        let given = BTreeMap::from([
            ("secret_access_key".to_owned(), OptionSource::Plain("hush".to_owned())),
            ("region".to_owned(), OptionSource::Plain("near".to_owned())),
        ]);
        let logged = stores.seal(&path, given).expect("sealed");
        assert!(matches!(logged["secret_access_key"], OptionValue::Sealed(_)));
        assert_eq!(logged["region"], OptionValue::Plain("near".to_owned()));
        let options = MountOptions { options: logged, ..MountOptions::default() };
        let sent = stores.for_worker(&path, &options).expect("opened");
        assert_eq!(sent["secret_access_key"], OptionSource::Secret("hush".to_owned()));
    }

    #[test]
    fn references_are_followed_or_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let stores = stores(dir.path());
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "from a file\n").expect("written");
        assert_eq!(stores.follow("o", "env:NAME").expect("set"), "value");
        assert_eq!(stores.follow("o", &format!("file:{}", secret.display())).expect("there"), "from a file");
        for wrong in ["env:OTHER", "file:/nowhere/at/all", "plain"] {
            let error = stores.follow("o", wrong).expect_err("leads nowhere").to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
    #[tokio::test]
    async fn a_folder_of_the_cluster_itself_is_refused_also_through_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let stores = stores(dir.path());
        std::fs::create_dir_all(dir.path().join("own/worker/cache")).expect("made");
        std::os::unix::fs::symlink("own/worker", dir.path().join("link")).expect("linked");
        let refuse = async |below: &str| {
            let uri = format!("file://{}{below}", dir.path().display()).parse().expect("legal");
            stores.refuse_own_folder(&uri).await
        };
        for own in ["/own", "/own/worker/cache", "/link"] {
            let error = refuse(own).await.expect_err("refused");
            assert!(error.to_string().contains("keeps its own files"), "{error}");
        }
        for other in ["", "/owner", "/missing"] {
            assert!(refuse(other).await.is_ok(), "{other}");
        }
    }
}
