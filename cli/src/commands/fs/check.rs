//! `fs check-consistency`: how what is known of a tree differs from its under-store.

use std::ops::ControlFlow;

use forebay_client::{Deviation, Named};
use forebay_types::{EntryKind, InodeId, NamespacePath};
use serde_json::{Value, json};

use super::Found;
use super::walk::Pages;
use crate::args::{GlobalArguments, OutputFormat};
use crate::failure::Failure;
use crate::output::{named, print_json, print_listed};

/// Deviations in one document.
const DEVIATIONS_TOLD_MAX: usize = 10_000;

/// Looks at a directory, and with `recursive` at all directories below it that are known. Fails if anything differs.
pub(super) async fn check(global: &GlobalArguments, found: &Found, recursive: bool) -> Result<(), Failure> {
    let Found { client, at, entry } = found;
    if entry.kind != EntryKind::Directory {
        let why = "it is no directory; give the one that it lies in";
        return Err(Failure::new(format!("check {at}: {why}")));
    }
    let (mut waiting, mut total, mut documents) = (vec![(at.clone(), entry.inode)], 0, Vec::new());
    while let Some((at, inode)) = waiting.pop() {
        let checked = client.check(inode).await;
        let (deviations, here) = checked.map_err(|error| Failure::client(format!("check {at}"), &error))?;
        total += here;
        for (name, deviation) in deviations {
            let path = at.join(name);
            if global.output == OutputFormat::Json {
                if documents.len() < DEVIATIONS_TOLD_MAX {
                    documents.push(document(&path, deviation));
                }
            } else if let ControlFlow::Break(()) = print_listed(&format!("{:<8}{path}", word(deviation)))? {
                return Ok(());
            }
        }
        let mut pages = Pages::new(client, at.clone(), inode);
        while recursive && let Some(page) = pages.next().await? {
            waiting.extend(page.into_iter().filter_map(|of| directory_in(&at, of)));
        }
    }
    if global.output == OutputFormat::Json {
        let whole = json!({ "deviations": documents, "total": total });
        print_json(&named("path", &at.to_bytes(), whole))?;
    }
    match total {
        0 => Ok(()),
        _ => {
            let remedy = format!("`forebay fs refresh -r {at}` takes them over");
            Err(Failure::new(format!("check {at}: {total} names differ from the under-store; {remedy}")))
        }
    }
}

fn directory_in(at: &NamespacePath, Named { name, entry }: Named) -> Option<(NamespacePath, InodeId)> {
    let is_directory = entry.kind == EntryKind::Directory;
    is_directory.then(|| (at.join(name), entry.inode))
}

const fn word(deviation: Deviation) -> &'static str {
    match deviation {
        Deviation::New => "new",
        Deviation::Changed => "changed",
        Deviation::Gone => "gone",
    }
}

fn document(path: &NamespacePath, deviation: Deviation) -> Value {
    named("path", &path.to_bytes(), json!({ "deviation": word(deviation).to_uppercase() }))
}
