//! The flags of processes in the shape of a configuration file, where they are joined with it.

use crate::args::{
    BeginArguments, FuseMountArguments, LocalArguments, MasterArguments, NetworkArguments, ServerArguments,
    TierArguments, UnderStoreArguments, WorkerArguments,
};
use crate::failure::Failure;
use crate::settings::{path_text, set, set_some};

/// Those of `forebay local`.
pub(super) fn local(arguments: LocalArguments) -> Result<toml::Table, Failure> {
    let mut flags = toml::Table::new();
    set_some(&mut flags, "local", "dir", arguments.dir.map(path_text).transpose()?);
    set_some(&mut flags, "local", "fuse", arguments.fuse.map(path_text).transpose()?);
    set_some(&mut flags, "local", "listen", arguments.listen);
    set_some(&mut flags, "local", "mounts", list(arguments.mounts));
    set_some(&mut flags, "local", "fuse_options", list(arguments.fuse_options));
    add_under_store(&mut flags, &arguments.under_store);
    add_tiers(&mut flags, "local", arguments.tiers);
    add_network(&mut flags, arguments.network);
    Ok(flags)
}

/// Those of `forebay master`, and what is done once, which is no setting.
pub(super) fn master(arguments: MasterArguments) -> Result<(toml::Table, BeginArguments), Failure> {
    let mut flags = toml::Table::new();
    set_some(&mut flags, "master", "id", arguments.id);
    set_some(&mut flags, "master", "dir", arguments.dir.map(path_text).transpose()?);
    set_some(&mut flags, "master", "listen", arguments.listen);
    set_some(&mut flags, "master", "peers", list(arguments.peers));
    set_some(&mut flags, "master", "election_timeout", arguments.election_timeout);
    set_some(&mut flags, "master", "reads", arguments.reads);
    add_under_store(&mut flags, &arguments.under_store);
    add_server(&mut flags, "master", arguments.server);
    Ok((flags, arguments.begin))
}

/// Those of `forebay worker`. What is done once, such as emptying the cache, is no setting.
pub(super) fn worker(arguments: WorkerArguments) -> Result<toml::Table, Failure> {
    let mut flags = toml::Table::new();
    set_some(&mut flags, "worker", "dir", arguments.dir.map(path_text).transpose()?);
    set_some(&mut flags, "worker", "listen", arguments.listen);
    set_some(&mut flags, "worker", "group", arguments.group);
    add_tiers(&mut flags, "worker", arguments.tiers);
    add_server(&mut flags, "worker", arguments.server);
    Ok(flags)
}

/// Those of `forebay fuse mount`, of which the mount point is no setting.
pub(super) fn fuse(arguments: FuseMountArguments) -> toml::Table {
    let mut flags = toml::Table::new();
    set_some(&mut flags, "fuse", "path", arguments.path);
    set_some(&mut flags, "fuse", "options", list(arguments.options));
    let (http, insecure) = (arguments.http, arguments.insecure);
    add_network(&mut flags, NetworkArguments { http, insecure });
    flags
}

fn add_under_store(flags: &mut toml::Table, arguments: &UnderStoreArguments) {
    set_some(flags, "under_store", "requests_per_second_max", arguments.requests_per_second_max);
    set_some(flags, "under_store", "loaded_entries_max", arguments.loaded_entries_max);
}

fn add_tiers(flags: &mut toml::Table, section: &str, arguments: TierArguments) {
    set_some(flags, section, "ram", arguments.ram);
    set_some(flags, section, "tiers", list(arguments.tiers));
    set_some(flags, section, "eviction", arguments.eviction);
    set_some(flags, section, "tier_moves", arguments.tier_moves);
    set_some(flags, section, "whole_file_max", arguments.whole_file_max);
    set_some(flags, section, "scrub_rate", arguments.scrub_rate);
    set_some(flags, section, "working_memory", arguments.working_memory);
}

fn add_server(flags: &mut toml::Table, section: &str, arguments: ServerArguments) {
    set_some(flags, section, "advertise", arguments.advertise);
    add_network(flags, arguments.network);
}

fn add_network(flags: &mut toml::Table, arguments: NetworkArguments) {
    set_some(flags, "node", "http", arguments.http);
    if arguments.insecure {
        set(flags, "node", "insecure", true);
    }
}

/// A list that was not given leaves that of the file.
fn list(values: Vec<String>) -> Option<Vec<String>> {
    Some(values).filter(|values| !values.is_empty())
}
