//! `cargo xtask deps`: which crate may lean on which. Arrows point down only; this is the one table of them.
//!
//! Cargo keeps no direction by itself: whoever adds a line to a manifest adds an arrow. A new arrow is a decision,
//! made here, and a crate without a row fails too.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What a crate may depend on.
#[derive(Clone, Copy, Debug)]
enum Below {
    /// These crates of the workspace and no others.
    Only(&'static [&'static str]),
    /// Every crate of the product: for what wires all together.
    All,
}

/// From the bottom to the top.
const ALLOWED: [(&str, Below); 19] = [
    ("forebay-types", Below::Only(&[])),
    ("forebay-proto", Below::Only(&["forebay-types"])),
    ("forebay-local", Below::Only(&["forebay-types"])),
    ("forebay-runtime", Below::Only(&["forebay-types"])),
    ("forebay-under-store", Below::Only(&["forebay-types"])),
    ("forebay-metadata", Below::Only(&["forebay-types"])),
    ("forebay-jobs", Below::Only(&["forebay-types"])),
    ("forebay-block-store", Below::Only(&["forebay-types"])),
    ("forebay-storage", Below::Only(&["forebay-metadata", "forebay-types"])),
    ("forebay-raft", Below::Only(&["forebay-storage", "forebay-metadata", "forebay-proto", "forebay-types"])),
    (
        "forebay-master",
        Below::Only(&[
            "forebay-raft",
            "forebay-metadata",
            "forebay-jobs",
            "forebay-proto",
            "forebay-under-store",
            "forebay-runtime",
            "forebay-types",
        ]),
    ),
    (
        "forebay-worker",
        Below::Only(&[
            "forebay-block-store",
            "forebay-under-store",
            "forebay-proto",
            "forebay-local",
            "forebay-runtime",
            "forebay-types",
        ]),
    ),
    ("forebay-client", Below::Only(&["forebay-proto", "forebay-local", "forebay-types"])),
    ("forebay-fuse", Below::Only(&["forebay-client", "forebay-runtime", "forebay-types"])),
    ("forebay", Below::All),
    ("forebay-history", Below::Only(&[])),
    ("forebay-integration-tests", Below::All),
    ("forebay-sim", Below::All),
    ("xtask", Below::Only(&[])),
];

/// Pure crates: their tests keep to the table too, and no library of the outside world comes near them.
const CORES: [&str; 4] = ["forebay-types", "forebay-metadata", "forebay-jobs", "forebay-block-store"];
const OUTSIDE_WORLD: [&str; 3] = ["tokio", "tonic", "rocksdb"];

/// Checks the workspace and prints each arrow that is not allowed.
pub(crate) fn check() -> Result<()> {
    let metadata = crate::metadata(&[])?;
    let mut faults = edge_faults(&metadata)?;
    faults.extend(core_faults(&metadata)?);
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        bail!("deps: {} arrows that are not allowed; the table stands in xtask/src/deps.rs", faults.len());
    }
    println!("deps: all arrows point down");
    Ok(())
}

/// The arrows between crates of the workspace that the table does not have, and crates without a row.
fn edge_faults(metadata: &Value) -> Result<Vec<String>> {
    let packages = workspace_packages(metadata)?;
    let allowed = BTreeMap::from(ALLOWED);
    let names: BTreeSet<&str> =
        packages.iter().map(|package| text(package, "name")).collect::<Result<_>>()?;
    let mut faults = Vec::new();
    for package in packages {
        let name = text(package, "name")?;
        let Some(below) = allowed.get(name) else {
            faults.push(format!("{name} has no row: say what it may depend on"));
            continue;
        };
        for dependency in list(package, "dependencies")? {
            let (to, kind) = (text(dependency, "name")?, dependency["kind"].as_str().unwrap_or("normal"));
            let exempt = kind == "dev" && !CORES.contains(&name);
            let fits = match below {
                Below::Only(list) => list.contains(&to),
                Below::All => to != "xtask",
            };
            if names.contains(to) && !fits && !exempt {
                faults.push(format!("{name} -> {to} ({kind}) is not allowed"));
            }
        }
    }
    Ok(faults)
}

/// What the cores depend on that they must not know: named in a manifest, or reached through other crates.
fn core_faults(metadata: &Value) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in workspace_packages(metadata)? {
        let name = text(package, "name")?;
        if !CORES.contains(&name) {
            continue;
        }
        for dependency in list(package, "dependencies")? {
            let to = text(dependency, "name")?;
            if OUTSIDE_WORLD.contains(&to) {
                faults.push(format!("{name} -> {to} is not allowed: {name} is pure"));
            }
        }
        let reached = reached(metadata, text(package, "id")?)?;
        for (to, through) in reached.iter().filter(|(to, _)| OUTSIDE_WORLD.contains(&to.as_str())) {
            if through != name {
                faults.push(format!("{name} reaches {to} through {through}: {name} is pure"));
            }
        }
    }
    Ok(faults)
}

/// The names of all crates that are built for the one with this id, each with one that names it.
fn reached(metadata: &Value, id: &str) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for package in list(metadata, "packages")? {
        names.insert(text(package, "id")?, text(package, "name")?);
    }
    let mut nodes = BTreeMap::new();
    for node in list(&metadata["resolve"], "nodes")? {
        nodes.insert(text(node, "id")?, node);
    }
    let name =
        |id: &str| names.get(id).copied().with_context(|| format!("cargo metadata has no package {id}"));
    let (mut reached, mut seen, mut open) = (BTreeMap::new(), BTreeSet::from([id]), vec![id]);
    while let Some(from) = open.pop() {
        let node = nodes.get(from).with_context(|| format!("cargo metadata has no node {from}"))?;
        for dependency in list(node, "deps")? {
            let to = text(dependency, "pkg")?;
            let built = list(dependency, "dep_kinds")?.iter().any(|kind| kind["kind"].as_str().is_none());
            if built && seen.insert(to) {
                reached.insert(name(to)?.to_owned(), name(from)?.to_owned());
                open.push(to);
            }
        }
    }
    Ok(reached)
}

fn workspace_packages(metadata: &Value) -> Result<Vec<&Value>> {
    let members = list(metadata, "workspace_members")?;
    Ok(list(metadata, "packages")?.iter().filter(|package| members.contains(&package["id"])).collect())
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value[field].as_array().with_context(|| format!("cargo metadata has no list `{field}`"))
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("cargo metadata has no text `{field}`"))
}

#[cfg(test)]
mod tests;
