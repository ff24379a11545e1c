//! `forebay local`: a master, a worker and, if asked, a FUSE mount in one process, which talk over the same sockets
//! as they would on three machines.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use forebay_client::MountRequest;
use forebay_master::PeerList;
use forebay_runtime::Shutdown;
use forebay_types::{InodeId, NamespacePath, UnderStoreUri};
use forebay_worker::{Worker, WorkerSettings};

use super::master::{MasterPlace, advertised, not_started};
use super::mounted::{self, FuseMount};
use super::tiers::{self, Tiers};
use super::{Pages, flags};
use crate::args::{GlobalArguments, LocalArguments};
use crate::commands::{mount, session};
use crate::failure::Failure;
use crate::settings::{MASTER_ADDRESS, Settings};

/// Runs until it is told to stop.
pub(crate) fn run(global: &GlobalArguments, arguments: LocalArguments) -> Result<(), Failure> {
    let settings = Settings::resolve(global, flags::local(arguments)?, super::LOG_LEVEL)?;
    super::run(&settings, begin)
}

/// Starts all that was asked for, and says so.
async fn begin(settings: &Settings, shutdown: &Shutdown) -> Result<(), Failure> {
    let config = &settings.local;
    let mounts = config.mounts.iter().map(|text| parse_mount(text)).collect::<Result<Vec<_>, _>>()?;
    check_beside(&mounts)?;
    let fuse_options = mounted::options(&config.fuse_options)?;
    let dir = config.dir.clone().map_or_else(|| data_folder(settings), Ok)?;
    let tiers = Tiers::choose(&dir, config.ram, &config.tiers)?;
    let eviction = tiers::eviction(config.eviction.as_deref())?;
    let listen = config.listen.as_deref().unwrap_or(MASTER_ADDRESS);
    let (listener, address) = super::listen("--listen", listen, settings.insecure).await?;
    let advertised = advertised(None, address)?;

    // Stages stop in the order in which they are made: first the mount, whose users lean on all else.
    let fuse_stage = shutdown.stage("fuse");
    let client_stage = shutdown.stage("client");
    let serving = shutdown.stage("serving");
    let pages = Pages::default();
    let all = pages.readiness.add("local");
    let mut worker = worker_settings(settings, &dir, address, tiers, &pages, shutdown)?;
    worker.eviction = eviction;
    worker.whole_file_max = config.whole_file_max;
    worker.tier_moves = config.tier_moves.unwrap_or(worker.tier_moves);
    worker.scrub_rate = config.scrub_rate.unwrap_or(worker.scrub_rate);
    worker.working_memory = config.working_memory.unwrap_or(worker.working_memory);
    let mut cache_directories: Vec<_> = worker.tiers.iter().map(|tier| tier.directory.clone()).collect();
    cache_directories.push(worker.directory.clone());
    let worker =
        Worker::start(worker).await.map_err(|error| Failure::start("the worker did not start", error))?;
    let private_folders = cache_directories.iter().cloned().chain([dir.clone()]).collect();
    let (dir, peers) = (dir.join("master"), PeerList::default());
    let place = MasterPlace { dir, private_folders, slot: 1, address: advertised, peers };
    let master = place.master(settings, &pages)?;
    let routes = pages.begin(settings, &serving, shutdown).await?;
    super::serve(listener, worker.add_routes(master.add_routes(routes)), &serving, shutdown);
    master.start(shutdown).await.map_err(not_started)?;

    worker.ready().await.map_err(|error| Failure::start("the worker did not get ready", error))?;
    let shown = config.fuse.is_some().then_some(&fuse_options);
    let client = session::connect_for(settings, vec![address.to_string()], shown).await?;
    for (path, uri) in &mounts {
        mount::attach(&client, request(settings, path, uri)?).await?;
    }
    // Those of earlier runs too.
    let mounted = client.mounts().await.map_err(|error| Failure::client("list the mounts", &error))?;
    let mut parts = vec![("listen", address.to_string()), ("mounts", mounted.len().to_string())];
    if let Some(mount_point) = config.fuse.clone() {
        let registry = pages.registry.clone();
        let (path, root, options) = (NamespacePath::default(), InodeId::ROOT, fuse_options);
        let fuse = FuseMount { mount_point, path, root, options, cache_directories, registry };
        parts.push(("fuse", fuse.mount(&client, &fuse_stage, shutdown).await?));
    }
    mounted::close_with(&client_stage, client);
    all.set(true);
    super::say_ready(&parts)
}

