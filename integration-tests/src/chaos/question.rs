//! One operation asked of a real cluster, and what its answer means.

use std::collections::BTreeSet;

use forebay_client::{Access, Client, ClientError};
use forebay_history::{Answer, Operation, Outcome, Refusal};
use forebay_types::{ErrorKind, InodeId, NamespacePath};

/// Names of one directory: the few that there can be fit one page, which is one question.
const NAMES_MAX: u32 = 1000;

/// Asks, and tells what the outcome is.
pub(crate) async fn ask(client: &Client, operation: &Operation) -> Outcome {
    let answer = match operation {
        Operation::MakeDirectory { path, mode } => client
            .make_directory(&parsed(path), false, access(*mode))
            .await
            .map(|(inode, _)| Answer::Made(inode.get())),
        Operation::RemoveDirectory { path } => {
            client.remove_directory(&parsed(path)).await.map(|()| Answer::Done)
        }
        Operation::Rename { from, to } => {
            client.rename(&parsed(from), &parsed(to)).await.map(|_| Answer::Done)
        }
        Operation::SetMode { path, mode } => {
            client.set_attributes(&parsed(path), access(*mode)).await.map(|_| Answer::Done)
        }
        Operation::Stat { path } => client.resolve(&parsed(path)).await.map(|(entry, _)| Answer::Seen {
            inode: entry.inode.get(),
            mode: entry.mode.and_then(|mode| u16::try_from(mode).ok()).unwrap_or_default(),
        }),
        Operation::List { inode } => names(client, InodeId::new(*inode)).await.map(Answer::Names),
    };
    answer.map_or_else(|error| failed(operation, &error), Outcome::Ok)
}

async fn names(client: &Client, directory: InodeId) -> Result<BTreeSet<String>, ClientError> {
    let page = client.list(directory, None, NAMES_MAX).await?;
    assert!(page.complete, "a page has room for all names of a directory");
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    Ok(page.entries.iter().map(|named| text(named.name.as_bytes())).collect())
}

/// What the namespace itself refused did nothing; of all else nobody knows what it did.
fn failed(operation: &Operation, error: &ClientError) -> Outcome {
    match (error.kind(), operation) {
        (ErrorKind::AlreadyExists, _) => Outcome::Refused(Refusal::Exists),
        (ErrorKind::NotFound, _) => Outcome::Refused(Refusal::NotFound),
        (ErrorKind::NotEmpty, _) => Outcome::Refused(Refusal::NotEmpty),
        (ErrorKind::InvalidArgument, Operation::Rename { .. }) => Outcome::Refused(Refusal::IntoItself),
        (kind, _) => Outcome::Unknown(format!("{kind} {error}").replace('\n', " ")),
    }
}

fn access(mode: u16) -> Access {
    Access { mode: Some(mode.into()), ..Access::default() }
}

fn parsed(path: &str) -> NamespacePath {
    NamespacePath::parse(path.as_bytes()).expect("the workload has legal paths")
}
