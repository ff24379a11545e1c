//! `fs ls`, `stat`, `du`, `locate` and `cached`.

use std::ops::ControlFlow;

use forebay_client::{Client, Entry, Location, Named, Provenance};
use forebay_types::{ByteCount, EntryKind, NamespacePath, VersionDescriptor};
use serde_json::{Value, json};

use super::walk::{Pages, Walk};
use super::{Found, why_no_file};
use crate::args::{GlobalArguments, OutputFormat};
use crate::failure::Failure;
use crate::output::{named, print_json, print_line, print_listed, print_table, shown, time};

/// `fs ls`: all entries of a directory, or the one of a file. Ends early when nobody reads on, such as `head`.
pub(super) async fn ls(global: &GlobalArguments, found: &Found) -> Result<(), Failure> {
    let Found { client, at, entry } = found;
    if entry.kind != EntryKind::Directory {
        let name = at.names().last().map_or(&b"/"[..], |name| name.as_bytes());
        return match global.output {
            OutputFormat::Json => print_json(&json!({ "entries": [listed(name, entry)] })),
            OutputFormat::Text => print_line(&line(name, entry)),
        };
    }
    let mut pages = Pages::new(client, at.clone(), entry.inode);
    let mut documents = Vec::new();
    while let Some(page) = pages.next().await? {
        for Named { name, entry } in page {
            let (name, entry) = (name.as_bytes(), current(client, entry).await);
            if global.output == OutputFormat::Json {
                documents.push(listed(name, &entry));
            } else if let ControlFlow::Break(()) = print_listed(&line(name, &entry))? {
                return Ok(());
            }
        }
    }
    match global.output {
        OutputFormat::Json => print_json(&json!({ "entries": documents })),
        OutputFormat::Text => Ok(()),
    }
}

/// An entry of a listing as it is now. Of the directory of a mount a listing shows how it was last known, and that is told
/// where nothing else can be.
async fn current(client: &Client, listed: Entry) -> Entry {
    if !listed.own_grant {
        return listed;
    }
    client.attributes(listed.inode).await.map_or(listed, |now| now.entry)
}

fn listed(name: &[u8], entry: &Entry) -> Value {
    let document = json!({
        "kind": entry.kind.to_string(),
        "length_bytes": entry.length().get(),
        "mtime": time(entry.modified),
        "cached_bytes": entry.cached.get(),
    });
    named("name", name, document)
}

/// One line for people. The columns have fixed widths, so that the first line need not wait for the last entry.
fn line(name: &[u8], entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
    };
    let cached = match (entry.kind, entry.length().get()) {
        (EntryKind::File, 0) => "-".to_owned(),
        (EntryKind::File, length) => format!("{}%", entry.cached.get().saturating_mul(100) / length),
        _ => "-".to_owned(),
    };
    let (length, name) = (entry.length().to_string(), shown(name));
    format!("{kind} {length:>10} {cached:>5}  {}  {name}", time(entry.modified))
}

/// `fs stat`.
pub(super) async fn stat(
    global: &GlobalArguments,
    found: &Found,
    provenance: Option<Provenance>,
) -> Result<(), Failure> {
    let Found { client, at, entry } = found;
    let version = entry.version.as_ref().map(|(version, _)| version);
    let locations = match version {
        Some(version) => locations(client, at, version).await?,
        None => Vec::new(),
    };
    let document = json!({
        "kind": entry.kind.to_string(),
        "length_bytes": entry.length().get(),
        "mode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime": time(entry.modified),
        "file_id": version.map(|version| version.file.to_string()),
        "under_store_uri": entry.under_store_uri,
        "fingerprint": version.map(|version| version.fingerprint.to_string()),
        // Nothing can be written yet, so all there is came from the under-store.
        "persisted": true,
        "cached_bytes": entry.cached.get(),
        "blocks": version.map_or_else(Vec::new, |version| blocks(version, &locations)),
    });
    let mut document = named("path", &at.to_bytes(), document);
    if let Some(provenance) = provenance {
        document = with_provenance(document, &provenance);
    }
    if global.output == OutputFormat::Json {
        return print_json(&document);
    }
    let rows = document
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| *key != "blocks" && !value.is_null());
    for (key, value) in rows {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        print_line(&format!("{key:<17} {value}"))?;
    }
    Ok(())
}

/// Adds the mount that an entry lies in, how that is, and whether what is shown is past its freshness.
fn with_provenance(document: Value, provenance: &Provenance) -> Value {
    let Provenance { mount, is_stale, stale_since } = provenance;
    let mut document = named("mount", &mount.path.to_bytes(), document);
    document["mount_state"] = mount.state.as_str().into();
    if let Some(since) = mount.unreachable_since {
        document["unreachable_since"] = time(since).into();
        document["reason"] = mount.reason.as_str().into();
    }
    document["stale"] = (*is_stale).into();
    if *is_stale {
        document["stale_since"] = stale_since.map(time).into();
    }
    document
}

