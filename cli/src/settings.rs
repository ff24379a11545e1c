//! Settings of the binary: the file, the environment and the flags joined, checked, and turned into real types.
//!
//! One place knows all keys; docs/config.md lists them and a test compares.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use forebay_master::Reads;
use forebay_runtime::LogFormat;
use forebay_runtime::config::{self, adapter};
use forebay_types::{ByteCount, parse_positive_duration};
use serde::Deserialize;

use crate::args::GlobalArguments;
use crate::failure::Failure;

/// Variables that begin with FOREBAY_ and are read elsewhere: by the Makefile, by tests, or under an older spelling.
const KNOWN_VARIABLES: [&str; 3] = ["FOREBAY_BIN", "FOREBAY_MASTERS", "FOREBAY_COMMIT"];

/// What a file may contain.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileConfig {
    pub(crate) log: LogConfig,
    pub(crate) client: ClientConfig,
    pub(crate) node: NodeConfig,
    pub(crate) local: LocalConfig,
    pub(crate) master: MasterConfig,
    pub(crate) worker: WorkerConfig,
    pub(crate) fuse: FuseConfig,
    pub(crate) under_store: UnderStoreConfig,
}

/// `[log]`: what is written to stderr.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    level: Option<String>,
    format: Option<String>,
}

/// `[client]`: how a command or a mount finds the cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClientConfig {
    masters: Vec<String>,
    #[serde(deserialize_with = "adapter::optional_positive_duration")]
    timeout: Option<Duration>,
}

/// `[node]`: the machine that the process runs on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodeConfig {
    host_id: Option<String>,
    insecure: bool,
    http: Option<String>,
}

/// `[local]`: `forebay local`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LocalConfig {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) listen: Option<String>,
    #[serde(deserialize_with = "adapter::optional_size")]
    pub(crate) ram: Option<ByteCount>,
    pub(crate) tiers: Vec<String>,
    pub(crate) eviction: Option<String>,
    pub(crate) tier_moves: Option<bool>,
    #[serde(deserialize_with = "adapter::optional_size")]
    pub(crate) whole_file_max: Option<ByteCount>,
    #[serde(deserialize_with = "adapter::optional_size")]
    pub(crate) scrub_rate: Option<ByteCount>,
    #[serde(deserialize_with = "adapter::optional_size")]
    pub(crate) working_memory: Option<ByteCount>,
    pub(crate) mounts: Vec<String>,
    pub(crate) fuse: Option<PathBuf>,
    pub(crate) fuse_options: Vec<String>,
}

/// `[master]`: `forebay master`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MasterConfig {
    pub(crate) id: Option<u32>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) listen: Option<String>,
    pub(crate) advertise: Option<String>,
    pub(crate) peers: Vec<String>,
    #[serde(deserialize_with = "adapter::optional_positive_duration")]
    pub(crate) election_timeout: Option<Duration>,
    pub(crate) reads: Option<String>,
}

/// `[worker]`: `forebay worker`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WorkerConfig {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) listen: Option<String>,
    pub(crate) advertise: Option<String>,
    #[serde(deserialize_with = "adapter::optional_size")]
    pub(crate) ram: Option<ByteCount>,
    pub(crate) tiers: Vec<String>,
    pub(crate) eviction: Option<String>,
    pub(crate) tier_moves: Option<bool>,
    #[serde(deserialize_with = "adapter::optional_size")]
    pub(crate) whole_file_max: Option<ByteCount>,
    #[serde(deserialize_with = "adapter::optional_size")]
    pub(crate) scrub_rate: Option<ByteCount>,
    #[serde(deserialize_with = "adapter::optional_size")]
    pub(crate) working_memory: Option<ByteCount>,
    pub(crate) group: Option<String>,
}

/// `[fuse]`: `forebay fuse mount`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FuseConfig {
    pub(crate) path: Option<String>,
    pub(crate) options: Vec<String>,
}

/// `[under_store]`: what a master asks of under-stores.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UnderStoreConfig {
    requests_per_second_max: Option<u32>,
    loaded_entries_max: Option<u32>,
}

/// Settings that each command has.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) masters: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) host_id: Option<String>,
    pub(crate) insecure: bool,
    /// Where the pages for machines are served, if not on the process's own port.
    pub(crate) http: Option<String>,
    pub(crate) local: LocalConfig,
    pub(crate) master: MasterConfig,
    pub(crate) worker: WorkerConfig,
    pub(crate) fuse: FuseConfig,
    /// After how long without a leader the masters elect another one, at the latest.
    pub(crate) election_timeout: Duration,
    /// How the master that leads makes sure that no other one does.
    pub(crate) reads: Reads,
    /// How many requests a second a master sends to each under-store at most; 0 for as many as come.
    pub(crate) requests_per_second_max: u32,
    /// How many files and links are known of each mount at most; 0 for as many as there are.
    pub(crate) loaded_entries_max: u32,
    /// The environment of the process, for credentials. Read once, here.
    pub(crate) environment: BTreeMap<String, String>,
}