/// `NS_PATH=URI`.
fn parse_mount(text: &str) -> Result<(NamespacePath, UnderStoreUri), Failure> {
    let wrong = |why: String| {
        Failure::usage(format!("--mount {text}: {why}; write PATH=URI, such as /data=file:///srv"))
    };
    let (path, uri) = text.split_once('=').ok_or_else(|| wrong("there is no `=`".to_owned()))?;
    let path = path.parse().map_err(|error| wrong(format!("{error}")))?;
    let uri = uri.parse().map_err(|error| wrong(format!("{error}")))?;
    Ok((path, uri))
}

/// Refuses mounts that cannot stand beside each other, before the first of them is made: it would stay.
fn check_beside(mounts: &[(NamespacePath, UnderStoreUri)]) -> Result<(), Failure> {
    for (position, (path, uri)) in mounts.iter().enumerate() {
        let mut before = mounts[..position].iter().filter(|(at, from)| (at, from) != (path, uri));
        let why = match before.find(|(at, from)| at == path || from.overlaps(uri)) {
            None => continue,
            Some((at, from)) if at == path => {
                format!("{from} is to be mounted there too; choose another path")
            }
            Some((at, from)) => format!(
                "it overlaps {from}, which is to be mounted at {at}; leave one of them out, since a file would be shown twice"
            ),
        };
        return Err(Failure::usage(format!("--mount {path}={uri}: {why}")));
    }
    Ok(())
}

/// `XDG_DATA_HOME`, else where the specification of it says.
fn data_folder(settings: &Settings) -> Result<PathBuf, Failure> {
    let variable =
        |name: &str| settings.environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_DATA_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .map(|folder| folder.join("forebay"))
        .ok_or_else(|| {
            Failure::usage("there is no HOME: say with --dir where state and cache are to be kept")
        })
}

fn worker_settings(
    settings: &Settings,
    dir: &Path,
    address: SocketAddr,
    tiers: Tiers,
    pages: &Pages,
    shutdown: &Shutdown,
) -> Result<WorkerSettings, Failure> {
    let host = forebay_runtime::host_id(settings.host_id.as_deref());
    let host = host.map_err(|error| Failure::usage(error.to_string()))?;
    let mut worker = WorkerSettings::new(dir.join("worker"), vec![address.to_string()], host, shutdown);
    worker.shared_port = Some(address);
    worker.memory = tiers.memory;
    worker.tiers = tiers.disks;
    worker.environment = settings.environment.clone();
    worker.registry = pages.registry.clone();
    worker.readiness = pages.readiness.clone();
    Ok(worker)
}

fn request(settings: &Settings, path: &NamespacePath, uri: &UnderStoreUri) -> Result<MountRequest, Failure> {
    Ok(MountRequest {
        path: path.clone(),
        uri: uri.to_string(),
        writable: false,
        freshness: None,
        coherence: None,
        on_outage: None,
        mode: None,
        admission: None,
        block_length: None,
        options: mount::options(uri, &[], &settings.environment)?,
        check_only: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mounts: &[&str]) -> Result<(), Failure> {
        check_beside(&mounts.iter().map(|text| parse_mount(text)).collect::<Result<Vec<_>, _>>()?)
    }

    #[test]
    fn mounts_that_cannot_stand_beside_each_other_are_refused_with_both() {
        for mounts in [
            &["/a=file:///x", "/b=file:///y"][..],
            &["/a=file:///x", "/a=file:///x"],
            &["/a=file:///x", "/b=file:///xy", "/a/b=s3://x"],
        ] {
            assert!(check(mounts).is_ok(), "{mounts:?}");
        }
        for mounts in [
            ["/a=file:///x", "/b=file:///x/sub"],
            ["/a=file:///x/sub", "/b=file:///x"],
            ["/a=file:///x", "/b=file:///x"],
            ["/a=file:///x", "/a=file:///y"],
        ] {
            let refused = check(&mounts).expect_err("they overlap");
            let said = refused.to_string();
            let (_, first) = mounts[0].split_once('=').expect("a mount");
            assert!(said.contains(mounts[1]) && said.contains(first), "{mounts:?}: {said}");
            assert_eq!(refused.exit_code(), crate::failure::USAGE);
        }
    }
}