/// `fs locate`: which workers hold which blocks.
pub(super) async fn locate(global: &GlobalArguments, found: &Found) -> Result<(), Failure> {
    let Found { client, at, entry } = found;
    let Some((version, _)) = &entry.version else {
        let why = why_no_file(at, entry).unwrap_or_else(|| "it has no content yet; try again".to_owned());
        return Err(Failure::new(format!("cannot locate {at}: {why}")));
    };
    let blocks = blocks(version, &locations(client, at, version).await?);
    if global.output == OutputFormat::Json {
        return print_json(&named("path", &at.to_bytes(), json!({ "blocks": blocks })));
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row =
        |block: &Value| ["index", "offset", "length_bytes", "workers"].map(|key| text(&block[key])).to_vec();
    print_table(&["BLOCK", "OFFSET", "BYTES", "WORKERS"], &blocks.iter().map(row).collect::<Vec<_>>())
}

async fn locations(
    client: &Client,
    at: &NamespacePath,
    version: &VersionDescriptor,
) -> Result<Vec<Location>, Failure> {
    let found = client.locate(version.file).await;
    found.map_err(|error| Failure::client(format!("locate {at}"), &error))
}

/// Workers report whole versions; one that holds a part is listed at each block, since any of them may be there.
fn blocks(version: &VersionDescriptor, locations: &[Location]) -> Vec<Value> {
    let (length, block) = (version.length().get(), version.block_length.get());
    let workers: Vec<_> = locations.iter().map(|location| location.worker.get()).collect();
    let document = |index: u64| {
        let offset = index * block;
        json!({
            "index": index,
            "offset": offset,
            "length_bytes": (length - offset.min(length)).min(block),
            "workers": workers,
        })
    };
    (0..version.block_count()).map(document).collect()
}

/// What a tree holds and how much of it is cached.
#[derive(Default)]
struct Sums {
    files: u64,
    directories: u64,
    length: u64,
    cached: u64,
    complete: u64,
}

impl Sums {
    fn add(&mut self, entry: &Entry) {
        match entry.kind {
            EntryKind::Directory => self.directories += 1,
            EntryKind::Symlink => {}
            EntryKind::File => {
                self.files += 1;
                self.length += entry.length().get();
                self.cached += entry.cached.get();
                self.complete += u64::from(entry.cached == entry.length());
            }
        }
    }
}

async fn sums(found: &Found) -> Result<Sums, Failure> {
    let Found { client, at, entry } = found;
    let mut sums = Sums::default();
    if entry.kind != EntryKind::Directory {
        sums.add(entry);
        return Ok(sums);
    }
    let mut walk = Walk::new(client, at.clone(), entry.inode);
    while let Some((_, entry)) = walk.next().await? {
        sums.add(&entry);
    }
    Ok(sums)
}

/// `fs du`.
pub(super) async fn du(global: &GlobalArguments, found: &Found) -> Result<(), Failure> {
    let (sums, at) = (sums(found).await?, &found.at);
    match global.output {
        OutputFormat::Json => {
            let document = json!({
                "files": sums.files,
                "directories": sums.directories,
                "length_bytes": sums.length,
                "cached_bytes": sums.cached,
            });
            print_json(&named("path", &at.to_bytes(), document))
        }
        OutputFormat::Text => print_line(&format!(
            "{at}: {} in {} files and {} directories, {} cached",
            ByteCount::new(sums.length),
            sums.files,
            sums.directories,
            ByteCount::new(sums.cached)
        )),
    }
}

/// `fs cached`.
pub(super) async fn cached(global: &GlobalArguments, found: &Found) -> Result<(), Failure> {
    let (sums, at) = (sums(found).await?, &found.at);
    match global.output {
        OutputFormat::Json => {
            let document = json!({
                "files": sums.files,
                "files_complete": sums.complete,
                "length_bytes": sums.length,
                "cached_bytes": sums.cached,
            });
            print_json(&named("path", &at.to_bytes(), document))
        }
        OutputFormat::Text => {
            let percent = (sums.cached * 100).checked_div(sums.length).unwrap_or(100);
            let (cached, length) = (ByteCount::new(sums.cached), ByteCount::new(sums.length));
            print_line(&format!(
                "{at}: {cached} of {length} cached ({percent} %), {} of {} files whole",
                sums.complete, sums.files
            ))
        }
    }
}
