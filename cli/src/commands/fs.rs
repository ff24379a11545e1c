//! `forebay fs`: the namespace as a person looks at it and changes it, without a mount.

mod check;
mod directories;
mod free;
mod read;
mod refresh;
mod show;
mod walk;

use std::ffi::OsString;

use forebay_client::{Client, Entry};
use forebay_types::{EntryKind, NamespacePath};

use super::session::{Session, TypedPath};
use crate::args::{FsCommand, GlobalArguments};
use crate::failure::Failure;
use crate::output::shown;

/// A path that was typed, and what is there.
struct Found {
    client: Client,
    at: NamespacePath,
    entry: Entry,
}

/// Runs one of the commands.
pub(crate) async fn run(global: &GlobalArguments, command: FsCommand) -> Result<(), Failure> {
    match command {
        FsCommand::Ls(arguments) => show::ls(global, &find(global, &arguments.path).await?).await,
        FsCommand::Stat(arguments) => {
            let typed = TypedPath::parse(&arguments.path)?;
            let client = Session::begin(global).await?.client;
            let (entry, provenance) = typed.look_at(&client).await?;
            show::stat(global, &Found { client, at: typed.path, entry }, provenance).await
        }
        FsCommand::Du(arguments) => show::du(global, &find(global, &arguments.path).await?).await,
        FsCommand::Locate(arguments) => show::locate(global, &find(global, &arguments.path).await?).await,
        FsCommand::Free(arguments) => free::free(global, &find(global, &arguments.path).await?).await,
        FsCommand::Cached(arguments) => show::cached(global, &find(global, &arguments.path).await?).await,
        FsCommand::Refresh(arguments) => {
            let found = find(global, &arguments.path).await?;
            refresh::refresh(global, &found, arguments.recursive).await
        }
        FsCommand::CheckConsistency(arguments) => {
            let found = find(global, &arguments.path).await?;
            check::check(global, &found, arguments.recursive).await
        }
        FsCommand::Mkdir(arguments) => directories::mkdir(global, &arguments).await,
        FsCommand::Rmdir(arguments) => directories::rmdir(global, &arguments).await,
        FsCommand::Mv(arguments) => directories::mv(global, &arguments).await,
        FsCommand::Chmod(arguments) => directories::chmod(global, &arguments).await,
        FsCommand::Chown(arguments) => directories::chown(global, &arguments).await,
        FsCommand::Cat(arguments) => {
            let paths = arguments.paths.iter().map(TypedPath::parse).collect::<Result<Vec<_>, _>>()?;
            let client = Session::begin(global).await?.client;
            let done = read::cat(&client, &paths).await;
            // So that what was read is counted.
            client.close().await;
            done
        }
        FsCommand::Get(arguments) => {
            let source = find(global, &arguments.source).await?;
            let done = read::get(&source, &arguments.target, arguments.recursive).await;
            source.client.close().await;
            done
        }
    }
}

/// Why an entry has no bytes to read, and what to do; `None` for a file.
fn why_no_file(at: &NamespacePath, entry: &Entry) -> Option<String> {
    match entry.kind {
        EntryKind::File => None,
        EntryKind::Directory => Some(format!(
            "it is a directory; `forebay fs ls {at}` shows what is in it, and `forebay fs get -r` copies it"
        )),
        EntryKind::Symlink => Some(format!(
            "it is a symbolic link to {}, and links are not followed here; give the path of the file itself",
            shown(&entry.symlink_target)
        )),
    }
}

/// Connects, and looks up what is at a path. A path that is none fails before.
async fn find(global: &GlobalArguments, typed: &OsString) -> Result<Found, Failure> {
    let typed = TypedPath::parse(typed)?;
    let client = Session::begin(global).await?.client;
    let entry = typed.resolve(&client).await?;
    Ok(Found { client, at: typed.path, entry })
}
