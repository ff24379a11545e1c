//! What costs no message to the master, and what does.

use std::sync::atomic::Ordering;

use forebay_proto::{ChangedName, ChangedNames, DirectoryChange, FeedPosition, Followed, News};
use forebay_types::{Incarnation, LogIndex};

use super::*;
use crate::doubles::{Master, Serving, directory, opened_file, settings};
use crate::{Changes, ClientSettings};

const DIRECTORY: InodeId = InodeId::new(2);

fn name(text: &str) -> EntryName {
    EntryName::new(text.as_bytes()).unwrap()
}

fn followed(index: u64, news: News) -> Followed {
    let position = FeedPosition { incarnation: Incarnation::new(1), index: LogIndex::new(index) };
    Followed { position, news, age: Duration::ZERO }
}

/// A file of the directory.
fn file(inode: u64) -> Entry {
    Entry { inode: InodeId::new(inode), directory: DIRECTORY, ..opened_file() }
}

/// A client that follows the changes of a master that has `/d` with the files `a`, `b` and `c`.
struct Setting {
    master: Arc<Master>,
    client: Client,
    changes: Changes,
    _serving: Serving,
}

impl Setting {
    async fn new() -> Self {
        Self::with_memory(1 << 20).await
    }

    async fn with_memory(bytes: u64) -> Self {
        let master = Arc::new(Master::default());
        let put = |parent, text, entry| drop(master.entries.lock().insert((parent, name(text)), entry));
        put(InodeId::ROOT, "d", directory(DIRECTORY));
        for (inode, text) in [(10, "a"), (11, "b"), (12, "c")] {
            put(DIRECTORY, text, file(inode));
        }
        master.tell([followed(5, News::Changes(Vec::new()))]);
        let serving = master.serve();
        let settings =
            ClientSettings { directory_memory: ByteCount::new(bytes), ..settings(&[serving.address]) };
        let client = Client::connect(settings).await.unwrap();
        let changes = client.follow_changes();
        while client.0.grants.vouched_until().is_none() {
            tokio::task::yield_now().await;
        }
        let setting = Self { master, client, changes, _serving: serving };
        setting.lookup_in(InodeId::ROOT, "d").await;
        setting
    }

    async fn lookup_in(&self, parent: InodeId, text: &str) -> Lookup {
        self.client.lookup(parent, &name(text)).await.unwrap()
    }

    async fn lookup(&self, text: &str) -> Lookup {
        self.lookup_in(DIRECTORY, text).await
    }

    /// Questions that reached the master: names and attributes, pages, opens.
    fn asked(&self) -> (u64, u64, u64) {
        let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.master.lookups), count(&self.master.lists), count(&self.master.opens))
    }

    /// Has a change of the directory heard of.
    async fn hear(&mut self, index: u64, text: &str, before: Option<u64>) {
        let names =
            ChangedNames::These(vec![ChangedName { name: name(text), before: before.map(InodeId::new) }]);
        let change = DirectoryChange { directory: DIRECTORY, names };
        self.master.tell([followed(index, News::Changes(vec![change]))]);
        self.changes.next().await;
    }

    async fn list(&self, limit: u32) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = self.client.list(DIRECTORY, after.as_ref(), limit).await.unwrap();
            names.extend(page.entries.iter().map(|named| named.name.to_string()));
            let last = page.entries.last();
            after = last.map(|named| ListingPosition::of(&named.name, named.entry.kind));
            if page.complete {
                return names;
            }
        }
    }
}

#[tokio::test]
async fn a_name_is_asked_for_once_and_its_answer_keeps_its_age() {
    let setting = Setting::new().await;
    let first = setting.lookup("a").await;
    assert_eq!(first.entry, Some(file(10)), "with its version and the right to read it");
    let missing = setting.lookup("x").await;
    assert_eq!(missing.entry, None);
    let asked = setting.asked();
    assert_eq!((setting.lookup("a").await, setting.lookup("x").await), (first.clone(), missing));
    let attributes = setting.client.attributes(InodeId::new(10)).await.unwrap();
    assert_eq!((attributes.entry, attributes.asked), (file(10), first.asked));
    let path = "/d/a".parse().unwrap();
    let (entry, left) = setting.client.resolve(&path).await.unwrap();
    assert!(entry == file(10) && left < first.valid);
    assert_eq!(setting.asked(), asked);
    assert!(setting.client.remembered() > ByteCount::ZERO);
}

