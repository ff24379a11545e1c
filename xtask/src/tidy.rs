//! `cargo xtask tidy`: the house rules that no compiler knows, each in a file of its own with a planted fault.
//!
//! A rule that people broke three times becomes a rule here. Rules read sources only; they need no build.

mod config_keys;
mod dependency_homes;
mod document_links;
mod errno_bridge;
mod forbidden_names;
mod header;
mod leftovers;
mod length;
mod markdown;
mod metric_names;
mod module_files;
mod rule_tests;
mod status_bridge;
mod table;

use std::fmt;

use anyhow::{Result, bail};

use crate::tree::{SourceFile, Tree};

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: [Rule; 12] = [
    config_keys::check,
    dependency_homes::check,
    document_links::check,
    errno_bridge::check,
    forbidden_names::check,
    header::check,
    leftovers::check,
    length::check,
    metric_names::check,
    module_files::check,
    rule_tests::check,
    status_bridge::check,
];

/// Checks the whole repository and prints each place to mend.
pub(crate) fn check() -> Result<()> {
    let tree = Tree::load(&crate::root())?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {} files keep {} rules", tree.files.len(), RULES.len()),
        count => bail!("tidy: {count} places to mend"),
    }
    Ok(())
}

impl Finding {
    /// A finding at an offset of a file.
    fn at(file: &SourceFile, offset: usize, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line: file.line(offset), message: message.into() }
    }

    /// A finding about a file as a whole.
    fn about(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 1, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// What a rule says of planted files, as a person sees it.
#[cfg(test)]
fn said(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
    rule(&Tree::planted(files)).iter().map(ToString::to_string).collect()
}
