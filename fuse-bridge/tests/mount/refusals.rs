//! Nothing can be changed, and everybody is told so in the same words.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{FlockOperation, XattrFlags, fcntl_lock};
use rustix::io::Errno;

use crate::fixture::{Fixture, content, errno};
use crate::tree::Tree;

#[test]
fn every_change_is_refused_as_on_any_read_only_file_system() {
    let tree = Tree::new();
    tree.write("f", content(10, 1));
    tree.directory("dir");
    let fixture = Fixture::new(&tree);
    let (file, new) = (fixture.path("f"), fixture.path("new"));
    let refused = [
        ("create", errno(File::create(&new))),
        ("open to write", errno(OpenOptions::new().write(true).open(&file))),
        ("open to append", errno(OpenOptions::new().append(true).open(&file))),
        ("open to read and write", errno(OpenOptions::new().read(true).write(true).open(&file))),
        ("truncate", errno(File::create(&file))),
        ("mkdir", errno(std::fs::create_dir(&new))),
        ("rmdir", errno(std::fs::remove_dir(fixture.path("dir")))),
        ("unlink", errno(std::fs::remove_file(&file))),
        ("rename", errno(std::fs::rename(&file, &new))),
        ("symlink", errno(std::os::unix::fs::symlink("f", &new))),
        ("link", errno(std::fs::hard_link(&file, &new))),
        ("chmod", errno(std::fs::set_permissions(&file, Permissions::from_mode(0o600)))),
        ("chown", errno(std::os::unix::fs::chown(&file, Some(1), Some(1)))),
        ("set an attribute", {
            let set = rustix::fs::setxattr(&file, "user.forebay.file_id", b"x", XattrFlags::empty());
            errno(set.map_err(Into::into))
        }),
        (
            "remove an attribute",
            errno(rustix::fs::removexattr(&file, "user.forebay.file_id").map_err(Into::into)),
        ),
    ];
    for (what, errno) in refused {
        assert_eq!(errno, Errno::ROFS, "{what}");
    }
    assert_eq!(std::fs::read(&file).expect("read"), content(10, 1));
}

#[test]
fn a_handle_can_be_flushed_and_locked_as_any_other() {
    let tree = Tree::new();
    tree.write("f", content(10, 1));
    let fixture = Fixture::new(&tree);
    let file = File::open(fixture.path("f")).expect("opened");
    file.sync_all().expect("nothing to do");
    File::open(fixture.root()).expect("opened").sync_all().expect("nothing to do");
    file.lock_shared().expect("locked");
    file.unlock().expect("unlocked");
}

#[test]
fn a_lock_holds_among_the_handles_of_its_mount_and_no_further() {
    let tree = Tree::new();
    tree.write("f", content(10, 1));
    let mounts = [Fixture::new(&tree), Fixture::new(&tree)];
    let open = |mount: &Fixture| File::open(mount.path("f")).expect("opened");
    let (holder, neighbour, elsewhere) = (open(&mounts[0]), open(&mounts[0]), open(&mounts[1]));
    holder.try_lock().expect("nobody has it");
    assert!(matches!(neighbour.try_lock(), Err(TryLockError::WouldBlock)));
    elsewhere.try_lock().expect("the other mount knows nothing of it");
    holder.unlock().expect("unlocked");
    neighbour.try_lock().expect("nobody has it here");
    fcntl_lock(&holder, FlockOperation::NonBlockingLockShared).expect("whoever reads may share");
    let exclusive = fcntl_lock(&holder, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(exclusive, Err(Errno::BADF), "that is for who may write");
}
