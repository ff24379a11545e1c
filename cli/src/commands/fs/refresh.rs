//! `fs refresh`: what is known of a tree is compared with its under-store now.

use forebay_client::{Client, ClientError, Entry};
use forebay_types::{EntryKind, InodeId, NamespacePath};
use serde_json::{Value, json};

use super::Found;
use super::walk::Pages;
use crate::args::{GlobalArguments, OutputFormat};
use crate::failure::Failure;
use crate::output::{named, print_json, print_line};

/// Failures that are told one by one.
const FAILURES_TOLD_MAX: usize = 100;

/// What was done so far.
struct Refreshing<'a> {
    client: &'a Client,
    compared: u64,
    failed: u64,
    /// The first of them.
    failures: Vec<(NamespacePath, ClientError)>,
}

/// Compares a path, and with `recursive` all directories below it; goes on after what cannot be compared.
pub(super) async fn refresh(global: &GlobalArguments, found: &Found, recursive: bool) -> Result<(), Failure> {
    let Found { client, at, entry } = found;
    let mut refreshing = Refreshing { client, compared: 0, failed: 0, failures: Vec::new() };
    refreshing.all(at, entry, recursive).await?;
    refreshing.tell(global, at)
}

impl Refreshing<'_> {
    /// Each directory before what lies in it: only then it is known what does.
    async fn all(&mut self, at: &NamespacePath, entry: &Entry, recursive: bool) -> Result<(), Failure> {
        let mut waiting = vec![(at.clone(), entry.inode)];
        while let Some((at, inode)) = waiting.pop() {
            let is_done = self.one(&at, inode).await?;
            if is_done && recursive && entry.kind == EntryKind::Directory {
                let mut pages = Pages::new(self.client, at.clone(), inode);
                while let Some(page) = pages.next().await? {
                    let directories = page.into_iter().filter(|of| of.entry.kind == EntryKind::Directory);
                    waiting.extend(directories.map(|of| (at.join(of.name), of.entry.inode)));
                }
            }
        }
        Ok(())
    }

    async fn one(&mut self, at: &NamespacePath, inode: InodeId) -> Result<bool, Failure> {
        match self.client.refresh(inode).await {
            Ok(()) => {
                self.compared += 1;
                Ok(true)
            }
            Err(error @ ClientError::NoMaster { .. }) => {
                Err(Failure::client(format!("refresh {at}"), &error))
            }
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_TOLD_MAX {
                    self.failures.push((at.clone(), error));
                }
                Ok(false)
            }
        }
    }

    fn tell(&self, global: &GlobalArguments, at: &NamespacePath) -> Result<(), Failure> {
        let (compared, failed) = (self.compared, self.failed);
        match global.output {
            OutputFormat::Json => {
                let failure = |(at, error): &(NamespacePath, ClientError)| {
                    named("path", &at.to_bytes(), json!({ "reason": error.to_string() }))
                };
                let failures = self.failures.iter().map(failure).collect::<Vec<Value>>();
                let document = json!({ "compared": compared, "failed": failed, "failures": failures });
                print_json(&named("path", &at.to_bytes(), document))?;
            }
            OutputFormat::Text => print_line(&format!("{at}: {compared} compared with the under-store"))?,
        }
        let mut failures: Vec<_> =
            self.failures.iter().map(|(at, error)| Failure::client(format!("refresh {at}"), error)).collect();
        if failed > FAILURES_TOLD_MAX as u64 {
            let more = failed - FAILURES_TOLD_MAX as u64;
            failures.push(Failure::new(format!("{more} more could not be compared")));
        }
        Failure::of_all(failures)
    }
}
