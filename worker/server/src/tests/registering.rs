//! The worker's life with its master: known again after a restart, loyal to its cluster, heard in full.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use forebay_proto::{OptionSource, v1};
use forebay_runtime::Shutdown;
use forebay_types::{ErrorKind, WorkerId};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::fixture::{House, MIB, MOUNT, Started, content, eventually};
use crate::WorkerError;

#[tokio::test]
async fn a_new_worker_gets_an_id_and_keeps_it_over_a_restart() {
    let house = House::new().await;
    let worker = house.start().await;
    let address = worker.worker.address();
    worker.stop().await;
    let worker = house.start().await;
    assert_eq!(worker.worker.ready().await.expect("serves"), WorkerId::new(11));
    let registrations = house.master.script.lock().registrations.clone();
    let ids: Vec<_> =
        registrations.iter().map(|request| (request.worker, request.cluster_id.len())).collect();
    assert_eq!(ids, [(0, 0), (11, 16)]);
    let first = &registrations[0];
    assert_eq!((first.address.clone(), first.host.as_str()), (address.to_string(), "test"));
    assert!(first.local_socket.starts_with('/') && first.local_socket.ends_with("worker/worker.sock"));
    assert_eq!((first.tiers[0].name.as_str(), first.tiers[0].capacity_bytes), ("disk", house.capacity));
    worker.stop().await;
}

#[tokio::test]
async fn the_master_hears_what_is_cached_at_once_and_after_a_restart_in_full() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(3 * MIB, 1));
    let version = house.version("f", 1).await;
    let file: v1::FileId = version.file.into();
    worker.read(&version, 0, MIB).await.expect("served");
    let reported = |cached, complete| {
        house
            .master
            .reported(file)
            .is_some_and(|report| (report.cached_bytes, report.complete) == (cached, complete))
    };
    eventually("one page is reported", || reported(MIB, false)).await;
    worker.read(&version, 0, u64::MAX).await.expect("served");
    eventually("all pages are reported", || reported(3 * MIB, true)).await;
    house.master.next_beat().await;
    let latest = house.master.script.lock().latest.clone();
    let reads = latest.reads.expect("counted");
    assert_eq!((reads.remote_bytes, reads.under_store_bytes), (4 * MIB, 3 * MIB));
    assert_eq!((reads.hit_bytes, reads.miss_bytes), (MIB, 3 * MIB));
    let mount = latest.mounts[0];
    assert_eq!((mount.mount, mount.cached_bytes, mount.under_store_read_bytes), (MOUNT, 3 * MIB, 3 * MIB));
    assert!(latest.tiers[0].used_bytes >= 3 * MIB);
    worker.stop().await;

    house.master.script.lock().reports.clear();
    let worker = house.start().await;
    eventually("what was found is reported", || reported(3 * MIB, true)).await;
    worker.read(&version, 0, 1).await.expect("served");
    house.master.next_beat().await;
    house.master.next_beat().await;
    assert_eq!(house.master.script.lock().latest.mounts[0].cached_bytes, 3 * MIB, "it has its mount again");
    worker.stop().await;
}

#[tokio::test]
async fn a_master_that_forgot_the_worker_is_told_everything_again() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 2));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    eventually("it is reported", || house.master.reported(version.file.into()).is_some()).await;
    {
        let mut script = house.master.script.lock();
        script.reports.clear();
        script.register_again = true;
    }
    eventually("it is reported again", || house.master.reported(version.file.into()).is_some()).await;
    assert_eq!(house.master.script.lock().registrations.len(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn superseded_versions_are_dropped_and_the_drop_is_reported() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 3));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    house.master.script.lock().tell_to_forget(vec![version.file.into()]);
    let is_gone =
        || house.master.reported(version.file.into()).is_some_and(|report| report.cached_bytes == 0);
    eventually("the drop is reported", is_gone).await;
    assert_eq!(worker.metric("forebay_worker_tier_used_bytes", None), 0);
    worker.stop().await;
}

