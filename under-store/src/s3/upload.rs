//! Writes one object as a whole, in bounded memory: in parts that the server puts together at the end, or with one request
//! where it is short. Until the end nobody sees anything of it, and an object that was there is what it was.
//!
//! Requests are object_store's: what is special about ours, keys of any form and answers that fit a version, is about reading.

use std::collections::BTreeMap;

use bytes::Bytes;
use forebay_types::{ByteCount, UnderStoreScheme, UnderStoreUri};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use super::settings;
use crate::error::UnderStoreError;
use crate::limits::{UPLOAD_PART_LENGTH, UPLOAD_PARTS_MAX};
use crate::options::resolve_options;

/// An object that is being written. To be ended by [`finish`](Self::finish) or [`abort`](Self::abort): one that is dropped
/// leaves parts behind that nobody sees and that take room.
#[derive(Debug)]
pub struct ObjectUpload {
    store: AmazonS3,
    path: Path,
    /// For messages.
    object: String,
    gathered: Vec<Bytes>,
    gathered_length: usize,
    /// Begun with the first part.
    upload: Option<Box<dyn MultipartUpload>>,
    parts: u64,
}

impl ObjectUpload {
    /// Prepares to write the object at `uri`, `s3://bucket/key`. Nothing is sent yet. `options` and `environment` are as
    /// for [`connect`](crate::connect). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Those of options; `BadOption` for a URI that names no object.
    pub fn new(
        uri: &UnderStoreUri,
        options: &BTreeMap<String, String>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, UnderStoreError> {
        let bad = |problem: String| UnderStoreError::BadOption { name: "key".to_owned(), problem };
        if uri.scheme() != UnderStoreScheme::S3 || uri.path().is_empty() {
            return Err(bad(format!("is missing in {uri}: write s3://bucket/key")));
        }
        let resolved = resolve_options(uri.scheme(), options, environment)?;
        let path = Path::parse(uri.path()).map_err(|problem| bad(format!("cannot be used: {problem}")))?;
        Ok(Self {
            store: settings::store(uri, &resolved)?,
            path,
            object: uri.to_string(),
            gathered: Vec::new(),
            gathered_length: 0,
            upload: None,
            parts: 0,
        })
    }

    /// Takes the next bytes, and sends a part when there are enough.
    ///
    /// # Errors
    /// `NotWritten`, `TooLarge`; the upload is to be aborted then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), UnderStoreError> {
        self.gathered_length += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_length >= UPLOAD_PART_LENGTH { self.send_part().await } else { Ok(()) }
    }

    async fn send_part(&mut self) -> Result<(), UnderStoreError> {
        if self.parts >= UPLOAD_PARTS_MAX {
            let max = ByteCount::new(UPLOAD_PARTS_MAX * UPLOAD_PART_LENGTH as u64);
            return Err(UnderStoreError::TooLarge { object: self.object.clone(), max });
        }
        let part = self.take_gathered();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let begun = self.store.put_multipart(&self.path).await;
                self.upload.insert(begun.map_err(|error| not_written(&self.object, &error))?)
            }
        };
        self.parts += 1;
        upload.put_part(part).await.map_err(|error| not_written(&self.object, &error))
    }

    fn take_gathered(&mut self) -> PutPayload {
        self.gathered_length = 0;
        PutPayload::from_iter(std::mem::take(&mut self.gathered))
    }

    /// Sends what is left, and has the object appear. Where that fails all is taken back.
    ///
    /// # Errors
    /// `NotWritten`, `TooLarge`.
    pub async fn finish(mut self) -> Result<(), UnderStoreError> {
        let finished = self.try_finish().await;
        if finished.is_err() {
            // What was said first is told.
            let _ = self.abort().await;
        }
        finished
    }

    async fn try_finish(&mut self) -> Result<(), UnderStoreError> {
        if self.upload.is_none() {
            let whole = self.take_gathered();
            let put = self.store.put(&self.path, whole).await;
            return put.map(drop).map_err(|error| not_written(&self.object, &error));
        }
        if self.gathered_length > 0 {
            self.send_part().await?;
        }
        match &mut self.upload {
            Some(upload) => {
                upload.complete().await.map(drop).map_err(|error| not_written(&self.object, &error))
            }
            None => Ok(()),
        }
    }

    /// Has the server forget the parts that were sent.
    ///
    /// # Errors
    /// `NotWritten`: parts may be left; a rule of the bucket for unfinished uploads removes them.
    pub async fn abort(mut self) -> Result<(), UnderStoreError> {
        match &mut self.upload {
            Some(upload) => upload.abort().await.map_err(|error| not_written(&self.object, &error)),
            None => Ok(()),
        }
    }
}

fn not_written(object: &str, error: &object_store::Error) -> UnderStoreError {
    // The innermost reason has the server's own words.
    let (mut reason, mut next) = (error.to_string(), std::error::Error::source(error));
    while let Some(source) = next {
        let deeper = source.to_string();
        if !reason.contains(&deeper) {
            reason = format!("{reason}: {deeper}");
        }
        next = source.source();
    }
    UnderStoreError::NotWritten { object: object.to_owned(), reason }
}
