//! `forebay fuse mount` and `umount`: the namespace of a cluster as a file system of this machine.

use std::path::Path;

use forebay_runtime::Shutdown;
use forebay_types::EntryKind;

use super::mounted::{self, FuseMount};
use super::{Pages, background, flags};
use crate::args::{FuseCommand, FuseMountArguments, GlobalArguments};
use crate::commands::session;
use crate::failure::Failure;
use crate::settings::Settings;

const HTTP_ADDRESS: &str = "127.0.0.1:7431";

/// Runs one of the two.
pub(crate) fn run(global: &GlobalArguments, command: FuseCommand) -> Result<(), Failure> {
    match command {
        FuseCommand::Mount(arguments) => mount(global, arguments),
        FuseCommand::Umount(arguments) => umount(&arguments.mount_point),
    }
}

fn mount(global: &GlobalArguments, arguments: FuseMountArguments) -> Result<(), Failure> {
    let (mount_point, background) = (arguments.mount_point.clone(), arguments.background);
    let settings = Settings::resolve(global, flags::fuse(arguments), super::LOG_LEVEL)?;
    if background {
        return background::start_again(&settings);
    }
    super::run(&settings, async |settings, shutdown| begin(settings, shutdown, &mount_point).await)
}

async fn begin(settings: &Settings, shutdown: &Shutdown, mount_point: &Path) -> Result<(), Failure> {
    let options = mounted::options(&settings.fuse.options)?;
    let path = session::path(settings.fuse.path.as_deref().unwrap_or("/"))?;
    let fuse_stage = shutdown.stage("fuse");
    let client_stage = shutdown.stage("client");
    let serving = shutdown.stage("serving");
    let pages = Pages::default();
    let all = pages.readiness.add("fuse");
    let client = session::connect_for(settings, settings.masters.clone(), Some(&options)).await?;
    let root = client.resolve(&path).await;
    let (root, _) = root.map_err(|error| Failure::client(format!("mount {path}"), &error))?;
    if root.kind != EntryKind::Directory {
        return Err(Failure::new(format!(
            "cannot mount {path}: it is a {}, and only a directory can be the root of a mount; give one with --path",
            root.kind.to_string().to_lowercase()
        )));
    }
    // Several mounts on one machine are usual, so only an address that was asked for must be free.
    let (listener, http) = match &settings.http {
        Some(http) => super::listen("--http", http, settings.insecure).await?,
        None => match super::listen("--http", HTTP_ADDRESS, false).await {
            Ok(bound) => bound,
            Err(_) => super::listen("--http", "127.0.0.1:0", false).await?,
        },
    };
    let mount = FuseMount {
        mount_point: mount_point.to_owned(),
        path,
        root: root.inode,
        options,
        cache_directories: Vec::new(),
        registry: pages.registry.clone(),
    };
    let shown = mount.mount(&client, &fuse_stage, shutdown).await?;
    super::serve(listener, pages.router(), &serving, shutdown);
    mounted::close_with(&client_stage, client);
    all.set(true);
    super::say_ready(&[("fuse", shown), ("http", http.to_string())])
}

fn umount(mount_point: &Path) -> Result<(), Failure> {
    forebay_fuse::unmount_at(mount_point).map_err(|error| Failure::start("cannot unmount", error))
}
