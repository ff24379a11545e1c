//! `forebay fs`: the namespace as a person looks at it, without a mount.

mod free;
mod read;
mod show;
mod walk;

use forebay_client::{Client, Entry};
use forebay_types::NamespacePath;

use super::session::{Session, path};
use crate::args::{FsCommand, GlobalArguments};
use crate::failure::Failure;

/// Runs one of the commands.
pub(crate) async fn run(global: &GlobalArguments, command: FsCommand) -> Result<(), Failure> {
    match command {
        FsCommand::Ls(arguments) => {
            let at = path(&arguments.path)?;
            show::ls(global, &Session::begin(global).await?.client, &at).await
        }
        FsCommand::Stat(arguments) => {
            let at = path(&arguments.path)?;
            show::stat(global, &Session::begin(global).await?.client, &at).await
        }
        FsCommand::Du(arguments) => {
            let at = path(&arguments.path)?;
            show::du(global, &Session::begin(global).await?.client, &at).await
        }
        FsCommand::Locate(arguments) => {
            let at = path(&arguments.path)?;
            show::locate(global, &Session::begin(global).await?.client, &at).await
        }
        FsCommand::Free(arguments) => {
            let at = path(&arguments.path)?;
            free::free(global, &Session::begin(global).await?.client, &at).await
        }
        FsCommand::Cached(arguments) => {
            let at = path(&arguments.path)?;
            show::cached(global, &Session::begin(global).await?.client, &at).await
        }
        FsCommand::Cat(arguments) => {
            let paths = arguments.paths.iter().map(path).collect::<Result<Vec<_>, _>>()?;
            let client = Session::begin(global).await?.client;
            let done = read::cat(&client, &paths).await;
            // So that what was read is counted.
            client.close().await;
            done
        }
        FsCommand::Get(arguments) => {
            let source = path(&arguments.source)?;
            let client = Session::begin(global).await?.client;
            let done = read::get(&client, &source, &arguments.target, arguments.recursive).await;
            client.close().await;
            done
        }
    }
}

/// The entry at a path.
async fn resolve(client: &Client, at: &NamespacePath) -> Result<Entry, Failure> {
    let found = client.resolve(at).await;
    found.map(|(entry, _)| entry).map_err(|error| Failure::client(format!("look up {at}"), &error))
}
