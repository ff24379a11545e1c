//! A command's connection to the cluster.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use forebay_client::{Client, ClientError, ClientSettings, Entry, Provenance};
use forebay_fuse::FuseOptions;
use forebay_types::{EntryKind, ErrorKind, NamespacePath, Principal};

use crate::args::GlobalArguments;
use crate::failure::Failure;
use crate::settings::Settings;

/// The settings of a command and a client that has found a master.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) client: Client,
}

impl Session {
    /// Finds a master, or fails with exit code 3 after the timeout.
    pub(crate) async fn begin(global: &GlobalArguments) -> Result<Self, Failure> {
        let settings = Settings::resolve(global, toml::Table::new(), "error")?;
        forebay_runtime::init_logging(settings.log_format, &settings.log_level)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let client = connect(&settings, settings.masters.clone()).await?;
        Ok(Self { settings, client })
    }
}

/// A client that acts for the user of this process.
pub(crate) async fn connect(settings: &Settings, masters: Vec<String>) -> Result<Client, Failure> {
    connect_for(settings, masters, None).await
}

/// The same for a FUSE mount with these options, if there is to be one: it remembers what it was told of directories.
pub(crate) async fn connect_for(
    settings: &Settings,
    masters: Vec<String>,
    mount: Option<&FuseOptions>,
) -> Result<Client, Failure> {
    let host = forebay_runtime::host_id(settings.host_id.as_deref())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut client = ClientSettings::new(masters, host, principal());
    client.timeout = settings.timeout;
    if let Some(mount) = mount {
        client.readahead_memory = mount.readahead_memory;
        client.directory_memory = mount.directory_memory;
        client.look_ahead = mount.look_ahead;
        // Who wants the kernel to ask sooner wants younger answers.
        client.directory_age_max = mount.freshness.unwrap_or(Duration::MAX);
    }
    Client::connect(client).await.map_err(|error| Failure::client("reach the cluster", &error))
}

/// Who runs this process.
pub(super) fn principal() -> Principal {
    Principal {
        name: "anonymous".to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        gids: vec![rustix::process::getegid().as_raw()],
    }
}

/// A path of the namespace as it was typed: bytes, since names need not be UTF-8.
pub(crate) fn path(typed: impl AsRef<OsStr>) -> Result<NamespacePath, Failure> {
    NamespacePath::parse(typed.as_ref().as_bytes()).map_err(|error| Failure::usage(error.to_string()))
}

/// A path at which something is to be looked up, as it was typed.
#[derive(Clone, Debug)]
pub(crate) struct TypedPath {
    pub(crate) path: NamespacePath,
    /// There was a slash at its end, so only a directory will do. The path itself no longer has it.
    pub(super) needs_directory: bool,
}

impl TypedPath {
    pub(crate) fn parse(typed: impl AsRef<OsStr>) -> Result<Self, Failure> {
        let typed = typed.as_ref();
        Ok(Self { path: path(typed)?, needs_directory: typed.as_bytes().ends_with(b"/") })
    }

    /// The entry that is there.
    pub(crate) async fn resolve(&self, client: &Client) -> Result<Entry, Failure> {
        let (entry, _) = self.found(client.resolve(&self.path).await)?;
        self.check(entry.kind).map(|()| entry)
    }

    /// The same with where the answer comes from, if that is a mount.
    pub(crate) async fn look_at(&self, client: &Client) -> Result<(Entry, Option<Provenance>), Failure> {
        let (entry, provenance) = self.found(client.look_at(&self.path).await)?;
        self.check(entry.kind).map(|()| (entry, provenance))
    }

    fn found<T>(&self, found: Result<T, ClientError>) -> Result<T, Failure> {
        found.map_err(|error| {
            let kinds = [ErrorKind::NotFound, ErrorKind::NotADirectory];
            let remedy = "`forebay fs ls` shows what is there";
            Failure::client_or(format!("look up {}", self.path), &error, &kinds, remedy)
        })
    }

    fn check(&self, found: EntryKind) -> Result<(), Failure> {
        let at = &self.path;
        let what = match found {
            EntryKind::File => "file",
            EntryKind::Symlink => "symbolic link",
            EntryKind::Directory => return Ok(()),
        };
        if !self.needs_directory {
            return Ok(());
        }
        Err(Failure::new(format!(
            "cannot look up {at}/: it is a {what}, and a slash at the end means a directory; write {at}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_means_a_directory() {
        for (typed, kind, is_right) in [
            ("/a/b", EntryKind::File, true),
            ("/a/b/", EntryKind::File, false),
            ("/a/b//", EntryKind::Symlink, false),
            ("/a/b/", EntryKind::Directory, true),
            ("/", EntryKind::Directory, true),
        ] {
            let checked = TypedPath::parse(typed).expect("legal").check(kind);
            assert_eq!(checked.is_ok(), is_right, "{typed} {kind}");
        }
    }
}
