//! An object of S3 as the place of a backup, `s3://bucket/key`, with the options that reach it. Read and written by this very
//! process, with credentials that stay here.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use forebay_types::{FileOffset, Fingerprint, UnderStoreKey, UnderStoreUri};
use forebay_under_store::{ObjectUpload, UnderStore, UnderStoreError, connect, follow_reference};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::failure::Failure;

/// Pieces that are ahead of whoever reads them.
const PIECES_AHEAD_MAX: usize = 8;
/// How often in a row a read that breaks off is gone on with, as long as nothing comes.
const FUTILE_READS_MAX: u32 = 3;

/// The place of an object.
pub(crate) struct ObjectPlace {
    uri: UnderStoreUri,
    /// With references replaced.
    options: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl ObjectPlace {
    /// The place that was typed; `None` if that is a file. `given` are options as `forebay mount` takes them.
    pub(crate) fn of(
        typed: &Path,
        given: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, Failure> {
        let Some((scheme, _)) = typed.to_str().and_then(|typed| typed.split_once("://")) else {
            if given.is_empty() {
                return Ok(None);
            }
            return Err(Failure::usage("--option is for a backup at s3://bucket/key; a file has none"));
        };
        let shown = typed.display();
        if scheme != "s3" {
            return Err(Failure::usage(format!(
                "{shown}: backups go to files and to S3, not to {scheme}; write the path of a file, or s3://bucket/key"
            )));
        }
        let uri: Result<UnderStoreUri, _> = shown.to_string().parse();
        let uri = uri.map_err(|error| Failure::usage(error.to_string()))?;
        if uri.path().is_empty() {
            return Err(Failure::usage(format!("{shown} names no object: write s3://bucket/key")));
        }
        let mut options = BTreeMap::new();
        for option in given {
            let Some((name, value)) = option.split_once('=') else {
                return Err(Failure::usage(format!("--option {option}: write KEY=VALUE")));
            };
            let is_reference = value.starts_with("env:") || value.starts_with("file:");
            let value =
                if is_reference { follow_reference(value, environment) } else { Ok(value.to_owned()) };
            let value =
                value.map_err(|error| Failure::usage(format!("--option {name} refers to what {error}")))?;
            if options.insert(name.to_owned(), value).is_some() {
                return Err(Failure::usage(format!("--option {name} is given twice")));
            }
        }
        Ok(Some(Self { uri, options, environment: environment.clone() }))
    }

    /// What is there; `None` when nothing is.
    pub(crate) async fn found(&self) -> Result<Option<Fingerprint>, UnderStoreError> {
        self.store()?.fingerprint(&UnderStoreKey::default()).await
    }

    /// Begins to write it.
    pub(crate) fn upload(&self) -> Result<ObjectUpload, UnderStoreError> {
        ObjectUpload::new(&self.uri, &self.options, &self.environment)
    }

    /// What is there, for whoever reads it on a thread of its own, and the work that brings it, which ends with the reader.
    pub(crate) async fn read(&self) -> Result<(PieceReader, impl Future<Output = ()> + use<>), Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(format!("cannot read the backup {self}: {error}"));
        let store = self.store().map_err(|error| failed(&error))?;
        let version = store.fingerprint(&UnderStoreKey::default()).await.map_err(|error| failed(&error))?;
        let version = version.ok_or_else(|| failed(&"there is no such object; correct the name"))?;
        let (sender, reader) = pieces();
        Ok((reader, feed(store, version, sender)))
    }

    fn store(&self) -> Result<Arc<dyn UnderStore>, UnderStoreError> {
        connect(&self.uri, &self.options, &self.environment)
    }
}

impl std::fmt::Display for ObjectPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.uri.fmt(f)
    }
}

/// Gives the bytes of a version in their order. Where a read breaks off, the next one goes on behind it.
async fn feed(store: Arc<dyn UnderStore>, version: Fingerprint, sender: mpsc::Sender<io::Result<Bytes>>) {
    let (key, mut given, mut futile) = (UnderStoreKey::default(), 0, 0);
    while given < version.length.get() {
        let rest = FileOffset::new(given)..FileOffset::new(version.length.get());
        let begun = given;
        let error = match store.read(&key, rest, &version).await {
            Err(error) => error,
            Ok(mut stream) => loop {
                match stream.next().await {
                    Some(Ok(piece)) => {
                        given += piece.len() as u64;
                        if sender.send(Ok(piece)).await.is_err() {
                            return;
                        }
                    }
                    // A stream ends early only with an error.
                    None => return,
                    Some(Err(error)) => break error,
                }
            },
        };
        futile = if given > begun { 0 } else { futile + 1 };
        let is_other = matches!(error, UnderStoreError::Changed { .. });
        if is_other || futile >= FUTILE_READS_MAX {
            let _ = sender.send(Err(io::Error::other(error.to_string()))).await;
            return;
        }
    }
}

/// A way for pieces to whoever reads them as one.
pub(crate) fn pieces() -> (mpsc::Sender<io::Result<Bytes>>, PieceReader) {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD_MAX);
    (sender, PieceReader { receiver, rest: Bytes::new() })
}

/// Reads pieces as they come, and waits for them: not on a thread of the runtime.
pub(crate) struct PieceReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let length = self.rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(typed: &str, options: &[&str]) -> Result<Option<ObjectPlace>, Failure> {
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let environment = BTreeMap::from([("SECRET".to_owned(), "hidden".to_owned())]);
        ObjectPlace::of(Path::new(typed), &options, &environment)
    }

    #[test]
    fn a_path_is_a_file_and_a_uri_an_object() {
        for path in ["/backups/one", "one", "s3:/bucket", "./s3"] {
            assert!(of(path, &[]).expect("legal").is_none(), "{path}");
        }
        let place =
            of("s3://bucket/a/b", &["secret_access_key=env:SECRET"]).expect("legal").expect("an object");
        assert_eq!(place.to_string(), "s3://bucket/a/b");
        assert_eq!(place.options["secret_access_key"], "hidden");
        for wrong in ["s3://bucket", "file:///tmp/one", "http://host/one"] {
            assert!(of(wrong, &[]).is_err(), "{wrong}");
        }
        assert!(of("/backups/one", &["endpoint=http://host"]).is_err(), "a file has no options");
        for wrong in ["endpoint", "secret_access_key=env:NONE"] {
            assert!(of("s3://bucket/a", &[wrong]).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn pieces_are_read_as_one_and_an_error_ends_them() {
        let (sender, mut reader) = pieces();
        let reading = tokio::task::spawn_blocking(move || {
            let (mut read, mut buffer) = (Vec::new(), [0; 3]);
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return (read, None),
                    Ok(length) => read.extend_from_slice(&buffer[..length]),
                    Err(error) => return (read, Some(error.to_string())),
                }
            }
        });
        for piece in ["ab", "", "cdefg"] {
            sender.send(Ok(Bytes::from(piece))).await.expect("somebody reads");
        }
        sender.send(Err(io::Error::other("broken"))).await.expect("somebody reads");
        assert_eq!(reading.await.expect("read"), (b"abcdefg".to_vec(), Some("broken".to_owned())));
    }
}
