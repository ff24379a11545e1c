//! What is granted is used without asking, by us and by the kernel, until a change is told.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_client::{Change, ChangedName, ChangedNames, DirectoryChange};
use forebay_fuse::FuseOptions;
use forebay_types::InodeId;

use crate::fixture::{Fixture, content, eventually};
use crate::tree::{Tree, name};

/// Shorter than anything that a test does twice.
const ALONE: Duration = Duration::from_micros(1);

/// A tree with `dir/f` and `dir/g`, whose answers are good for an hour to whoever hears of changes, and to others for no
/// time worth naming.
fn granted() -> (Fixture, InodeId) {
    granted_with(FuseOptions::default())
}

fn granted_with(options: FuseOptions) -> (Fixture, InodeId) {
    granted_over(&Tree::new(), options)
}

fn granted_over(tree: &Arc<Tree>, options: FuseOptions) -> (Fixture, InodeId) {
    tree.write("dir/f", content(1000, 1));
    tree.write("dir/g", content(1000, 2));
    tree.edit("dir", |entry| entry.under_store_uri = "s3://bucket/dir".to_owned());
    tree.set_valid(ALONE);
    tree.set_granted(Duration::from_secs(3600));
    let directory = tree.inode("dir");
    (Fixture::with(tree, options), directory)
}

fn changed(directory: InodeId, names: &[&str]) -> Change {
    let names = names.iter().map(|text| ChangedName { name: name(text), before: None });
    Change::Directory(DirectoryChange { directory, names: ChangedNames::These(names.collect()) })
}

fn length(fixture: &Fixture, path: &str) -> u64 {
    std::fs::metadata(fixture.path(path)).expect("there").len()
}

fn mode(fixture: &Fixture, path: &str) -> u32 {
    std::fs::metadata(fixture.path(path)).expect("there").permissions().mode() & 0o7777
}

fn attributes(fixture: &Fixture) -> u64 {
    fixture.tree.counts.attributes.load(Ordering::SeqCst)
}

fn lookups(fixture: &Fixture) -> u64 {
    fixture.tree.counts.lookups.load(Ordering::SeqCst)
}

#[test]
fn an_open_under_a_grant_asks_nobody_until_its_version_is_void() {
    let (fixture, _) = granted();
    let opens = || fixture.tree.counts.opens.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(std::fs::read(fixture.path("dir/f")).expect("read"), content(1000, 1));
    }
    assert_eq!(
        (opens(), lookups(&fixture)),
        (0, 2),
        "each name is looked up once, and nothing else is asked"
    );
    // The change is known here, and the kernel was not told: the open finds out.
    fixture.tree.write("dir/f", content(2000, 3));
    eventually("the new content is opened", || {
        std::fs::read(fixture.path("dir/f")).expect("never an error") == content(2000, 3)
    });
    assert!(opens() > 0);
}

#[test]
fn the_kernel_is_told_of_a_changed_name_and_of_no_other() {
    let (fixture, directory) = granted();
    assert_eq!((length(&fixture, "dir/f"), length(&fixture, "dir/g")), (1000, 1000));
    let before = lookups(&fixture);
    fixture.tree.write("dir/f", content(2000, 3));
    assert_eq!((length(&fixture, "dir/f"), lookups(&fixture)), (1000, before), "it remembers");
    fixture.tree.tell(vec![changed(directory, &["f"])]);
    eventually("the new length is seen", || length(&fixture, "dir/f") == 2000);
    assert_eq!(length(&fixture, "dir/g"), 1000);
    // The changed name was asked for anew, perhaps twice, as the kernel does where another node came.
    assert!((1..=2).contains(&(lookups(&fixture) - before)));
    eventually("it is counted", || fixture.metric("forebay_fuse_notices_total{kind=\"name\"}") == 1);
    eventually("it is measured", || fixture.metric("forebay_fuse_change_delay_seconds_count") == 1);
}

#[test]
fn how_a_mounts_directory_is_the_kernel_asks_for_after_a_listing_of_what_it_lies_in() {
    let hour = Duration::from_secs(3600);
    for own_grant in [false, true] {
        let (fixture, _) = granted();
        fixture.tree.set_valid(hour);
        fixture.tree.edit("dir", |entry| (entry.own_grant, entry.mode) = (own_grant, Some(0o755)));
        assert_eq!(std::fs::read_dir(fixture.path("")).expect("listed").count(), 1);
        let before = lookups(&fixture) + attributes(&fixture);
        assert_eq!(mode(&fixture, "dir"), 0o755);
        let asked = lookups(&fixture) + attributes(&fixture) - before;
        assert_eq!(asked > 0, own_grant, "what the listing showed of a mount's directory is not used");
    }
}

#[test]
fn how_the_directory_is_that_was_mounted_the_kernel_asks_for_itself_since_it_cannot_be_told() {
    let tree = Tree::new();
    tree.edit_root(|entry| entry.own_grant = true);
    tree.set_granted_own(Duration::from_secs(3600));
    let (fixture, _) = granted_over(&tree, FuseOptions::default());
    fixture.tree.edit("dir", |entry| (entry.own_grant, entry.mode) = (true, Some(0o755)));
    for of in [0o755, 0o700, 0o750] {
        fixture.tree.edit_root(|entry| entry.mode = Some(of));
        assert_eq!(mode(&fixture, ""), of);
    }
    // Of one that has a name it is told, and so remembers it.
    assert_eq!(mode(&fixture, "dir"), 0o755);
    fixture.tree.edit("dir", |entry| entry.mode = Some(0o700));
    assert_eq!(mode(&fixture, "dir"), 0o755);
    fixture.tree.tell(vec![changed(InodeId::ROOT, &["dir"])]);
    eventually("the new mode is seen", || mode(&fixture, "dir") == 0o700);
}

