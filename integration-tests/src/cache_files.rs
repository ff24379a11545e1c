//! The files that a worker keeps cached bytes in, for tests that damage them.

use std::path::{Path, PathBuf};

/// All files with this ending, `data` or `index`, below a cluster's folder, mounts aside.
///
/// # Panics
/// When a folder cannot be read.
#[must_use]
pub fn cache_files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        if folder.ends_with("fuse") {
            continue;
        }
        for entry in std::fs::read_dir(folder).expect("readable").map_while(Result::ok) {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                _ if path.extension().is_some_and(|extension| extension == ending) => found.push(path),
                _ => {}
            }
        }
    }
    found
}