#[tokio::test]
async fn what_the_master_forgot_is_kept_and_found_by_its_content_when_it_has_another_id() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 3));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    house.master.script.lock().tell_to_disown(vec![version.file.into()]);
    eventually("it is taken", || house.master.script.lock().latest.forget_taken == Some(1)).await;
    let again = house.version("f", 2).await;
    assert_ne!(again.file, version.file);
    worker.read(&again, 0, MIB).await.expect("served");
    assert_eq!(worker.metric("forebay_worker_adopted_versions_total", None), 1);
    eventually("it is reported under its new id", || {
        house.master.reported(again.file.into()).is_some_and(|report| report.cached_bytes == MIB)
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_list_to_forget_whose_answer_was_lost_is_taken_later_and_only_once() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 6));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    house.master.next_beat().await;
    {
        let mut script = house.master.script.lock();
        script.tell_to_forget(vec![version.file.into()]);
        script.repeats_itself = true;
        script.answers_to_lose = 1;
    }
    eventually("it is taken", || house.master.script.lock().latest.forget_taken == Some(1)).await;
    assert_eq!(house.master.script.lock().lost_lists, 1);
    assert_eq!(worker.metric("forebay_worker_tier_used_bytes", None), 0);

    worker.read(&version, 0, MIB).await.expect("served");
    house.master.next_beat().await;
    house.master.next_beat().await;
    assert!(worker.metric("forebay_worker_tier_used_bytes", None) >= MIB, "what came since is kept");

    house.master.script.lock().register_again = true;
    eventually("a new life takes the list anew", || {
        worker.metric("forebay_worker_tier_used_bytes", None) == 0
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn mounts_and_keys_follow_the_master() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 4));
    let version = house.version("f", 1).await;
    let mounts = {
        let mut script = house.master.script.lock();
        script.mounts_revision = 2;
        std::mem::take(&mut script.mounts)
    };
    house.master.next_beat().await;
    house.master.next_beat().await;
    let error = worker.read(&version, 0, MIB).await.expect_err("no such mount");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    {
        let mut script = house.master.script.lock();
        (script.mounts, script.mounts_revision) = (mounts, 3);
    }
    house.master.next_beat().await;
    house.master.next_beat().await;
    worker.read(&version, 0, MIB).await.expect("the mount is back");
    house.master.script.lock().keys = vec![forebay_types::CapabilityKey::new(6, [1; 32])];
    house.master.next_beat().await;
    house.master.next_beat().await;
    let error = worker.read(&version, 0, MIB).await.expect_err("the key is no longer listed");
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    worker.stop().await;
}

/// A FUSE file system whose server answers nothing until it dies. Mounting it needs root.
struct HangingFileSystem {
    at: PathBuf,
    server: Option<File>,
}

impl HangingFileSystem {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir(&at).expect("made");
        let server = File::options().read(true).write(true).open("/dev/fuse").expect("FUSE is there");
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let data = CString::new(data).expect("no zero byte");
        mount("forebay-test", &at, "fuse", MountFlags::empty(), data.as_c_str()).expect("mounted");
        Self { at, server: Some(server) }
    }
}

impl Drop for HangingFileSystem {
    fn drop(&mut self) {
        // Whoever waits for an answer is told that there is nobody any more.
        drop(self.server.take());
        unmount(&self.at, UnmountFlags::DETACH).expect("unmounted");
    }
}

#[tokio::test]
async fn a_reference_to_a_file_that_hangs_stops_no_heartbeat() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 7));
    let version = house.version("f", 1).await;
    let hanging = HangingFileSystem::mount(house.folder.path().join("hangs"));
    let reference = OptionSource::Reference(format!("file:{}", hanging.at.join("secret").display()));
    {
        let mut script = house.master.script.lock();
        let options = [("secret".to_owned(), reference.into())].into();
        script.mounts.push(v1::MountCredentials {
            mount: 99,
            uri: "s3://bucket".to_owned(),
            options,
            ..Default::default()
        });
        script.mounts_revision = 2;
    }
    for _ in 0..3 {
        house.master.next_beat().await;
    }
    worker.read(&version, 0, MIB).await.expect("the mounts that were known serve on");
    assert_eq!(house.master.script.lock().latest.mounts_revision, 1);
    drop(hanging);
    eventually("the list is taken in", || house.master.script.lock().latest.mounts_revision != 1).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_cannot_cache_is_known_to_nobody() {
    let house = House::new().await;
    let shutdown = Shutdown::new();
    let settings = house.settings(&shutdown);
    // Root may write anywhere, but not below a file.
    std::fs::write(&settings.tiers[0].directory, "in the way").expect("written");
    let worker = Started::with(settings, shutdown.clone()).await.expect("listens");
    let error = worker.worker.ready().await.expect_err("there is nowhere to cache");
    assert!(error.to_string().contains("give another directory with --tier"), "{error}");
    assert_eq!(house.master.script.lock().registrations.len(), 0);
    drop(worker.client);
    shutdown.finish(Duration::from_secs(20)).await.expect("stops in time");
}

#[tokio::test]
async fn one_folder_has_one_worker_and_the_second_is_told_why() {
    let house = House::new().await;
    let worker = house.start().await;
    let shutdown = Shutdown::new();
    let error = Started::with(house.settings(&shutdown), shutdown).await.err().expect("in use");
    assert!(matches!(&error, WorkerError::FolderInUse { .. }), "{error}");
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_without_a_master_answers_that_it_starts_and_can_be_stopped() {
    let house = House::new().await;
    let shutdown = Shutdown::new();
    let mut settings = house.settings(&shutdown);
    settings.masters = vec!["127.0.0.1:1".to_owned()];
    let worker = Started::with(settings, shutdown).await.expect("listens");
    house.write("f", b"x");
    let version = house.version("f", 1).await;
    let error = worker.read(&version, 0, 1).await.expect_err("starting");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(worker.readiness.unmet(), ["cache", "master"]);
    worker.stop().await;
}
