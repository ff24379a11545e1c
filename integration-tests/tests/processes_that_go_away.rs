//! What those who read notice when the master is away, and when the process of their mount dies or is stopped.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{
    Fleet, HeldMapping, READ_MODES, content, drop_page_cache, wait_until, write_file,
};
use rustix::process::Signal;

const MIB: usize = 1 << 20;
const LENGTH: usize = 40 * MIB;
const WITHIN: Duration = Duration::from_secs(20);
/// The process of the mount is gone.
const ENOTCONN: i32 = 107;

/// One worker, and `whole`, `part` and `later` mounted at `/data`.
fn fleet(source: &Path) -> Fleet {
    for (seed, name) in (1..).zip(["whole", "part", "later"]) {
        write_file(&source.join(name), seed, LENGTH);
    }
    let fleet = Fleet::start(1);
    let mounted = fleet.run(&["mount", &format!("file://{}", source.display()), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    fleet
}

#[test]
fn while_the_master_is_away_open_files_are_read_and_names_wait_for_it() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(source.path());
    for mode in READ_MODES {
        let data = fleet.mount("host-0", mode).join("data");
        let mut open = File::open(data.join("part")).expect("opened");
        open.read_exact(&mut vec![0; MIB]).expect("read");
        fleet.master.kill();
        std::thread::scope(|scope| {
            let named = scope.spawn(|| fs::read(data.join("later")));
            let mut rest = Vec::new();
            open.read_to_end(&mut rest).expect("open files need no master");
            assert!(rest == content(2, LENGTH)[MIB..], "{mode}");
            assert!(!named.is_finished(), "a name that nobody knows waits for the master");
            fleet.restart_master();
            let read = named.join().expect("no panic").expect("answered once the master is back");
            assert!(read == content(3, LENGTH), "{mode}");
        });
    }
}

fn served_by(path: &Path) -> String {
    let mut value = [0; 32];
    let length = rustix::fs::getxattr(path, "user.forebay.served_by", &mut value).expect("each file has it");
    String::from_utf8_lossy(&value[..length]).into_owned()
}

/// A byte of each of a file's ends; the kernel is made to ask for them.
fn read_ends(file: &File) -> std::io::Result<[u8; 2]> {
    drop_page_cache();
    let mut ends = [0; 2];
    file.read_exact_at(&mut ends[..1], 0)?;
    file.read_exact_at(&mut ends[1..], LENGTH as u64 - 1)?;
    Ok(ends)
}

#[test]
fn what_is_open_when_the_process_of_a_mount_dies_is_lost_but_for_what_is_passed_through() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(source.path());
    let whole = content(1, LENGTH);
    for (number, mode) in READ_MODES.into_iter().enumerate() {
        let data = fleet.mount("host-0", mode).join("data");
        assert!(fs::read(data.join("whole")).expect("read") == whole);
        let is_passed_through = mode == READ_MODES[0];
        wait_until("it is known to be cached as a whole", WITHIN, || {
            served_by(&data.join("whole")) == if is_passed_through { "passthrough" } else { "short-circuit" }
        });
        drop_page_cache();
        let [whole_file, part] = ["whole", "later"].map(|name| File::open(data.join(name)).expect("opened"));
        let [whole_mapping, part_mapping] = ["whole", "later"].map(|name| HeldMapping::of(&data.join(name)));
        fleet.mounts[number].kill();
        let dead = read_ends(&part).expect_err("its process is gone");
        assert_eq!(dead.raw_os_error(), Some(ENOTCONN), "{mode}: {dead}");
        assert_eq!(part_mapping.look_at_end(), Err(Signal::BUS), "{mode}");
        let ends = read_ends(&whole_file).map_err(|dead| dead.raw_os_error());
        let end = whole_mapping.look_at_end();
        if is_passed_through {
            assert_eq!((ends, end), (Ok([whole[0], whole[LENGTH - 1]]), Ok(whole[LENGTH - 1])));
        } else {
            assert_eq!((ends, end), (Err(Some(ENOTCONN)), Err(Signal::BUS)));
        }
    }
}

#[test]
fn a_mount_that_is_stopped_while_it_is_used_is_detached_and_lost_when_its_process_ends() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(source.path());
    let at = fleet.mount("host-0", "passthrough=off");
    let file = File::open(at.join("data/whole")).expect("opened");
    let mut pages = (0..LENGTH).step_by(4096).cycle();
    let mut read = || {
        let mut bytes = [0; 4096];
        let page = pages.next().expect("without end");
        file.read_exact_at(&mut bytes, page as u64).map(|()| bytes)
    };
    assert!(read().expect("read")[..] == content(1, 4096));
    fleet.mounts[0].signal(Signal::TERM);
    assert!(read().is_ok(), "whoever uses it has some time to leave");
    wait_until("the mount point is free", WITHIN, || {
        fs::read_dir(&at).is_ok_and(|mut entries| entries.next().is_none())
    });
    // A second signal would end it before its time.
    assert_eq!(fleet.mounts[0].ended(), 0);
    let lost = read_ends(&file).expect_err("its process has ended");
    assert_eq!(lost.raw_os_error(), Some(ENOTCONN), "{lost}");
}
