//! What the references in a mount's options lead to: `env:NAME` and `file:PATH`, as this process sees them.
//!
//! Files are read on blocking threads, only regular ones and only up to a limit: whoever mounts names the path, and a
//! pipe or a server that hangs may hold up nobody else. A reading that hangs keeps its thread until it ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use forebay_under_store::UnderStoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// Options by name.
pub(super) type Values = BTreeMap<String, String>;

/// Follows references.
#[derive(Debug)]
pub(super) struct References {
    /// What `env:NAME` refers to.
    environment: BTreeMap<String, String>,
    /// Readings under way.
    places: Arc<Semaphore>,
}

impl References {
    pub(super) fn new(environment: BTreeMap<String, String>) -> Self {
        Self { environment, places: Arc::new(Semaphore::new(limits::REFERENCE_READS_MAX)) }
    }

    /// The values of `references`. Keeps `place` until the files are read, also when it is dropped before. Cancel safe.
    ///
    /// # Errors
    /// `BadOption`, which names the option and the reference, never what was read.
    pub(super) async fn follow(
        &self,
        references: &Values,
        place: OwnedSemaphorePermit,
    ) -> Result<Values, UnderStoreError> {
        let (mut values, mut files) = (Values::new(), Vec::new());
        for (option, reference) in references {
            match reference.split_once(':') {
                Some(("env", name)) => {
                    let value = self.environment.get(name).cloned();
                    let value =
                        value.ok_or_else(|| leads_nowhere(option, reference, "is not set for the master"))?;
                    values.insert(option.clone(), value);
                }
                Some(("file", path)) => files.push((option.clone(), reference.clone(), path.to_owned())),
                _ => return Err(leads_nowhere(option, reference, "is neither env:NAME nor file:PATH")),
            }
        }
        if files.is_empty() {
            return Ok(values);
        }
        let all = Arc::clone(&self.places).acquire_owned().await.expect("never closed");
        let reading = tokio::task::spawn_blocking(move || {
            let _places = (all, place);
            let read = |(option, reference, path): (String, String, String)| {
                let failed = |error| {
                    leads_nowhere(&option, &reference, &format!("cannot be read by the master: {error}"))
                };
                let value = read_file(&path).map_err(failed)?;
                Ok((option, value))
            };
            files.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        });
        let Ok(read) = reading.await else {
            return Err(UnderStoreError::Stopping { object: "a file that an option refers to".to_owned() });
        };
        values.extend(read?);
        Ok(values)
    }
}

fn leads_nowhere(option: &str, reference: &str, problem: &str) -> UnderStoreError {
    UnderStoreError::BadOption {
        name: option.to_owned(),
        problem: format!("refers to `{reference}`, which {problem}"),
    }
}

/// The text of a file, without the line break that editors and `echo` leave at its end.
fn read_file(path: &str) -> io::Result<String> {
    // Before it is opened, since opening a pipe waits for its other end.
    let is_file = std::fs::metadata(path)?.is_file();
    if !is_file {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(limits::REFERENCE_LENGTH_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limits::REFERENCE_LENGTH_MAX {
        return Err(io::Error::other(format!("it is longer than {} bytes", limits::REFERENCE_LENGTH_MAX)));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    async fn follow(reference: &str) -> Result<String, UnderStoreError> {
        let references = References::new(Values::from([("NAME".to_owned(), "value".to_owned())]));
        let asked = Values::from([("o".to_owned(), reference.to_owned())]);
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("open");
        references.follow(&asked, place).await.map(|mut values| values.remove("o").expect("asked for"))
    }

    fn of(path: &Path) -> String {
        format!("file:{}", path.display())
    }

    #[tokio::test]
    async fn references_are_followed_or_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "from a file\r\n").expect("written");
        assert_eq!(follow("env:NAME").await.expect("set"), "value");
        assert_eq!(follow(&of(&secret)).await.expect("there"), "from a file");
        for wrong in ["env:OTHER", "file:/nowhere/at/all", "plain"] {
            let error = follow(wrong).await.expect_err("leads nowhere").to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[tokio::test]
    async fn a_pipe_a_device_and_a_long_file_are_refused_and_hold_up_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let (pipe, long) = (dir.path().join("pipe"), dir.path().join("long"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("run").success());
        std::fs::write(&long, vec![b'x'; 64 << 10]).expect("written");
        assert_eq!(follow(&of(&long)).await.expect("as long as may be").len(), 64 << 10);
        std::fs::write(&long, vec![b'x'; (64 << 10) + 1]).expect("written");
        for (path, problem) in [
            (pipe.as_path(), "no regular file"),
            (Path::new("/dev/zero"), "no regular file"),
            (dir.path(), "no regular file"),
            (long.as_path(), "longer than 65536 bytes"),
        ] {
            let error = follow(&of(path)).await.expect_err("refused").to_string();
            assert!(error.contains(problem) && error.contains(&of(path)), "{error}");
        }
    }
}
