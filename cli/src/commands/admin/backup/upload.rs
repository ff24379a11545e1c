//! A backup as an object: it appears whole or not at all.
//!
//! It is checked while it is sent, in bounded memory, and only if it is whole the server is told to put it together. What was
//! there under its name is there until then.

use std::io;

use bytes::Bytes;
use forebay_master::backup::{BackupError, BackupReader, BackupSummary};
use forebay_under_store::{ObjectUpload, UnderStoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Unusable;
use crate::failure::Failure;
use crate::object::{self, ObjectPlace};
use crate::output::complain;

/// An object that nobody sees yet.
pub(super) struct Unfinished<'a> {
    place: &'a ObjectPlace,
    force: bool,
    upload: ObjectUpload,
    /// What the check is given.
    checked: mpsc::Sender<io::Result<Bytes>>,
    check: JoinHandle<Result<BackupSummary, BackupError>>,
}

pub(super) async fn refuse_existing(place: &ObjectPlace) -> Result<(), Failure> {
    match place.found().await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(exists(place)),
        Err(error) => Err(cannot_write(place, &error)),
    }
}

fn exists(place: &ObjectPlace) -> Failure {
    Failure::new(format!(
        "cannot back up to {place}: the object exists; choose another name, or say --force to replace it"
    ))
}

fn cannot_write(place: &ObjectPlace, error: &UnderStoreError) -> Failure {
    Failure::new(format!("cannot back up to {place}: {error}"))
}

impl<'a> Unfinished<'a> {
    pub(super) fn begin(place: &'a ObjectPlace, force: bool) -> Result<Self, Failure> {
        let upload = place.upload().map_err(|error| Failure::usage(format!("{place}: {error}")))?;
        let (checked, reader) = object::pieces();
        let check =
            tokio::task::spawn_blocking(move || BackupReader::open(reader).and_then(BackupReader::check));
        Ok(Self { place, force, upload, checked, check })
    }

    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), Unusable> {
        if self.checked.send(Ok(piece.clone())).await.is_err() {
            // The check has ended, which it does early only by an error.
            return match (&mut self.check).await {
                Ok(Err(error)) => Err(Unusable::no_backup(&error)),
                _ => Err(Unusable::wrong("what came goes on behind its end".to_owned())),
            };
        }
        self.upload.write(piece).await.map_err(|error| Unusable::Target(cannot_write(self.place, &error)))
    }

    /// Has the object appear, if what was sent is whole and `accepts` takes it.
    pub(super) async fn finish(
        self,
        accepts: impl FnOnce(&BackupSummary) -> Result<(), Unusable>,
    ) -> Result<BackupSummary, Unusable> {
        let Self { place, force, upload, checked, check } = self;
        drop(checked);
        let verdict = match check.await {
            Ok(Ok(summary)) => accepts(&summary).map(|()| summary),
            Ok(Err(error)) => Err(Unusable::no_backup(&error)),
            Err(error) => Err(Unusable::wrong(format!("it could not be checked: {error}"))),
        };
        let is_free =
            async { if force { Ok(()) } else { refuse_existing(place).await.map_err(Unusable::Target) } };
        let verdict = match verdict {
            Ok(summary) => is_free.await.map(|()| summary),
            Err(error) => Err(error),
        };
        let summary = match verdict {
            Ok(summary) => summary,
            Err(error) => {
                take_back(place, upload).await;
                return Err(error);
            }
        };
        let failed = |error: &UnderStoreError| Unusable::Target(cannot_write(place, error));
        upload.finish().await.map_err(|error| failed(&error))?;
        let unseen = |error: UnderStoreError| {
            Unusable::Target(Failure::new(format!(
                "cannot see whether the backup to {place} is there: it was sent whole, and {error}; let the credentials \
                 look at objects (HEAD), or look yourself"
            )))
        };
        let there = place.found().await.map_err(unseen)?.map(|found| found.length.get());
        if there == Some(summary.length) {
            return Ok(summary);
        }
        let found = there.map_or_else(|| "nothing".to_owned(), |length| format!("{length} bytes"));
        Err(Unusable::Target(Failure::new(format!(
            "cannot back up to {place}: {} bytes were sent and the server has {found}; somebody else may write there: choose \
             another name",
            summary.length
        ))))
    }

    /// Takes back what was sent.
    pub(super) async fn abort(self) {
        take_back(self.place, self.upload).await;
    }
}

async fn take_back(place: &ObjectPlace, upload: ObjectUpload) {
    if let Err(error) = upload.abort().await {
        complain(&format!(
            "note: parts of {place} may be left in the bucket ({error}); a rule for unfinished uploads removes them"
        ));
    }
}
