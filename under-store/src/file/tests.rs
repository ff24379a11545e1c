//! Tests of what only a local directory has: links, pipes, writes in place, a root that vanishes.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use forebay_types::{ErrorKind, Timestamp};
use futures::TryStreamExt;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};

use super::place::open_part_by_part;
use super::*;

fn store(root: &Path) -> FileUnderStore {
    let uri = format!("file://{}", root.display()).parse().expect("legal");
    FileUnderStore::new(&uri, &BTreeMap::new()).expect("no options")
}

fn key(text: &str) -> UnderStoreKey {
    UnderStoreKey::new(text.as_bytes()).expect("short")
}

async fn read(store: &FileUnderStore, at: &str, version: &Fingerprint) -> Result<Vec<u8>, UnderStoreError> {
    let range = FileOffset::new(0)..FileOffset::new(version.length.get());
    let chunks: Vec<_> = store.read(&key(at), range, version).await?.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn a_symbolic_link_is_shown_and_never_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    std::fs::create_dir(&root).expect("made");
    std::fs::write(folder.path().join("secret"), b"outside").expect("written");
    std::fs::write(root.join("real"), b"inside!").expect("written");
    symlink("../secret", root.join("link")).expect("linked");
    symlink("..", root.join("up")).expect("linked");
    let store = store(&root);

    let page = store.list(&key(""), None).await.expect("listed");
    let link = page.entries.iter().find(|entry| entry.name.as_bytes() == b"link").expect("shown");
    assert_eq!(link.status.kind, EntryKind::Symlink);
    assert_eq!(link.status.symlink_target.as_deref(), Some(&b"../secret"[..]));
    assert_eq!(store.stat(&key("link")).await.expect("looked at").as_ref(), Some(&link.status));

    let version = store.fingerprint(&key("real")).await.expect("looked at").expect("a file");
    for at in ["link", "up/secret"] {
        let refused = read(&store, at, &version).await.expect_err("not followed");
        assert!(matches!(refused, UnderStoreError::Changed { found: None, .. }), "{refused}");
    }
    assert!(store.stat(&key("up/secret")).await.expect("looked at").is_none());
    let listed = store.list(&key("up"), None).await.expect_err("not followed");
    assert_eq!(listed.kind(), ErrorKind::NotADirectory);
}

#[test]
fn without_openat2_links_are_refused_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("a/b")).expect("made");
    std::fs::write(folder.path().join("a/b/c"), b"x").expect("written");
    symlink("a", folder.path().join("link")).expect("linked");
    symlink("b/c", folder.path().join("a/last")).expect("linked");
    let root = open(folder.path(), OFlags::PATH, Mode::empty()).expect("opened");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
    assert!(open_part_by_part(&root, b"a/b/c", flags).is_ok());
    for at in [&b"link/b/c"[..], b"a/last", b"a/b/c/d", b"missing"] {
        assert!(open_part_by_part(&root, at, flags).is_err(), "{}", String::from_utf8_lossy(at));
    }
}

#[tokio::test]
async fn a_file_written_in_place_while_it_is_read_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, vec![1_u8; 5 << 20]).expect("written");
    let store = store(folder.path());
    let version = store.fingerprint(&key("file")).await.expect("looked at").expect("a file");
    let range = FileOffset::new(0)..FileOffset::new(version.length.get());
    let mut stream = store.read(&key("file"), range, &version).await.expect("the version is there");
    let first = stream.try_next().await.expect("sound").expect("bytes");
    assert_eq!(first.len(), 1 << 20);
    // Written until the kernel's clock has moved on: a coarse one stands still for some milliseconds.
    while store.fingerprint(&key("file")).await.expect("looked at").as_ref() == Some(&version) {
        let file = std::fs::File::options().write(true).open(&path).expect("opened");
        std::os::unix::fs::FileExt::write_all_at(&file, &[2_u8; 100], 4 << 20).expect("written");
    }
    let rest: Result<Vec<_>, _> = stream.try_collect().await;
    assert!(matches!(rest, Err(UnderStoreError::Changed { found: Some(_), .. })), "{rest:?}");
}

#[tokio::test]
async fn a_file_cut_off_while_it_is_read_is_never_a_short_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, vec![1_u8; 3 << 20]).expect("written");
    let store = store(folder.path());
    let version = store.fingerprint(&key("file")).await.expect("looked at").expect("a file");
    let range = FileOffset::new(0)..FileOffset::new(version.length.get());
    let stream = store.read(&key("file"), range, &version).await.expect("the version is there");
    std::fs::File::options().write(true).open(&path).expect("opened").set_len(1 << 19).expect("cut");
    let all: Result<Vec<_>, _> = stream.try_collect().await;
    assert!(all.is_err(), "{} chunks", all.map_or(0, |all| all.len()));
}

#[tokio::test]
async fn a_pipe_is_skipped_and_never_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    std::fs::write(&path, b"").expect("written");
    let store = store(folder.path());
    let version = store.fingerprint(&key("pipe")).await.expect("looked at").expect("a file");
    std::fs::remove_file(&path).expect("removed");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let page = store.list(&key(""), None).await.expect("listed");
    assert!(page.entries.is_empty() && page.skipped == 1);
    assert!(store.stat(&key("pipe")).await.expect("looked at").is_none());
    let refused = read(&store, "pipe", &version).await.expect_err("no file");
    assert!(matches!(refused, UnderStoreError::Changed { found: None, .. }), "{refused}");
}

#[tokio::test]
async fn a_root_that_vanished_is_an_error_and_not_an_empty_mount() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    std::fs::create_dir(&root).expect("made");
    std::fs::write(root.join("file"), b"x").expect("written");
    let store = store(&root);
    let version = store.fingerprint(&key("file")).await.expect("looked at").expect("a file");
    std::fs::rename(&root, folder.path().join("elsewhere")).expect("moved");
    assert_eq!(store.stat(&key("file")).await.expect_err("no root").kind(), ErrorKind::NotFound);
    assert_eq!(store.list(&key(""), None).await.expect_err("no root").kind(), ErrorKind::NotFound);
    assert_eq!(read(&store, "file", &version).await.expect_err("no root").kind(), ErrorKind::NotFound);
    assert!(store.statistics().counts().errors >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_a_file_system_holds_up_ends_after_its_budget() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    // All calls that may run are held up.
    let places = u32::try_from(store.pool.permits.available_permits()).expect("few");
    let held = store.pool.permits.acquire_many(places).await.expect("open");
    let begun = tokio::time::Instant::now();
    let error = store.check().await.expect_err("nothing came");
    assert!(matches!(error, UnderStoreError::TimedOut { after, .. } if after == CHECK_BUDGET), "{error}");
    assert!(begun.elapsed() < CHECK_BUDGET * 2 && store.statistics().counts().errors == 1);
    drop(held);
    store.check().await.expect("the file system answers again");
}

#[tokio::test]
async fn permission_bits_and_times_are_those_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, b"x").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    let store = store(folder.path());
    let status = store.stat(&key("file")).await.expect("looked at").expect("there");
    assert_eq!(status.mode, Some(0o640));
    let fingerprint = status.fingerprint.expect("a file");
    assert!(fingerprint.modified > Timestamp::from_nanos(0) && fingerprint.local.is_some());
}
