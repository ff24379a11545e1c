//! The rules of reading: exact ranges, one version, everything counted.

use forebay_types::{ErrorKind, FileOffset};
use futures::{StreamExt, TryStreamExt};

use super::{Outcome, Suite, content, done, ensure, key};
use crate::error::UnderStoreError;

const MIB: u64 = 1 << 20;

impl Suite<'_> {
    pub(super) async fn every_range_gives_its_bytes(&self) -> Outcome {
        let rule = "every range gives its bytes";
        let length = 3 * MIB + 7;
        let whole = content(usize::try_from(length).expect("small"), 4);
        self.writer.put(b"ranges", whole.clone()).await;
        let version = self.version(rule, b"ranges").await?;
        ensure(rule, version.length.get() == length, || format!("{version} is not {length} long"))?;
        let edges = [0, 1, 4095, 4096, MIB - 1, MIB, MIB + 1, 2 * MIB, length - 1, length];
        for start in edges {
            for count in [0, 1, 2, 4095, MIB - 1, MIB, MIB + 1, length] {
                let count = count.min(length - start);
                let read = done(rule, self.read(b"ranges", start, count, &version).await)?;
                let [from, to] = [start, start + count].map(|at| usize::try_from(at).expect("small"));
                ensure(rule, read == whole.slice(from..to), || {
                    format!("{} bytes or others came for {count} from {start}", read.len())
                })?;
            }
        }
        let beyond = self.read(b"ranges", length - 1, 2, &version).await.map_err(|error| error.kind());
        ensure(rule, beyond == Err(ErrorKind::InvalidArgument), || format!("beyond the end is {beyond:?}"))?;
        self.writer.put(b"empty", content(0, 0)).await;
        let empty = self.read_now(rule, b"empty").await?;
        ensure(rule, empty.is_empty(), || format!("an empty file has {} bytes", empty.len()))
    }

    pub(super) async fn a_replaced_file_is_another_version(&self) -> Outcome {
        let rule = "a file replaced by one of the same length is another version";
        self.writer.put(b"replaced", content(100, 5)).await;
        let old = self.version(rule, b"replaced").await?;
        self.writer.put(b"replaced", content(100, 6)).await;
        let new = self.version(rule, b"replaced").await?;
        ensure(rule, !old.is_same_content(&new), || format!("both are {old}"))?;
        for count in [0, 1, 100] {
            let read = self.read(b"replaced", 0, count, &old).await;
            let is_told = matches!(&read, Err(UnderStoreError::Changed { found: Some(found), .. })
                if found.is_same_content(&new));
            ensure(rule, is_told, || format!("{count} bytes of the old version are {read:?}"))?;
        }
        let read = done(rule, self.read(b"replaced", 0, 100, &new).await)?;
        ensure(rule, read == content(100, 6), || "the new version has other bytes".to_owned())?;
        self.writer.delete(b"replaced").await;
        for count in [0, 100] {
            let gone = self.read(b"replaced", 0, count, &new).await;
            let is_told = matches!(gone, Err(UnderStoreError::Changed { found: None, .. }));
            ensure(rule, is_told, || format!("{count} bytes of a deleted file are {gone:?}"))?;
        }
        let found = self.stat(rule, b"replaced").await?;
        ensure(rule, found.is_none(), || format!("a deleted file is {found:?}"))
    }

    pub(super) async fn versions_are_never_mixed(&self) -> Outcome {
        let rule = "a file replaced while it is read gives one version or an error";
        if !self.abilities.replaces_atomically {
            return Ok(());
        }
        let length = 24 * MIB;
        let [old, new] = [7, 8].map(|seed| content(usize::try_from(length).expect("small"), seed));
        self.writer.put(b"mixed", old.clone()).await;
        let version = self.version(rule, b"mixed").await?;
        let range = FileOffset::new(0)..FileOffset::new(length);
        let mut stream = done(rule, self.store.read(&key("mixed"), range, &version).await)?;
        let first = done(rule, stream.next().await.expect("a first chunk"))?;
        self.writer.put(b"mixed", new).await;
        let rest: Result<Vec<_>, _> = stream.try_collect().await;
        if let Ok(rest) = rest {
            let read = [&[first][..], &rest[..]].concat().concat();
            ensure(rule, read == old, || "bytes of both versions came without an error".to_owned())?;
        }
        Ok(())
    }

    pub(super) async fn bytes_read_are_counted(&self) -> Outcome {
        let rule = "requests and bytes are counted";
        let version = self.version(rule, b"ranges").await?;
        let before = self.store.statistics().counts();
        done(rule, self.read(b"ranges", 10, 1000, &version).await)?;
        done(rule, self.store.list(&key("tree"), None).await)?;
        self.stat(rule, b"trees").await?;
        let after = self.store.statistics().counts();
        let grew = after.read_bytes - before.read_bytes == 1000
            && after.get_requests > before.get_requests
            && after.list_requests > before.list_requests
            && after.head_requests > before.head_requests
            && after.errors == before.errors;
        ensure(rule, grew, || format!("{before:?} became {after:?}"))
    }
}