#[tokio::test]
async fn what_is_heard_to_have_changed_is_asked_for_and_nothing_else() {
    let mut setting = Setting::new().await;
    for text in ["a", "b", "x"] {
        setting.lookup(text).await;
    }
    let changed = file(99);
    setting.master.entries.lock().insert((DIRECTORY, name("a")), changed.clone());
    setting.hear(6, "a", Some(10)).await;
    let (names, ..) = setting.asked();
    assert_eq!(setting.lookup("a").await.entry, Some(changed));
    assert_eq!(setting.asked().0, names + 1);
    setting.lookup("b").await;
    assert_eq!(setting.asked().0, names + 1);
    setting.lookup("x").await;
    assert_eq!(setting.asked().0, names + 2, "a name that was missing may be there");
}

#[tokio::test]
async fn a_directory_that_was_read_to_its_end_is_listed_again_from_memory_until_it_changes() {
    let mut setting = Setting::new().await;
    assert_eq!(setting.list(2).await, ["a", "b", "c"]);
    let (names, pages, _) = setting.asked();
    assert_eq!(
        (setting.list(1).await, setting.list(1000).await),
        (setting.list(2).await, setting.list(0).await)
    );
    assert_eq!(setting.lookup("b").await.entry, Some(file(11)));
    assert_eq!(setting.lookup("x").await.entry, None);
    assert_eq!((setting.asked().0, setting.asked().1), (names, pages));
    setting.master.entries.lock().insert((DIRECTORY, name("new")), file(13));
    setting.hear(6, "new", None).await;
    assert_eq!(setting.list(2).await, ["a", "b", "c", "new"]);
    assert_eq!(setting.asked().1, pages + 2);
}

#[tokio::test]
async fn a_directory_of_no_mount_is_always_asked_about() {
    let setting = Setting::new().await;
    let before = setting.asked().0;
    for _ in 0..2 {
        assert_eq!(setting.lookup_in(InodeId::ROOT, "mounted-next").await.entry, None);
    }
    assert_eq!(setting.asked().0, before + 2);
    setting.lookup_in(InodeId::ROOT, "d").await;
    assert_eq!(setting.asked().0, before + 2, "what is there is remembered");
}

#[tokio::test]
async fn opens_are_asked_and_say_what_the_name_means_now() {
    let setting = Setting::new().await;
    let old = Entry { version: file(9).version, cached: ByteCount::new(1), ..opened_file() };
    setting.master.entries.lock().insert((InodeId::ROOT, name("f")), old.clone());
    assert_eq!(setting.lookup_in(InodeId::ROOT, "f").await.entry, Some(old));
    let (entry, _) = setting.client.open(opened_file().inode).await.unwrap();
    assert_eq!(setting.asked().2, 1);
    let known = setting.lookup_in(InodeId::ROOT, "f").await.entry;
    assert_eq!((known.as_ref(), entry.cached), (Some(&entry), ByteCount::ZERO));
}

#[tokio::test]
async fn what_was_found_to_be_gone_is_looked_for_from_the_root_on() {
    let setting = Setting::new().await;
    setting.lookup("a").await;
    setting.master.gone.lock().push(DIRECTORY);
    let before = setting.asked().0;
    let error = setting.client.lookup(DIRECTORY, &name("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(setting.client.lookup(DIRECTORY, &name("a")).await.is_err(), "nor is what lay in it given");
    setting.lookup_in(InodeId::ROOT, "d").await;
    assert_eq!(setting.asked().0, before + 3);
}

#[tokio::test]
async fn without_memory_each_question_is_asked() {
    let setting = Setting::with_memory(0).await;
    let before = setting.asked();
    for _ in 0..2 {
        setting.lookup("a").await;
        setting.list(1000).await;
    }
    assert_eq!(setting.asked(), (before.0 + 2, before.1 + 2, before.2));
    assert_eq!(setting.client.remembered(), ByteCount::ZERO);
}
