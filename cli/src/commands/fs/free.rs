//! `fs free`: what is cached of a tree goes.

use forebay_client::{Client, Entry};
use forebay_types::{ByteCount, EntryKind, FileId, NamespacePath};
use serde_json::json;

use super::Found;
use super::walk::Walk;
use crate::args::{GlobalArguments, OutputFormat};
use crate::failure::Failure;
use crate::output::{named, print_json, print_line};

/// Versions named in one request.
const BATCH: usize = 1000;

/// What was freed so far, and what waits to be.
struct Freeing<'a> {
    client: &'a Client,
    at: &'a NamespacePath,
    waiting: Vec<FileId>,
    files: u64,
    bytes: u64,
}

/// Tells the workers to drop all that they hold below a path.
pub(super) async fn free(global: &GlobalArguments, found: &Found) -> Result<(), Failure> {
    let Found { client, at, entry } = found;
    let mut freeing = Freeing { client, at, waiting: Vec::new(), files: 0, bytes: 0 };
    if entry.kind == EntryKind::Directory {
        let mut walk = Walk::new(client, at.clone(), entry.inode);
        while let Some((_, entry)) = walk.next().await? {
            freeing.add(&entry).await?;
        }
    } else {
        freeing.add(entry).await?;
    }
    freeing.send().await?;
    let (files, bytes) = (freeing.files, freeing.bytes);
    match global.output {
        OutputFormat::Json => {
            let document = json!({ "files": files, "freed_bytes": bytes });
            print_json(&named("path", &at.to_bytes(), document))
        }
        OutputFormat::Text => print_line(&format!(
            "{at}: {files} files of {} leave the cache within seconds; what is being read goes when it is closed",
            ByteCount::new(bytes)
        )),
    }
}

impl Freeing<'_> {
    async fn add(&mut self, entry: &Entry) -> Result<(), Failure> {
        let Some((version, _)) = entry.version.as_ref().filter(|_| entry.cached > ByteCount::ZERO) else {
            return Ok(());
        };
        self.waiting.push(version.file);
        self.files += 1;
        self.bytes += entry.cached.get();
        if self.waiting.len() == BATCH { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let files = std::mem::take(&mut self.waiting);
        if files.is_empty() {
            return Ok(());
        }
        let freed = self.client.free(&files).await;
        freed.map_err(|error| Failure::client(format!("free {}", self.at), &error))
    }
}
