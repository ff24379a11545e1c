//! The scrubber on real files, by a clock of the test's own.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::*;
use crate::limits::SCRUB_ROUND_MIN;
use crate::pace::BackgroundPace;

/// Steps until there is nothing to verify; how many.
fn scrub(scrubber: &mut Scrubber, now: Instant) -> usize {
    std::iter::from_fn(|| scrubber.step(now)).count()
}

fn flip(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

/// Files below the fixture's folder that this process has open, but for locks and directories.
fn open_files(fixture: &Fixture) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    targets.filter(|target| target.starts_with(fixture.folder.path()) && target.extension().is_some()).count()
}

fn contents(lengths: &[u64]) -> Vec<Content> {
    (1..).zip(lengths).map(|(counter, length)| Content::new(counter, *length)).collect()
}

#[test]
fn a_flipped_byte_that_nobody_reads_is_found_and_healed_by_the_next_read() {
    for kind in [TierKind::Ram, TierKind::Disk] {
        let fixture = Fixture::new(kind, 64 * MIB);
        let contents = contents(&[3 * MIB + 17, 110_000]);
        contents.iter().for_each(|content| content.put_all(&fixture.open()));
        let damaged: Vec<_> = fixture.files("data");
        let position = usize::from(fs::metadata(&damaged[0]).unwrap().len() < 2 * MIB);
        flip(&damaged[position], 2 * MIB + 5);
        let store = fixture.open();
        let now = Instant::now();
        let mut scrubber = store.scrubber(now);
        assert_eq!(scrub(&mut scrubber, now), 4, "one, and all up to the damaged page");
        let statistics = store.statistics();
        assert_eq!((statistics.corrupt_pages, statistics.io_errors), (1, 0));
        assert_eq!(statistics.scrubbed_bytes, 2 * MIB + 110_000);
        assert_eq!(statistics.read_bytes, 0);
        assert_eq!(open_files(&fixture), 0);
        assert_eq!(contents[0].read(&store, 0, 8 * MIB).missing, range(2, 1));
        assert!(contents[1].is_complete(&store));
        contents[0].put(&store, 2);
        assert_eq!(scrub(&mut scrubber, now), 4, "the pages behind it were not verified yet");
        let verified = store.statistics().verified_bytes;
        assert!(contents[0].is_readable(&store) && contents[1].is_readable(&store));
        assert_eq!(store.statistics().verified_bytes, verified, "what the scrubber verified is trusted");
    }
}

#[test]
fn a_rotten_record_and_a_cut_file_are_found() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let contents = contents(&[110_000, 110_000]);
    let now = Instant::now();
    let mut scrubber = store.scrubber(now);
    contents.iter().for_each(|content| content.put_all(&store));
    let (index, data) = (fixture.files("index"), fixture.files("data"));
    flip(&index[0], fs::metadata(&index[0]).unwrap().len() - 20);
    fs::OpenOptions::new().write(true).open(&data[1]).unwrap().set_len(100).unwrap();
    assert_eq!(scrub(&mut scrubber, now), 0, "they were written by this process just now");
    assert_eq!(scrub(&mut scrubber, now + SCRUB_ROUND_MIN), 2);
    assert_eq!(store.statistics().corrupt_pages, 2);
    assert!(contents.iter().all(|content| content.read(&store, 0, 10).bytes.is_empty()));
}

#[test]
fn each_version_is_verified_once_a_round_the_one_verified_longest_ago_first() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let contents = contents(&[100, 100, 100]);
    contents[..2].iter().for_each(|content| content.put_all(&fixture.open()));
    let store = fixture.open();
    let begin = Instant::now();
    let mut scrubber = store.scrubber(begin);
    contents[2].put_all(&store);
    let next = || store.inner.state.lock().index.next_to_check().unwrap().location.key.unit.file().counter;
    let mut order = Vec::new();
    let mut now = begin;
    for _ in 0..3 {
        loop {
            let first = next();
            if scrubber.step(now).is_none() {
                break;
            }
            order.push(first);
        }
        now += SCRUB_ROUND_MIN;
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 3, 1, 2], "the third was written in the first round");
}

#[test]
fn the_rate_holds_over_real_files() {
    const RATE: u64 = 256 << 10;
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let contents = contents(&[5 * MIB, 110_000, 0, 1, 3 * MIB + 1]);
    contents.iter().for_each(|content| content.put_all(&fixture.open()));
    let store = fixture.open();
    let begin = Instant::now();
    let (mut now, mut pace, mut scrubber) = (begin, BackgroundPace::new(RATE, begin), store.scrubber(begin));
    loop {
        let pause = pace.pause(now, store.statistics().read_bytes);
        if !pause.is_zero() {
            now += pause;
            continue;
        }
        let Some(bytes) = scrubber.step(now) else { break };
        pace.spent(now, bytes);
        let allowed = u128::from(RATE) * (now - begin).as_nanos() / 1_000_000_000 + u128::from(MIB);
        assert!(u128::from(store.statistics().scrubbed_bytes) <= allowed + 1);
    }
    let all: u64 = contents.iter().map(Content::length).sum();
    assert_eq!(store.statistics().scrubbed_bytes, all);
    assert!(now - begin >= Duration::from_secs((all - MIB) / RATE), "{:?}", now - begin);
}

#[test]
fn what_is_held_filled_or_evicted_meanwhile_is_left_alone() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let contents = contents(&[4 * MIB, 4 * MIB, 4 * MIB, 4 * MIB]);
    contents[..3].iter().for_each(|content| content.put_all(&fixture.open()));
    contents[3].put(&fixture.open(), 0);
    let store = fixture.open();
    let now = Instant::now();
    let mut scrubber = store.scrubber(now);
    let hold = store.hold(&contents[0].source()).unwrap().expect("it is complete");
    assert!(scrubber.step(now).is_some());
    assert!(store.drop_version(contents[1].file()), "the one that is being verified");
    assert_eq!(scrub(&mut scrubber, now), 4, "only the third is left");
    assert_eq!(store.statistics().scrubbed_bytes, 5 * MIB);
    drop(hold);
    assert_eq!(scrub(&mut scrubber, now), 0, "it was verified for the hold");
    assert_eq!(
        (store.statistics().corrupt_pages, open_files(&fixture)),
        (0, 2),
        "those of the hold are kept"
    );
}