#[test]
fn a_name_that_was_missing_is_seen_when_it_is_told() {
    let (fixture, directory) = granted();
    let exists = || fixture.path("dir/new").exists();
    assert!(!exists() && !exists());
    assert_eq!(lookups(&fixture), 2, "that it is missing is remembered");
    fixture.tree.write("dir/new", content(10, 1));
    assert!(!exists());
    fixture.tree.tell(vec![changed(directory, &["new"])]);
    eventually("it is there", exists);
}

#[test]
fn when_everything_may_have_changed_all_is_asked_for_again_and_what_is_in_use_stays() {
    let (fixture, _) = granted();
    let open = File::open(fixture.path("dir/f")).expect("opened");
    assert!(!fixture.path("dir/new").exists());
    fixture.tree.write("dir/f", content(2000, 3));
    fixture.tree.write("dir/new", content(10, 1));
    fixture.tree.tell(vec![Change::Everything]);
    eventually("the changes are seen", || {
        length(&fixture, "dir/f") == 2000 && fixture.path("dir/new").exists()
    });
    assert_eq!(open.metadata().expect("never stale").len(), 1000);
    // Once at the mount, to find out whether it can be.
    assert_eq!(fixture.metric("forebay_fuse_notices_total{kind=\"all\"}"), 1);
}

#[test]
fn many_changes_at_once_are_told_as_everything() {
    let (fixture, directory) = granted();
    assert_eq!(length(&fixture, "dir/f"), 1000);
    fixture.tree.write("dir/f", content(2000, 3));
    let names: Vec<_> = (0..1000).map(|number| format!("name-{number}")).collect();
    fixture.tree.tell(vec![changed(directory, &names.iter().map(String::as_str).collect::<Vec<_>>())]);
    eventually("the new length is seen", || length(&fixture, "dir/f") == 2000);
}

#[test]
fn a_notice_waits_for_no_answer_in_its_directory() {
    let (fixture, directory) = granted();
    assert_eq!(length(&fixture, "dir/f"), 1000);
    fixture.tree.set_stalled(true);
    let slow = fixture.path("dir/slow");
    let waiting = std::thread::spawn(move || slow.exists());
    eventually("a look-up waits", || lookups(&fixture) >= 3);
    fixture.tree.write("dir/f", content(2000, 3));
    fixture.tree.tell(vec![changed(directory, &["f"])]);
    // It cannot be told of the one name, so it is told to ask for all of them.
    eventually("the new length is seen", || length(&fixture, "dir/f") == 2000);
    assert_eq!(fixture.metric("forebay_fuse_notices_total{kind=\"name\"}"), 0);
    fixture.tree.set_stalled(false);
    assert!(!waiting.join().expect("answered"));
}

#[test]
fn what_is_mounted_below_stays_mounted_and_then_the_kernel_asks_every_time() {
    let (fixture, _) = granted();
    let below = fixture.path("dir");
    rustix::mount::mount(
        "none",
        &below,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None::<&std::ffi::CStr>,
    )
    .expect("mounted");
    std::fs::write(below.join("ours"), "x").expect("written");
    fixture.tree.write("f", content(10, 1));
    assert_eq!(length(&fixture, "f"), 10);
    fixture.tree.tell(vec![Change::Everything]);
    fixture.tree.write("f", content(20, 2));
    let seen = lookups(&fixture);
    // Another name: the kernel may go on using what it was told before.
    eventually("it asks each time", || {
        let before = lookups(&fixture);
        let _ = (fixture.path("nothing").exists(), fixture.path("nothing").exists());
        lookups(&fixture) >= before + 2
    });
    assert!(lookups(&fixture) > seen && below.join("ours").exists(), "it is still mounted");
    rustix::mount::unmount(&below, rustix::mount::UnmountFlags::empty()).expect("unmounted");
}

#[test]
fn who_chose_a_freshness_gets_that_one() {
    let options = FuseOptions { freshness: Some(Duration::ZERO), ..FuseOptions::default() };
    let (fixture, _) = granted_with(options);
    let opens = || fixture.tree.counts.opens.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(std::fs::read(fixture.path("dir/f")).expect("read"), content(1000, 1));
    }
    assert_eq!(opens(), 3);
}

#[test]
fn what_was_remembered_is_used_no_longer_than_it_was_good_when_it_came() {
    let (fixture, _) = granted();
    fixture.tree.set_age(Duration::from_secs(7200));
    let asked = || (length(&fixture, "dir/g"), lookups(&fixture)).1;
    let before = asked();
    assert!(asked() > before, "the kernel asks each time");
    assert!(fixture.metric("forebay_fuse_answers_total{from=\"memory\",question=\"lookup\"}") > before);
    assert_eq!(fixture.metric("forebay_fuse_answers_total{from=\"master\",question=\"lookup\"}"), 0);
}

#[test]
fn an_open_that_finds_what_was_remembered_to_be_old_looks_again() {
    let (fixture, _) = granted();
    fixture.tree.set_age(Duration::from_secs(7200));
    assert_eq!(length(&fixture, "dir/f"), 1000);
    fixture.tree.write("dir/f", content(2000, 3));
    assert_eq!(std::fs::read(fixture.path("dir/f")).expect("never an error"), content(2000, 3));
}
