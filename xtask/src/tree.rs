//! The files of the repository as the rules see them: read once, Rust taken apart, build output left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::lexer::{Views, views};

/// What is not ours: build output and what `make quickstart` keeps. Hidden folders are passed over too.
const FOREIGN_FOLDERS: [&str; 1] = ["target"];
/// Endings of the files that some rule reads.
const ENDINGS: [&str; 7] = ["rs", "md", "toml", "proto", "sh", "yaml", "yml"];

/// All files that a rule may look at, by path.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) files: Vec<SourceFile>,
    /// Whatever a document may lead to: files of any ending and folders, relative to the workspace, with slashes.
    pub(crate) paths: BTreeSet<String>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the workspace, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// For Rust; other files have none.
    pub(crate) views: Option<Views>,
}

impl Tree {
    /// Reads the workspace.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut tree = Self { files: Vec::new(), paths: BTreeSet::new() };
        walk(root, "", &mut tree)?;
        tree.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(tree)
    }

    /// The file at a path.
    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The Rust files with their views.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&SourceFile, &Views)> {
        self.files.iter().filter_map(|file| file.views.as_ref().map(|views| (file, views)))
    }

    /// A tree with faults planted by a test.
    #[cfg(test)]
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let with_folders = |path: &str| {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            ends.map(|end| path[..end].to_owned()).collect::<Vec<_>>()
        };
        Self {
            files: files.iter().map(|(path, text)| SourceFile::new(path, (*text).to_owned())).collect(),
            paths: files.iter().flat_map(|(path, _)| with_folders(path)).collect(),
        }
    }
}

impl SourceFile {
    pub(crate) fn new(path: &str, text: String) -> Self {
        let views = path.ends_with(".rs").then(|| views(&text));
        Self { path: path.to_owned(), text, views }
    }

    /// The name without its folder.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(self.path.as_str(), |(_, name)| name)
    }

    /// Whether the file lies in a folder, given without a slash at its end.
    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The line of an offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Where the tests of a Rust file begin; its end if it has none. By our style they stand last.
    pub(crate) fn tests_begin(&self) -> usize {
        let is_test_file = self.name() == "tests.rs" || format!("/{}", self.path).contains("/tests/");
        let module = || self.views.as_ref()?.code.find("#[cfg(test)]\nmod tests");
        if is_test_file { 0 } else { module().unwrap_or(self.text.len()) }
    }
}

fn walk(folder: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    let unreadable = || format!("{} cannot be read", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().with_context(unreadable)?;
        if kind.is_dir() && (name.starts_with('.') || FOREIGN_FOLDERS.contains(&name.as_str())) {
            continue;
        }
        tree.paths.insert(path.clone());
        if kind.is_dir() {
            walk(&entry.path(), &path, tree)?;
        }
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        if kind.is_file() && (ENDINGS.contains(&ending) || name == "Makefile") {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("{path} cannot be read"))?;
            tree.files.push(SourceFile::new(&path, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_found_without_its_build_output() {
        let tree = Tree::load(&crate::root()).expect("readable");
        assert!(tree.file("xtask/src/tree.rs").is_some_and(|file| file.views.is_some()));
        assert!(tree.file("Cargo.toml").is_some_and(|file| file.views.is_none()));
        assert!(!tree.files.iter().any(|file| file.is_in("target") || file.is_in(".git")));
        assert!(["xtask", "xtask/src/tree.rs", "LICENSE"].iter().all(|path| tree.paths.contains(*path)));
        assert!(!tree.paths.contains("target"));
    }

    #[test]
    fn tests_begin_where_their_module_does() {
        let file = SourceFile::new("a/src/b.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n".to_owned());
        assert_eq!(file.tests_begin(), 10);
        assert_eq!(SourceFile::new("a/src/b/tests.rs", "fn a() {}".to_owned()).tests_begin(), 0);
        assert_eq!(SourceFile::new("a/src/b.rs", "fn a() {}".to_owned()).tests_begin(), 9);
    }
}
