//! The suite is worth something: under-stores with one planted fault each are caught by the rule meant for it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_types::{FileOffset, Fingerprint, UnderStoreKey, UnderStoreUri};
use forebay_under_store::conformance;
use forebay_under_store::{
    ListedPage, ObjectStatus, PageToken, ReadStream, UnderStore, UnderStoreError, UnderStoreStatistics,
};
use futures::{StreamExt, TryStreamExt};

use crate::file_conformance::ABILITIES;
use crate::open;
use crate::writers::DirectoryWriter;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    DropsAnEntryOfTheSecondPage,
    ListsWithoutPages,
    FlipsABit,
    EndsEarly,
    IgnoresTheVersion,
    SaysChangedWithoutWhatIsThere,
    FindsNoDirectories,
}

/// A local directory with a fault.
#[derive(Debug)]
struct Faulty {
    sound: Arc<dyn UnderStore>,
    fault: Fault,
}

#[async_trait]
impl UnderStore for Faulty {
    fn uri(&self) -> &UnderStoreUri {
        self.sound.uri()
    }

    fn statistics(&self) -> &Arc<UnderStoreStatistics> {
        self.sound.statistics()
    }

    async fn check(&self) -> Result<(), UnderStoreError> {
        self.sound.check().await
    }

    async fn list(
        &self,
        directory: &UnderStoreKey,
        page_token: Option<PageToken>,
    ) -> Result<ListedPage, UnderStoreError> {
        let is_later = page_token.is_some();
        let mut page = self.sound.list(directory, page_token).await?;
        if self.fault == Fault::DropsAnEntryOfTheSecondPage && is_later {
            page.entries.pop();
        }
        while self.fault == Fault::ListsWithoutPages && page.next.is_some() {
            let mut rest = self.sound.list(directory, page.next.take()).await?;
            page.entries.append(&mut rest.entries);
            page.next = rest.next;
        }
        Ok(page)
    }

    async fn stat(&self, key: &UnderStoreKey) -> Result<Option<ObjectStatus>, UnderStoreError> {
        let found = self.sound.stat(key).await?;
        let is_hidden = self.fault == Fault::FindsNoDirectories && !key.as_bytes().is_empty();
        Ok(found.filter(|found| !is_hidden || found.kind == forebay_types::EntryKind::File))
    }

    async fn fingerprint(&self, key: &UnderStoreKey) -> Result<Option<Fingerprint>, UnderStoreError> {
        self.sound.fingerprint(key).await
    }

    async fn read(
        &self,
        key: &UnderStoreKey,
        range: Range<FileOffset>,
        expected: &Fingerprint,
    ) -> Result<ReadStream, UnderStoreError> {
        let now = self.sound.fingerprint(key).await?.filter(|_| self.fault == Fault::IgnoresTheVersion);
        let read = self.sound.read(key, range, now.as_ref().unwrap_or(expected)).await;
        let stream = match read {
            Err(UnderStoreError::Changed { object, expected, .. })
                if self.fault == Fault::SaysChangedWithoutWhatIsThere =>
            {
                return Err(UnderStoreError::Changed { object, expected, found: None });
            }
            read => read?,
        };
        Ok(match self.fault {
            Fault::EndsEarly => stream.take(1).boxed(),
            Fault::FlipsABit => stream
                .map_ok(|chunk| {
                    let mut bytes = chunk.to_vec();
                    if let Some(last) = bytes.last_mut() {
                        *last ^= 1;
                    }
                    Bytes::from(bytes)
                })
                .boxed(),
            _ => stream,
        })
    }
}

#[tokio::test]
async fn each_planted_fault_is_caught_by_its_rule() {
    let cases = [
        (Fault::DropsAnEntryOfTheSecondPage, "a long listing comes in pages, each entry once"),
        (Fault::ListsWithoutPages, "a long listing comes in pages, each entry once"),
        (Fault::FlipsABit, "any legal name is listed, found and read"),
        (Fault::EndsEarly, "every range gives its bytes"),
        (Fault::IgnoresTheVersion, "a file replaced by one of the same length is another version"),
        (
            Fault::SaysChangedWithoutWhatIsThere,
            "a file replaced by one of the same length is another version",
        ),
        (Fault::FindsNoDirectories, "a directory is listed one level deep, and stat agrees with it"),
    ];
    for (fault, rule) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        std::fs::create_dir(&root).expect("a root");
        let sound = open(&format!("file://{}", root.display()), &[]).expect("legal");
        let faulty = Faulty { sound, fault };
        let caught = conformance::run(&faulty, &DirectoryWriter::new(root), ABILITIES).await;
        assert_eq!(caught.map_err(|caught| caught.rule), Err(rule), "{fault:?}");
    }
}
