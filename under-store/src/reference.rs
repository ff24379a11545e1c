//! What an option of a mount refers to, as this process sees it: `env:NAME` or `file:PATH`.
//!
//! Whoever mounts names the path, so only regular files are read, and only up to a limit. The file system may hang all
//! the same: callers read on a thread that they can spare.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use thiserror::Error;

use crate::limits::REFERENCE_LENGTH_MAX;

/// Why a reference leads to no value. It reads on after "the option refers to X, which"; it never says what was read.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// It is of no kind that is known.
    #[error("is no reference; write env:NAME or file:PATH")]
    Unknown,
    /// The variable is not set.
    #[error("is not set for this process; set it and restart")]
    NotSet,
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    File(#[from] io::Error),
    /// Something other than a file, such as a pipe, which whoever opens it may wait for without an end.
    #[error("is no regular file; write the value into one")]
    NoFile,
    /// The file is too long to hold a value.
    #[error("is longer than {REFERENCE_LENGTH_MAX} bytes; write the value alone into a file of its own")]
    TooLong,
}

/// Whether following a reference reads a file, and so may block.
#[must_use]
pub fn reads_a_file(reference: &str) -> bool {
    reference.starts_with("file:")
}

/// The value that `reference` leads to now; `environment` is what `env:NAME` is looked up in.
///
/// # Errors
/// [`ReferenceError`].
pub fn follow_reference(
    reference: &str,
    environment: &BTreeMap<String, String>,
) -> Result<String, ReferenceError> {
    match reference.split_once(':') {
        Some(("env", name)) => environment.get(name).cloned().ok_or(ReferenceError::NotSet),
        Some(("file", path)) => read_file(path),
        _ => Err(ReferenceError::Unknown),
    }
}

/// The text of a file, without the line break that editors and `echo` leave at its end.
fn read_file(path: &str) -> Result<String, ReferenceError> {
    // Before it is opened, since opening a pipe waits for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReferenceError::NoFile);
    }
    let mut text = String::new();
    File::open(path)?.take(REFERENCE_LENGTH_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > REFERENCE_LENGTH_MAX {
        return Err(ReferenceError::TooLong);
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn follow(reference: &str) -> Result<String, String> {
        let environment = BTreeMap::from([("NAME".to_owned(), "value".to_owned())]);
        follow_reference(reference, &environment).map_err(|error| error.to_string())
    }

    fn of(path: &Path) -> String {
        format!("file:{}", path.display())
    }

    #[test]
    fn a_reference_leads_to_its_value_or_says_why_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "from a file\r\n").expect("written");
        assert_eq!(follow("env:NAME").as_deref(), Ok("value"));
        assert_eq!(follow(&of(&secret)).as_deref(), Ok("from a file"));
        for (wrong, problem) in
            [("env:OTHER", "not set"), ("file:/nowhere/at/all", "cannot be read"), ("plain", "no reference")]
        {
            let error = follow(wrong).expect_err("leads nowhere");
            assert!(error.contains(problem), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_pipe_a_device_and_a_long_file_are_refused_and_hold_up_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let (pipe, long) = (dir.path().join("pipe"), dir.path().join("long"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("run").success());
        std::fs::write(&long, vec![b'x'; 64 << 10]).expect("written");
        assert_eq!(follow(&of(&long)).expect("as long as may be").len(), 64 << 10);
        std::fs::write(&long, vec![b'x'; (64 << 10) + 1]).expect("written");
        for (path, problem) in [
            (pipe.as_path(), "no regular file"),
            (Path::new("/dev/zero"), "no regular file"),
            (dir.path(), "no regular file"),
            (long.as_path(), "longer than 65536 bytes"),
        ] {
            let error = follow(&of(path)).expect_err("refused");
            assert!(error.contains(problem), "{error}");
        }
    }
}
