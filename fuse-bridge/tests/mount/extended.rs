//! Extended attributes tell where a file comes from and how it would be read now.

use forebay_fuse::{FuseOptions, Passthrough};
use forebay_types::ByteCount;
use rustix::fs::{getxattr, listxattr};
use rustix::io::Errno;

use crate::fixture::{Fixture, content, eventually};
use crate::tree::Tree;

pub(crate) fn value(fixture: &Fixture, path: &str, attribute: &str) -> Result<String, Errno> {
    let mut buffer = [0; 256];
    let length = getxattr(fixture.path(path), attribute, &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[test]
fn the_attributes_of_a_file_are_listed_and_read() {
    let tree = Tree::new();
    let version = tree.write("f", content(1000, 1));
    tree.edit("f", |entry| entry.cached = ByteCount::new(123));
    let fixture = Fixture::new(&tree);
    let of = |attribute: &str| value(&fixture, "f", &format!("user.forebay.{attribute}"));
    assert_eq!(of("file_id"), Ok(version.to_string()));
    assert_eq!(of("cached_bytes"), Ok("123".to_owned()));
    assert_eq!(of("under_store_uri"), Ok("s3://bucket/f".to_owned()));
    assert_eq!(of("served_by"), Ok("under-store".to_owned()));
    tree.edit("f", |entry| entry.cached = ByteCount::new(1000));
    assert_eq!(of("served_by"), Ok("remote".to_owned()));
    tree.complete(version);
    assert_eq!(of("served_by"), Ok("passthrough".to_owned()));
    let mut buffer = [0; 256];
    let length = listxattr(fixture.path("f"), &mut buffer).expect("listed");
    let names = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert_eq!(names.split_terminator('\0').count(), 4, "{names}");
}

#[test]
fn served_by_tells_what_an_open_now_would_get() {
    let tree = Tree::new();
    let version = tree.write("f", content(1000, 1));
    tree.edit("f", |entry| entry.cached = ByteCount::new(1000));
    let fixture = Fixture::new(&tree);
    let buffered = std::fs::File::open(fixture.path("f")).expect("opened");
    tree.complete(version);
    assert_eq!(value(&fixture, "f", "user.forebay.served_by"), Ok("remote".to_owned()));
    drop(buffered);
    eventually("an open would be passed through", || {
        value(&fixture, "f", "user.forebay.served_by") == Ok("passthrough".to_owned())
    });
    drop(fixture);
    let options = FuseOptions { passthrough: Passthrough::Off, ..FuseOptions::default() };
    let fixture = Fixture::with(&tree, options);
    assert_eq!(value(&fixture, "f", "user.forebay.served_by"), Ok("remote".to_owned()));
}

#[test]
fn what_is_not_there_and_what_does_not_fit_is_refused() {
    let tree = Tree::new();
    tree.write("f", content(1000, 1));
    let fixture = Fixture::new(&tree);
    for name in ["security.capability", "user.other", "user.forebay.", "system.posix_acl_access"] {
        assert_eq!(value(&fixture, "f", name), Err(Errno::NODATA), "{name}");
    }
    assert_eq!(value(&fixture, "", "user.forebay.file_id"), Err(Errno::NODATA));
    let mut short = [0; 3];
    assert_eq!(getxattr(fixture.path("f"), "user.forebay.under_store_uri", &mut short), Err(Errno::RANGE));
    assert_eq!(rustix::fs::getxattr_query(fixture.path("f"), "user.forebay.under_store_uri"), Ok(13));
}
