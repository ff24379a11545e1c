//! A large library has one home: only that crate names it, so that it can be exchanged by changing one crate.

use super::Finding;
use crate::lexer::words;
use crate::tree::{SourceFile, Tree};

const HOMES: [(&str, &str); 4] = [
    ("openraft", "master/raft"),
    ("rocksdb", "master/storage"),
    ("fuser", "fuse-bridge"),
    ("object_store", "under-store"),
];

/// Where a library is named as well, since Forebay is measured beside it.
const BENCHMARKS: (&str, &str) = ("object_store", "integration-tests");

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (library, home) in HOMES {
        let is_measured = |file: &SourceFile| library == BENCHMARKS.0 && file.is_in(BENCHMARKS.1);
        let outside = |file: &&SourceFile| !file.is_in(home) && !is_measured(file);
        let message = format!("`{library}` is named outside {home}");
        for file in tree.files.iter().filter(outside) {
            let found = match &file.views {
                Some(views) => {
                    words(&views.code, library).find(|at| is_crate_path(&views.code, *at, library))
                }
                None if is_member_manifest(file) => depends(&file.text, library),
                None => None,
            };
            findings.extend(found.map(|at| Finding::at(file, at, message.clone())));
        }
    }
    findings
}

/// Whether the word is the head of a path or stands in a `use`; a field or module of the same name is no library.
fn is_crate_path(code: &str, at: usize, library: &str) -> bool {
    let before = code[..at].trim_end();
    let after = code[at + library.len()..].trim_start();
    let nested = before.ends_with("::") && !before.ends_with(" ::");
    let imported = ["use", "crate"].iter().any(|word| before.ends_with(word));
    !nested && (after.starts_with("::") || imported)
}

/// The root's manifest lists the versions of all libraries, and is everybody's.
fn is_member_manifest(file: &SourceFile) -> bool {
    file.name() == "Cargo.toml" && file.path != "Cargo.toml"
}

/// Where a manifest names a dependency.
fn depends(manifest: &str, library: &str) -> Option<usize> {
    let mut offset = 0;
    for line in manifest.split_inclusive('\n') {
        let rest = line.strip_prefix(library).map(str::trim_start);
        let header = line.starts_with('[') && line.contains(&format!("dependencies.{library}]"));
        if header || rest.is_some_and(|rest| rest.starts_with(['.', '='])) {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn a_library_outside_its_home_is_found_in_code_and_manifest() {
        let message = "`rocksdb` is named outside master/storage";
        for text in [
            "use rocksdb::DB;",
            "fn a(db: &rocksdb::DB) {}",
            "use rocksdb as store;",
            "fn a() { ::rocksdb::b() }",
        ] {
            assert_eq!(said(check, &[("master/storage/src/a.rs", text)]), [""; 0]);
            assert_eq!(
                said(check, &[("master/raft/src/a.rs", text)]),
                [format!("master/raft/src/a.rs:1: {message}")]
            );
        }
        for text in
            ["[dependencies]\nrocksdb.workspace = true", "\nrocksdb = \"1\"", "\n[dev-dependencies.rocksdb]"]
        {
            assert_eq!(said(check, &[("cli/Cargo.toml", text)]), [format!("cli/Cargo.toml:2: {message}")]);
            assert_eq!(said(check, &[("Cargo.toml", text), ("master/storage/Cargo.toml", text)]), [""; 0]);
        }
    }

    #[test]
    fn the_same_word_in_other_places_is_no_library() {
        let text = "//! About rocksdb.\nfn rocksdb() { a.fuser(); crate::fuser::b(); \"openraft::x\"; }";
        assert_eq!(
            said(check, &[("cli/src/a.rs", text), ("cli/Cargo.toml", "# rocksdb = 1\nrocksdb-x = \"1\"")]),
            [""; 0]
        );
    }
}
