//! Every metric stands in docs/metrics.md, and the document names no metric that is gone.

use std::collections::BTreeMap;

use super::Finding;
use super::table::first_column;
use crate::tree::{SourceFile, Tree};

const DOCUMENT: &str = "docs/metrics.md";
const PREFIX: &str = "forebay_";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let document = tree.file(DOCUMENT).map_or("", |file| file.text.as_str());
    let documented = first_column(document);
    let metrics = metrics(tree);
    let missing = metrics.iter().filter(|(name, _)| !documented.iter().any(|(_, known)| known == *name));
    let mut findings: Vec<_> = missing
        .map(|(name, (file, at))| Finding::at(file, *at, format!("metric `{name}` has no row in {DOCUMENT}")))
        .collect();
    let gone = documented.iter().filter(|(_, name)| name.starts_with(PREFIX) && !metrics.contains_key(name));
    if let Some(file) = tree.file(DOCUMENT) {
        findings.extend(
            gone.map(|(at, name)| Finding::at(file, *at, format!("no code makes the metric `{name}`"))),
        );
    }
    findings
}

/// The literals of the product's code that look like a metric, with the first place of each.
fn metrics(tree: &Tree) -> BTreeMap<&str, (&SourceFile, usize)> {
    let crates: Vec<String> = tree.files.iter().filter_map(crate_name).collect();
    let mut metrics = BTreeMap::new();
    for (file, views) in
        tree.rust().filter(|(file, _)| !file.is_in("xtask") && !file.is_in("integration-tests"))
    {
        let end = file.tests_begin();
        for (at, text) in views.strings.iter().filter(|(at, _)| *at < end) {
            // A log target is a crate's name; a metric has a room, a thing and a unit after the prefix.
            if is_metric(text) && !crates.contains(text) {
                metrics.entry(text.as_str()).or_insert((file, *at));
            }
        }
    }
    metrics
}

fn is_metric(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let rest = text.strip_prefix(PREFIX);
    rest.is_some_and(|rest| rest.contains('_') && !rest.ends_with('_') && rest.bytes().all(legal))
}

/// The name of the crate that a manifest describes, as Rust writes it.
fn crate_name(file: &SourceFile) -> Option<String> {
    let line = file.text.lines().find(|line| file.name() == "Cargo.toml" && line.starts_with("name = "))?;
    Some(line.split('"').nth(1)?.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    const CODE: (&str, &str) =
        ("worker/server/src/metrics.rs", "fn a() { new(\"forebay_worker_reads_total\") }");

    #[test]
    fn a_metric_without_a_row_is_found() {
        let found = said(check, &[CODE, ("docs/metrics.md", "prose `forebay_worker_reads_total`")]);
        let message = "metric `forebay_worker_reads_total` has no row in docs/metrics.md";
        assert_eq!(found, [format!("worker/server/src/metrics.rs:1: {message}")]);
        assert_eq!(
            said(check, &[CODE, ("docs/metrics.md", "| `forebay_worker_reads_total` | reads |")]),
            [""; 0]
        );
    }

    #[test]
    fn a_row_without_a_metric_is_found() {
        let found = said(check, &[("docs/metrics.md", "# Metrics\n| `forebay_worker_gone_total` | x |")]);
        assert_eq!(found, ["docs/metrics.md:2: no code makes the metric `forebay_worker_gone_total`"]);
    }

    #[test]
    fn crate_names_and_tests_are_no_metrics() {
        let manifest = ("under-store/Cargo.toml", "[package]\nname = \"forebay-under-store\"\n");
        let code =
            "fn a() { b(\"forebay_under_store\") }\n#[cfg(test)]\nmod tests { x(\"forebay_test_x_total\") }";
        assert_eq!(said(check, &[manifest, ("under-store/src/a.rs", code)]), [""; 0]);
    }
}
