//! Directories that change while they are listed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use bytes::Bytes;
use forebay_client::{About, Change, Entry, Standing};
use forebay_types::{BlockCapability, ByteCount, EntryName, FileOffset, VersionDescriptor};

use super::*;
use crate::doubles::{directory, file};
use crate::namespace::{
    AtHand, Changes, Described, Found, HeldFile, LentFile, Listed, ReadSource, RestingFile, Room,
    VersionReader,
};
use crate::outline::OutlineMemory;

/// One directory whose pages are of two names.
#[derive(Debug, Default)]
struct Shelf {
    names: Mutex<BTreeMap<EntryName, Entry>>,
    asked: Mutex<usize>,
    disordered: bool,
    /// When the master was asked for what is listed; now, without one.
    remembered_since: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct NoReader;

impl VersionReader for NoReader {
    async fn read_at(&self, _: FileOffset, _: ByteCount) -> Result<Bytes, NamespaceError> {
        unreachable!("a listing reads no file")
    }
}

#[derive(Debug)]
struct NoFile;

impl AsFd for NoFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unreachable!("a listing holds no file")
    }
}

impl HeldFile for NoFile {
    type Resting = Self;

    fn rest(self) -> Self {
        self
    }
}

impl LentFile for NoFile {
    fn cached(&self) -> ByteCount {
        unreachable!("a listing is lent nothing")
    }
}

impl RestingFile for NoFile {
    fn may_rest(&self) -> bool {
        false
    }

    fn is_unchanged(&self) -> bool {
        false
    }
}

struct NoChanges;

impl Changes for NoChanges {
    async fn next(&mut self) -> (Vec<Change>, Duration) {
        unreachable!("a listing follows nothing")
    }
}

impl Namespace for Shelf {
    type Reader = NoReader;
    type Hold = NoFile;
    type Lend = NoFile;
    type Changes = NoChanges;

    fn follow_changes(&self) -> NoChanges {
        unreachable!("a listing follows nothing")
    }

    fn standing(&self, _: About, _: Instant) -> Standing {
        unreachable!("a listing remembers nothing")
    }

    async fn lookup(&self, _: InodeId, _: &EntryName) -> Result<Found, NamespaceError> {
        unreachable!("a listing looks no name up")
    }

    async fn attributes(&self, _: InodeId) -> Result<Described, NamespaceError> {
        unreachable!("a listing asks for no attributes")
    }

    async fn ask_attributes(&self, _: InodeId) -> Result<Described, NamespaceError> {
        unreachable!("a listing asks for no attributes")
    }

    fn remembered(&self) -> ByteCount {
        ByteCount::ZERO
    }

    async fn list(
        &self,
        _: InodeId,
        after: Option<&ListingPosition>,
        limit: usize,
    ) -> Result<Listed, NamespaceError> {
        *self.asked.lock() += 1;
        assert_eq!(limit, if after.is_none() { FIRST_NAMES } else { LISTING_PAGE_MAX });
        let names = self.names.lock();
        let rest = || {
            let place = |(name, entry): &(&EntryName, &Entry)| ListingPosition::of(name, entry.kind);
            names.iter().filter(move |of| after.is_none_or(|after| place(of) > *after))
        };
        let named = |(name, entry): (&EntryName, &Entry)| Named { name: name.clone(), entry: entry.clone() };
        let mut entries: Vec<_> = rest().take(2).map(named).collect();
        if self.disordered {
            entries.reverse();
        }
        let asked = self.remembered_since.lock().unwrap_or_else(Instant::now);
        Ok(Listed { complete: rest().count() <= 2, entries, asked, valid: Duration::from_secs(60) })
    }

    async fn open(&self, _: InodeId) -> Result<Described, NamespaceError> {
        unreachable!("a listing opens no file")
    }

    async fn room(&self) -> Result<Room, NamespaceError> {
        unreachable!("a listing asks for no room")
    }

    fn reader(
        &self,
        _: InodeId,
        _: &VersionDescriptor,
        _: &BlockCapability,
        _: AtHand<Self::Hold, Self::Lend>,
    ) -> NoReader {
        unreachable!("a listing reads no file")
    }

    async fn at_hand(
        &self,
        _: &VersionDescriptor,
        _: &BlockCapability,
    ) -> Result<AtHand<Self::Hold, Self::Lend>, NamespaceError> {
        unreachable!("a listing reads no file")
    }

    async fn hold(
        &self,
        _: &VersionDescriptor,
        _: &BlockCapability,
    ) -> Result<Option<Self::Hold>, NamespaceError> {
        unreachable!("a listing holds no file")
    }

    async fn resting_wanted_back(&self) {
        unreachable!("a listing holds no file")
    }

    async fn source(&self, _: &Entry) -> Result<ReadSource, NamespaceError> {
        unreachable!("a listing reads no file")
    }

    fn note_open(&self, _: InodeId) {}

    fn count_passthrough_open(&self, _: ByteCount) {}
}

impl Shelf {
    fn of(names: &[&str]) -> Self {
        let shelf = Self::default();
        names.iter().for_each(|name| shelf.put(name));
        shelf
    }

    fn put(&self, name: &str) {
        self.names.lock().insert(entry_name(name), file(5, 100, 1));
    }

    fn remove(&self, name: &str) {
        self.names.lock().remove(&entry_name(name));
    }
}

fn entry_name(name: &str) -> EntryName {
    EntryName::new(name.as_bytes()).expect("legal")
}

fn handle() -> OpenDirectory {
    let inode = directory(1).inode;
    OpenDirectory::new(NodeId::ROOT, inode, NodeId::ROOT)
}

/// What a mount has beside its namespace.
struct Mount {
    metrics: Metrics,
    listings: KernelListings,
}

