//! Looks how the disk of a master's folder does: how long its syncs take, by making some, and how much room it has.
//!
//! What is written is as much as the log writes for a small entry, and synced as the log is. It is bounded in number and in
//! time, and one look is made at a time. Of a disk that hangs one thread waits, and later looks say so.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_proto::v1;
use rustix::fs::{StatVfs, statvfs};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::limits::{PROBE_BUDGET, PROBE_SYNCS, PROBE_WRITE_LENGTH};

/// What is written for a look, and removed after it. One that a crash left behind is written over by the next.
const FILE: &str = "sync-probe";

/// Looks at one folder's disk.
#[derive(Debug)]
pub(crate) struct DiskProbe {
    dir: PathBuf,
    /// The place for one look at a time.
    place: Arc<Semaphore>,
}

impl DiskProbe {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, place: Arc::new(Semaphore::new(1)) }
    }

    /// Makes syncs and asks for the room, on a thread of `tracker`. Ends in time also where the disk does not.
    pub(crate) async fn look(&self, tracker: &TaskTracker) -> v1::DiskExamination {
        let late = |failure: &str| v1::DiskExamination {
            directory: self.dir.display().to_string(),
            failure: failure.to_owned(),
            ..Default::default()
        };
        let place = tokio::time::timeout(2 * PROBE_BUDGET, Arc::clone(&self.place).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return late("an earlier look at this disk has not ended: it may hang");
        };
        let dir = self.dir.clone();
        let looked = tracker.spawn_blocking(move || {
            let _place = place;
            look(&dir)
        });
        match tokio::time::timeout(2 * PROBE_BUDGET, looked).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(_)) => late("this master is stopping"),
            Err(_) => late("a sync did not end in time: the disk may hang"),
        }
    }
}

fn look(dir: &Path) -> v1::DiskExamination {
    let mut looked = v1::DiskExamination { directory: dir.display().to_string(), ..Default::default() };
    let mut syncs = Vec::with_capacity(PROBE_SYNCS);
    if let Err(error) = make_syncs(&dir.join(FILE), &mut syncs) {
        looked.failure = error.to_string();
    }
    looked.sync_nanos = syncs.iter().map(|took| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)).collect();
    match statvfs(dir) {
        Ok(StatVfs { f_frsize, f_blocks, f_bavail, f_files, f_favail, .. }) => {
            looked.total_bytes = f_blocks.saturating_mul(f_frsize);
            looked.free_bytes = f_bavail.saturating_mul(f_frsize);
            (looked.total_inodes, looked.free_inodes) = (f_files, f_favail);
        }
        Err(error) if looked.failure.is_empty() => looked.failure = io::Error::from(error).to_string(),
        Err(_) => {}
    }
    looked
}

/// Adds how long each sync took, until one fails or there are enough.
fn make_syncs(path: &Path, took: &mut Vec<Duration>) -> io::Result<()> {
    let file = Probe::create(path)?;
    let begun = Instant::now();
    let content = [0x5a; PROBE_WRITE_LENGTH];
    for number in 0..PROBE_SYNCS {
        file.file.write_all_at(&content, (number * PROBE_WRITE_LENGTH) as u64)?;
        let before = Instant::now();
        file.file.sync_data()?;
        took.push(before.elapsed());
        if begun.elapsed() >= PROBE_BUDGET {
            break;
        }
    }
    Ok(())
}

/// A file that goes when it is dropped.
struct Probe<'a> {
    file: File,
    path: &'a Path,
}

impl<'a> Probe<'a> {
    fn create(path: &'a Path) -> io::Result<Self> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        Ok(Self { file: opened?, path })
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        // What stays is written over by the next look.
        let _ = fs::remove_file(self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_times_syncs_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let probe = DiskProbe::new(dir.path().to_owned());
        let looked = probe.look(&TaskTracker::new()).await;
        assert_eq!(looked.failure, "");
        assert!((1..=PROBE_SYNCS).contains(&looked.sync_nanos.len()), "{looked:?}");
        assert!(looked.sync_nanos.iter().all(|took| *took > 0), "{looked:?}");
        assert!(0 < looked.free_bytes && looked.free_bytes <= looked.total_bytes, "{looked:?}");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_a_failure_that_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let probe = DiskProbe::new(dir.path().join("gone"));
        let looked = probe.look(&TaskTracker::new()).await;
        assert!(looked.failure.contains("No such file"), "{looked:?}");
        assert!(looked.sync_nanos.is_empty(), "{looked:?}");
    }
}
