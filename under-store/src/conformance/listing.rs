//! The rules of listings and of looking at one name.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use forebay_types::{EntryKind, ErrorKind};
use futures::StreamExt;

use super::{Outcome, Suite, content, done, ensure, key};
use crate::port::ListedObject;

/// Entries of the long listing: three pages.
const MANY: usize = 2500;
/// Writes at once.
const WRITERS: usize = 16;

fn kinds(entries: &[ListedObject]) -> BTreeMap<Vec<u8>, EntryKind> {
    entries.iter().map(|entry| (entry.name.as_bytes().to_vec(), entry.status.kind)).collect()
}

impl Suite<'_> {
    pub(super) async fn an_empty_store_is_an_empty_directory(&self) -> Outcome {
        let rule = "an empty store is an empty directory";
        done(rule, self.store.check().await)?;
        let (entries, skipped) = self.list_all(rule, b"").await?;
        ensure(rule, entries.is_empty() && skipped == 0, || format!("it has {entries:?}"))?;
        let root = self.stat(rule, b"").await?;
        ensure(rule, root.as_ref().is_some_and(|root| root.kind == EntryKind::Directory), || {
            format!("{root:?}")
        })
    }

    pub(super) async fn a_first_page_tells_of_its_directory_where_there_are_owners(&self) -> Outcome {
        let rule = "the first page tells what its directory is, where the under-store has owners";
        self.writer.put(b"told/a", content(1, 1)).await;
        for at in ["", "told"] {
            let page = done(rule, self.store.list(&key(at), None).await)?;
            let has_owners = crate::has_owners(self.store.uri());
            let expected = self.stat(rule, at.as_bytes()).await?.filter(|_| has_owners);
            let shown = page.directory.as_ref();
            ensure(rule, shown == expected.as_ref(), || {
                format!("{at:?} is {shown:?} to a listing and {expected:?} alone")
            })?;
            let is_told = shown.is_some_and(|shown| shown.mode.is_some() && shown.uid.is_some());
            ensure(rule, is_told == has_owners, || format!("{at:?} is {shown:?}"))?;
        }
        Ok(())
    }

    pub(super) async fn a_directory_is_listed_one_level_deep(&self) -> Outcome {
        let rule = "a directory is listed one level deep, and stat agrees with it";
        for (at, length) in
            [("tree/a.txt", 5), ("tree/sub/b.txt", 6), ("tree/sub/deep/c.txt", 7), ("trees", 8)]
        {
            self.writer.put(at.as_bytes(), content(length, 1)).await;
        }
        let (entries, skipped) = self.list_all(rule, b"tree").await?;
        let expected =
            BTreeMap::from([(b"a.txt".to_vec(), EntryKind::File), (b"sub".to_vec(), EntryKind::Directory)]);
        ensure(rule, kinds(&entries) == expected && skipped == 0, || {
            format!("tree has {entries:?}, {skipped}")
        })?;
        let listed =
            entries.iter().find(|entry| entry.status.kind == EntryKind::File).expect("compared above");
        let version = self.version(rule, b"tree/a.txt").await?;
        ensure(rule, version.length.get() == 5, || format!("{version} is not 5 bytes long"))?;
        let fingerprint = listed.status.fingerprint.as_ref();
        let agrees = fingerprint
            .is_some_and(|listed| listed.is_same_content(&version) && listed.modified == version.modified);
        ensure(rule, agrees, || format!("listed {fingerprint:?}, asked for {version:?}"))?;
        for (at, kind) in
            [("tree", EntryKind::Directory), ("tree/sub", EntryKind::Directory), ("trees", EntryKind::File)]
        {
            let found = self.stat(rule, at.as_bytes()).await?;
            ensure(rule, found.as_ref().is_some_and(|found| found.kind == kind), || {
                format!("{at} is {found:?}")
            })?;
        }
        let of_directory = done(rule, self.store.fingerprint(&key("tree")).await)?;
        ensure(rule, of_directory.is_none(), || {
            format!("a directory has the file's fingerprint {of_directory:?}")
        })
    }

    pub(super) async fn a_long_listing_comes_in_pages_and_whole(&self) -> Outcome {
        let rule = "a long listing comes in pages, each entry once";
        let names: BTreeSet<String> = (0..MANY).map(|number| format!("file-{number:05}")).collect();
        let writes = names.iter().map(|name| async move {
            self.writer.put(format!("many/{name}").as_bytes(), Bytes::from(name.clone())).await;
        });
        futures::stream::iter(writes).buffer_unordered(WRITERS).collect::<Vec<()>>().await;
        let (entries, skipped) = self.list_all(rule, b"many").await?;
        ensure(rule, entries.len() == MANY && skipped == 0, || {
            format!("{} entries and {skipped} skipped of {MANY}", entries.len())
        })?;
        let listed: BTreeSet<String> = entries.iter().map(|entry| entry.name.to_string()).collect();
        ensure(rule, listed == names, || format!("{} differ", listed.symmetric_difference(&names).count()))?;
        let first = done(rule, self.store.list(&key("many"), None).await)?;
        ensure(rule, first.next.is_some(), || "the first page is the last".to_owned())
    }

    pub(super) async fn a_page_token_serves_its_own_listing(&self) -> Outcome {
        let rule = "a page token serves only the directory that gave it";
        let first = done(rule, self.store.list(&key("many"), None).await)?;
        let other = self.store.list(&key("tree"), first.next).await;
        ensure(rule, other.is_err_and(|error| error.kind() == ErrorKind::InvalidArgument), || {
            "the token of `many` was taken for `tree`".to_owned()
        })
    }

    pub(super) async fn hidden_and_illegal_keys_are_counted(&self) -> Outcome {
        let rule = "keys that cannot be shown are counted and never break their neighbours";
        if !self.abilities.keys_are_flat {
            return Ok(());
        }
        let long = format!("odd/{}", "n".repeat(300));
        // `twin-` and `twin.` stand between `twin` and `twin/`.
        let keys = [
            "odd/file",
            "odd/twin",
            "odd/twin-",
            "odd/twin.",
            "odd/twin/below",
            "odd//empty",
            "odd/marked/",
            "odd/",
            &long,
        ];
        let dotted: &[&str] = if self.abilities.takes_dot_parts { &["odd/../up", "odd/./here"] } else { &[] };
        for at in keys.iter().chain(dotted) {
            self.writer.put(at.as_bytes(), content(if at.ends_with('/') { 0 } else { 3 }, 2)).await;
        }
        let (entries, skipped) = self.list_all(rule, b"odd").await?;
        let expected = [("file", 'f'), ("twin", 'd'), ("twin-", 'f'), ("twin.", 'f'), ("marked", 'd')];
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(name, kind)| {
                (name.as_bytes().to_vec(), if *kind == 'd' { EntryKind::Directory } else { EntryKind::File })
            })
            .collect();
        ensure(rule, kinds(&entries) == expected && entries.len() == expected.len(), || {
            format!("{entries:?}")
        })?;
        // The empty name, the long one, the file that the directory `twin` hides, and the dots.
        ensure(rule, skipped == 3 + dotted.len() as u64, || format!("{skipped} were counted as skipped"))?;
        for (at, kind) in [("odd/twin", EntryKind::Directory), ("odd/marked", EntryKind::Directory)] {
            let found = self.stat(rule, at.as_bytes()).await?;
            ensure(rule, found.as_ref().is_some_and(|found| found.kind == kind), || {
                format!("{at} is {found:?}")
            })?;
        }
        let (marked, _) = self.list_all(rule, b"odd/marked").await?;
        ensure(rule, marked.is_empty(), || format!("{marked:?}"))
    }

    pub(super) async fn what_is_missing_is_said_to_be_missing(&self) -> Outcome {
        let rule = "what is missing is said to be missing";
        for at in ["missing", "tree/missing", "tree/a.txt/below", "tre"] {
            let found = self.stat(rule, at.as_bytes()).await?;
            ensure(rule, found.is_none(), || format!("{at} is {found:?}"))?;
        }
        let listed = self.store.list(&key("tree/missing"), None).await.map_err(|error| error.kind());
        ensure(rule, matches!(listed, Err(ErrorKind::NotFound)), || {
            format!("a missing directory is {listed:?}")
        })?;
        let listed = self.store.list(&key("tree/a.txt"), None).await.map_err(|error| error.kind());
        let is_refused = matches!(listed, Err(ErrorKind::NotFound | ErrorKind::NotADirectory));
        ensure(rule, is_refused, || format!("a file is listed as {listed:?}"))
    }

    pub(super) async fn a_key_that_leaves_the_mount_is_refused(&self) -> Outcome {
        let rule = "a key with a part that is no name is refused";
        for at in ["..", "tree/..", "tree/../trees", "tree//a.txt", "/tree", "tree/", "."] {
            let refused = self.store.stat(&key(at)).await.map_err(|error| error.kind());
            ensure(rule, refused == Err(ErrorKind::InvalidArgument), || format!("{at} is {refused:?}"))?;
        }
        Ok(())
    }
}
