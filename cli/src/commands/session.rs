//! A command's connection to the cluster.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use forebay_client::{Client, ClientSettings};
use forebay_types::{NamespacePath, Principal};

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
    let host = forebay_runtime::host_id(settings.host_id.as_deref())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut client = ClientSettings::new(masters, host, principal());
    client.timeout = settings.timeout;
    Client::connect(client).await.map_err(|error| Failure::client("reach the cluster", &error))
}

fn principal() -> Principal {
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