/// Where a master is when nobody says otherwise.
pub(crate) const MASTER_ADDRESS: &str = "127.0.0.1:7411";
const TIMEOUT: Duration = Duration::from_secs(10);
const ELECTION_TIMEOUT: Duration = Duration::from_millis(1500);
/// Below what Amazon's S3 takes for one prefix, and above what listings of one master reach of a bucket that is far away.
const REQUESTS_PER_SECOND: u32 = 2000;
/// About 10 GB of the master's disk.
const LOADED_ENTRIES: u32 = 20_000_000;

impl Settings {
    /// Joins the layers: file, environment, `flags` (in the shape of a file).
    pub(crate) fn resolve(
        global: &GlobalArguments,
        mut flags: toml::Table,
        default_level: &str,
    ) -> Result<Self, Failure> {
        // Variables that are not UTF-8 cannot be settings of ours; credentials never are.
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        add_global_flags(&mut flags, global, &environment)?;
        let config: FileConfig = config::resolve(
            global.config.as_deref(),
            environment.clone().into_iter(),
            flags,
            &KNOWN_VARIABLES,
        )
        .map_err(|error| Failure::usage(error.to_string()))?;
        let log_format = match config.log.format.as_deref() {
            None => LogFormat::Text,
            Some(format) => format.parse().map_err(|error| Failure::usage(format!("{error}")))?,
        };
        let masters = match config.client.masters {
            masters if masters.is_empty() => vec![MASTER_ADDRESS.to_owned()],
            masters => masters,
        };
        let election_timeout = config.master.election_timeout.unwrap_or(ELECTION_TIMEOUT);
        let reads = match config.master.reads.as_deref() {
            None => Reads::default(),
            Some(mode) => mode.parse().map_err(|error| Failure::usage(format!("{error}")))?,
        };
        Ok(Self {
            election_timeout,
            reads,
            log_level: config.log.level.unwrap_or_else(|| default_level.to_owned()),
            log_format,
            masters,
            timeout: config.client.timeout.unwrap_or(TIMEOUT),
            host_id: config.node.host_id,
            insecure: config.node.insecure,
            http: config.node.http,
            local: config.local,
            master: config.master,
            worker: config.worker,
            fuse: config.fuse,
            requests_per_second_max: requests_per_second_max(&config.under_store)?,
            loaded_entries_max: config.under_store.loaded_entries_max.unwrap_or(LOADED_ENTRIES),
            environment,
        })
    }
}

fn requests_per_second_max(config: &UnderStoreConfig) -> Result<u32, Failure> {
    match config.requests_per_second_max.unwrap_or(REQUESTS_PER_SECOND) {
        more if more > forebay_master::REQUESTS_PER_SECOND_MAX => Err(Failure::usage(format!(
            "under_store.requests_per_second_max = {more}: the most is {}; write 0 for no cap",
            forebay_master::REQUESTS_PER_SECOND_MAX
        ))),
        per_second => Ok(per_second),
    }
}

/// Puts the flags of all commands, and FOREBAY_MASTERS, into the shape of a file.
fn add_global_flags(
    flags: &mut toml::Table,
    global: &GlobalArguments,
    environment: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let variable = || Some(("FOREBAY_MASTERS", masters_of(environment.get("FOREBAY_MASTERS")?)));
    let flag = global.masters.clone().map(|masters| ("--masters", masters));
    if let Some((origin, masters)) = flag.or_else(variable) {
        if masters.iter().any(|address| address.trim().is_empty()) {
            return Err(Failure::usage(format!(
                "{origin}: an address is empty; write HOST:PORT, several with commas between, or leave it unset"
            )));
        }
        set(flags, "client", "masters", masters);
    }
    if let Some(timeout) = &global.timeout {
        parse_positive_duration(timeout).map_err(|error| Failure::usage(format!("--timeout: {error}")))?;
        set(flags, "client", "timeout", timeout.clone());
    }
    for (section, key, value) in [
        ("log", "level", &global.log_level),
        ("log", "format", &global.log_format),
        ("node", "host_id", &global.host_id),
    ] {
        if let Some(value) = value {
            set(flags, section, key, value.clone());
        }
    }
    Ok(())
}

/// The addresses in a variable.
fn masters_of(text: &str) -> Vec<String> {
    text.split(',').map(|address| address.trim().to_owned()).collect()
}

/// Sets one key if its flag was given.
pub(crate) fn set_some<V: Into<toml::Value>>(
    flags: &mut toml::Table,
    section: &str,
    key: &str,
    value: Option<V>,
) {
    if let Some(value) = value {
        set(flags, section, key, value);
    }
}

/// A path as the shape of a file has it.
pub(crate) fn path_text(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string().into_string().map_err(|path| {
        Failure::usage(format!("{} is not UTF-8; this folder's name must be", path.to_string_lossy()))
    })
}

/// Sets one key of a table in the shape of a file.
pub(crate) fn set(flags: &mut toml::Table, section: &str, key: &str, value: impl Into<toml::Value>) {
    let entry = flags.entry(section).or_insert_with(|| toml::Table::new().into());
    if let Some(table) = entry.as_table_mut() {
        table.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests;