impl Mount {
    fn new() -> Self {
        let metrics = Metrics::new().expect("legal").0;
        Self { metrics, listings: KernelListings::new(OutlineMemory::new(1 << 20)) }
    }

    fn asking<'a>(&'a self, namespace: &'a Shelf) -> Asking<'a, Shelf> {
        Asking { namespace, rule: TtlRule::default(), metrics: &self.metrics, listings: &self.listings }
    }
}

/// The names and offsets that one request at `offset` finds.
async fn names_at(shelf: &Shelf, handle: &OpenDirectory, offset: u64) -> Vec<(u64, String)> {
    let mount = Mount::new();
    let reading = handle.page_at(&mount.asking(shelf), offset).await.expect("listed");
    reading.entries().map(|(next, named)| (next, named.name.to_string())).collect()
}

/// A whole listing from `offset` on.
async fn rest(shelf: &Shelf, handle: &OpenDirectory, mut offset: u64) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let names = names_at(shelf, handle, offset).await;
        let Some((next, _)) = names.last() else { return all };
        offset = *next;
        all.extend(names.into_iter().map(|(_, name)| name));
    }
}

#[tokio::test]
async fn pages_follow_each_other_by_name() {
    let shelf = Shelf::of(&["a", "b", "c", "d", "e"]);
    let handle = handle();
    assert_eq!(names_at(&shelf, &handle, 0).await, [(3, "a".to_owned()), (4, "b".to_owned())]);
    assert_eq!(rest(&shelf, &handle, 4).await, ["c", "d", "e"]);
    assert_eq!(*shelf.asked.lock(), 3);
    assert_eq!(rest(&shelf, &handle, 7).await, [""; 0]);
    assert_eq!(*shelf.asked.lock(), 3, "the end is remembered");
}

#[tokio::test]
async fn names_that_come_and_go_neither_repeat_nor_hide_others() {
    let shelf = Shelf::of(&["b", "c", "d", "e"]);
    let handle = handle();
    assert_eq!(names_at(&shelf, &handle, 0).await.len(), 2);
    shelf.put("a");
    shelf.remove("b");
    shelf.put("f");
    assert_eq!(rest(&shelf, &handle, 4).await, ["d", "e", "f"]);
}

#[tokio::test]
async fn a_name_that_did_not_fit_is_given_again_without_asking() {
    let shelf = Shelf::of(&["a", "b", "c"]);
    let handle = handle();
    names_at(&shelf, &handle, 0).await;
    assert_eq!(names_at(&shelf, &handle, 3).await, [(4, "b".to_owned())]);
    assert_eq!(*shelf.asked.lock(), 1);
}

#[tokio::test]
async fn rewinding_sees_what_is_new() {
    let shelf = Shelf::of(&["b"]);
    let handle = handle();
    assert_eq!(rest(&shelf, &handle, 0).await, ["b"]);
    shelf.put("a");
    assert_eq!(rest(&shelf, &handle, 0).await, ["a", "b"]);
}

#[tokio::test]
async fn the_page_that_an_open_fetched_is_used_once() {
    let shelf = Shelf::of(&["b"]);
    let handle = handle();
    let mount = Mount::new();
    handle.begin(&mount.asking(&shelf)).await.expect("there");
    assert_eq!(rest(&shelf, &handle, 0).await, ["b"]);
    assert_eq!(*shelf.asked.lock(), 1);
    shelf.put("a");
    assert_eq!(rest(&shelf, &handle, 0).await, ["a", "b"]);
}

#[tokio::test]
async fn going_back_beyond_the_page_walks_again_from_the_begin() {
    let shelf = Shelf::of(&["a", "b", "c", "d", "e"]);
    let handle = handle();
    rest(&shelf, &handle, 0).await;
    assert_eq!(rest(&shelf, &handle, 3).await, ["b", "c", "d", "e"]);
    assert_eq!(names_at(&shelf, &handle, 6).await, [(7, "e".to_owned())]);
    assert_eq!(rest(&shelf, &handle, 99).await, [""; 0]);
}

#[tokio::test]
async fn an_empty_directory_is_over_at_once() {
    let shelf = Shelf::default();
    assert_eq!(rest(&shelf, &handle(), 0).await, [""; 0]);
}

#[tokio::test]
async fn names_out_of_order_are_an_error_and_no_endless_listing() {
    let shelf = Shelf { disordered: true, ..Shelf::of(&["a", "b"]) };
    let mount = Mount::new();
    let error = handle().page_at(&mount.asking(&shelf), 0).await.map(drop).expect_err("disordered");
    assert_eq!(error.kind, ErrorKind::Internal);
}

#[tokio::test]
async fn a_page_that_was_remembered_is_as_old_as_its_answer() {
    let shelf = Shelf::of(&["a"]);
    let asked = Instant::now();
    *shelf.remembered_since.lock() = Some(asked);
    let mount = Mount::new();
    let reading = handle().page_at(&mount.asking(&shelf), 0).await.expect("listed");
    assert_eq!(reading.page.validity, TtlRule::default().validity(asked, Duration::from_secs(60)));
}

#[test]
fn an_entry_never_goes_over_the_end_of_a_page_of_the_kernel() {
    let of = |names: &[usize]| names.iter().fold(KernelPages::new(4096), |pages, length| pages.with(*length));
    assert_eq!(of(&[1, 2, 8, 9]).length, 32 + 32 + 32 + 40);
    assert!(of(&[5; 128]).is_full() && !of(&[5; 127]).is_full() && !of(&[5; 129]).is_full());
    // 14 of 280 bytes leave room for none of them.
    assert_eq!(of(&[255; 15]).length, 4096 + 280);
}
