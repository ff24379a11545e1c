//! Files that are lent: what is here is read here, what is not is fetched, and nothing wrong is given whatever happens to
//! the files meanwhile.

use std::os::unix::fs::FileExt;

use forebay_types::{GRANULE_LENGTH, PAGE_LENGTH, PageRecord, RECORD_LENGTH, RecordSeed, crc32c};

use super::*;
use crate::reader::Reader;

pub(super) const RECORDS: u64 = 64;
/// Three pages and a short one.
const LENGTH: u64 = 3 * PAGE_LENGTH + 70_000;
const PAGES: u32 = 4;

pub(super) fn seed() -> RecordSeed {
    RecordSeed::of(version(LENGTH).file, None, 3)
}

/// The two files of a version in a lab.
struct Files {
    data: std::fs::File,
    index: std::fs::File,
}

impl Files {
    /// Both at their full length, with no page.
    fn make(lab: &Lab) -> Self {
        let open = |name: &str| {
            let path = lab.folder.path().join(name);
            std::fs::File::options().create(true).truncate(true).read(true).write(true).open(path).unwrap()
        };
        let (data, index) = (open("file"), open("file.index"));
        data.set_len(LENGTH).unwrap();
        Self { data, index }
    }

    fn with_pages(lab: &Lab, pages: &[u32]) -> Self {
        let files = Self::make(lab);
        pages.iter().for_each(|page| files.fill(*page));
        files
    }

    fn bytes(page: u32) -> Bytes {
        let begin = u64::from(page) * PAGE_LENGTH;
        content(begin, usize::try_from(PAGE_LENGTH.min(LENGTH - begin)).unwrap())
    }

    fn record_offset(page: u32) -> u64 {
        RECORDS + u64::from(page) * RECORD_LENGTH as u64
    }

    /// As the store does it: the data, then the record.
    fn fill(&self, page: u32) {
        let bytes = Self::bytes(page);
        self.data.write_all_at(&bytes, u64::from(page) * PAGE_LENGTH).unwrap();
        let granules = bytes.chunks(usize::try_from(GRANULE_LENGTH).unwrap());
        let checksums: Vec<u32> = granules.map(crc32c::crc32c).collect();
        let record = PageRecord::encode_present(seed(), page, &checksums);
        self.index.write_all_at(&record, Self::record_offset(page)).unwrap();
    }

    fn clear(&self, page: u32) {
        self.index.write_all_at(&PageRecord::ABSENT, Self::record_offset(page)).unwrap();
    }

    fn garble(&self, offset: u64) {
        let byte = content(offset, 1)[0];
        self.data.write_all_at(&[byte ^ 0x40], offset).unwrap();
    }
}

async fn expect(reader: &Reader, offset: u64, length: usize) {
    let read = reader.read_at(FileOffset::new(offset), length).await.unwrap();
    assert!(read == content(offset, length), "{length} bytes from {offset}");
}

fn reader(lab: &Lab) -> Reader {
    lab.client.reader(version(LENGTH), capability())
}

/// How often a lend was asked for.
fn lends(local: &LocalDouble) -> usize {
    local.count(|request| matches!(request, Request::Lend { .. } | Request::Open { .. }))
}

#[tokio::test]
async fn pages_that_are_here_are_read_here_and_the_others_from_the_worker() {
    let lab = lab().await;
    let _files = Files::with_pages(&lab, &[0, 2, 3]);
    let local = lab.local(incomplete);
    let reader = reader(&lab);
    // Ends and begins of granules and pages, and pieces within one granule, one after the other.
    let whole =
        [(0, 1), (65_535, 2), (65_536, 65_536), (1, 900_000), (2 * PAGE_LENGTH, 1 << 20), (LENGTH - 5, 5)];
    let small = (0..10).map(|number| (2 * PAGE_LENGTH + 3 + number * 4096, 4096));
    for (offset, length) in whole.into_iter().chain(small) {
        expect(&reader, offset, length).await;
        let mut buffer = vec![0; length];
        let had = reader.read_into(FileOffset::new(offset), &mut buffer).await.unwrap();
        assert!(had == length && buffer == content(offset, length), "{length} bytes from {offset}");
    }
    expect(&reader, 2 * PAGE_LENGTH, usize::try_from(PAGE_LENGTH + 70_000).unwrap()).await;
    assert_eq!((lab.worker.asked_bytes(), local.asked(), lends(&local)), (0, 1, 1));
    let here = lab.client.counters().snapshot();
    let (hit, miss) = here.mounts[&version(LENGTH).mount];
    assert_eq!((hit, miss), (here.short_circuit_bytes, ByteCount::ZERO), "it was here before");

    expect(&reader, PAGE_LENGTH + 10, 100).await;
    assert_eq!(lab.worker.asked_bytes(), 100);
    // What is here of a longer read is not fetched.
    expect(&reader, 0, usize::try_from(LENGTH).unwrap()).await;
    assert!(lab.worker.asked_bytes() <= 100 + LENGTH - PAGE_LENGTH, "{}", lab.worker.asked_bytes());
}

#[tokio::test]
async fn a_page_that_comes_later_is_read_here_and_is_no_hit() {
    let lab = lab().await;
    let files = Files::with_pages(&lab, &[0]);
    let _local = lab.local(incomplete);
    let reader = reader(&lab);
    expect(&reader, 0, 10).await;
    files.fill(2);
    expect(&reader, 2 * PAGE_LENGTH, 1000).await;
    assert_eq!(lab.worker.asked_bytes(), 0);
    let (hit, miss) = lab.client.counters().snapshot().mounts[&version(LENGTH).mount];
    assert_eq!((hit.get(), miss.get()), (10, 1000));
}

#[tokio::test]
async fn a_wrong_byte_or_record_is_found_and_the_worker_asked() {
    let lab = lab().await;
    let files = Files::with_pages(&lab, &[0, 1, 2]);
    let _local = lab.local(incomplete);
    let reader = reader(&lab);
    expect(&reader, 0, 1 << 20).await;
    assert_eq!(lab.worker.asked_bytes(), 0);
    files.garble(70_000);
    expect(&reader, 65_536 + 10, 10).await;
    assert_eq!(lab.worker.asked_bytes(), 10);
    assert_eq!(lab.client.counters().snapshot().damaged_chunks, 1);
    expect(&reader, 10, 10).await;
    assert_eq!(lab.worker.asked_bytes(), 10, "the granule beside it is right");

    // The record of another page, as a disk may give back.
    let mut record = [0; RECORD_LENGTH];
    files.index.read_exact_at(&mut record, Files::record_offset(2)).unwrap();
    files.index.write_all_at(&record, Files::record_offset(1)).unwrap();
    expect(&reader, PAGE_LENGTH, 10).await;
    assert_eq!(lab.worker.asked_bytes(), 20);
    files.data.set_len(2 * PAGE_LENGTH).unwrap();
    expect(&reader, 2 * PAGE_LENGTH + 200_000, 10).await;
    assert_eq!(lab.worker.asked_bytes(), 30, "a file that was cut gives nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_to_the_pages_meanwhile_no_wrong_byte_is_given() {
    let lab = lab().await;
    let files = Files::with_pages(&lab, &[0, 1, 2, 3]);
    let _local = lab.local(incomplete);
    let reader = reader(&lab);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Dropped, garbled as by another hand, and filled again; now and then garbled under a record that stays.
            for round in 0_u32.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let page = round % PAGES;
                let offset = u64::from(page) * PAGE_LENGTH + u64::from(round % 60_000);
                if round % 3 > 0 {
                    files.clear(page);
                }
                files.garble(offset);
                files.fill(page);
            }
        });
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            handle.block_on(async {
                for round in 0..300 {
                    let offset = round * 7919 * 13 % (LENGTH - 300_000);
                    expect(&reader, offset, 300_000).await;
                }
            });
        });
        is_over.store(true, Ordering::Relaxed);
    });
}

#[tokio::test]
async fn a_lend_that_is_wanted_back_is_closed_at_once_and_reads_go_on() {
    let lab = lab().await;
    let _files = Files::with_pages(&lab, &[0, 1]);
    let local = lab.local(incomplete);
    let reader = reader(&lab);
    expect(&reader, 0, 10).await;
    let lend = local.seen.lock().iter().find_map(|request| match request {
        Request::Lend { request, .. } => Some(100 + request),
        _ => None,
    });
    local.wants_back.lock().extend(lend);
    // Nobody reads meanwhile.
    until(|| local.released() == lend.as_slice()).await;
    expect(&reader, 0, 10).await;
    assert_eq!(lab.worker.asked_bytes(), 10);
    for _ in 0..crate::limits::HOLD_RETRY_READS {
        expect(&reader, 100, 10).await;
    }
    assert_eq!(lends(&local), 2, "another one is asked for now and then");
    drop(reader);
    until(|| local.released().len() == 2).await;
}

#[tokio::test]
async fn a_lend_ends_with_its_worker() {
    let lab = lab().await;
    let _files = Files::with_pages(&lab, &[0, 1]);
    let local = lab.local(incomplete);
    let reader = reader(&lab);
    expect(&reader, 0, 10).await;
    assert_eq!(lab.worker.asked_bytes(), 0);
    drop(local);
    until(|| !reader.has_lend()).await;
    expect(&reader, 0, 10).await;
    assert_eq!(lab.worker.asked_bytes(), 10);
}

#[tokio::test]
async fn a_worker_of_an_earlier_release_is_not_asked_to_lend() {
    let lab = lab().await;
    let _files = Files::with_pages(&lab, &[0, 1]);
    let local = lab.local_of(2, incomplete);
    let reader = reader(&lab);
    expect(&reader, 0, 10).await;
    assert_eq!((local.asked(), lends(&local), lab.worker.asked_bytes()), (1, 0, 10));
}

#[tokio::test]
async fn a_lent_file_of_another_length_is_not_taken() {
    let lab = lab().await;
    let files = Files::with_pages(&lab, &[0, 1]);
    files.data.set_len(LENGTH + 1).unwrap();
    let local = lab.local(incomplete);
    expect(&reader(&lab), 0, 10).await;
    assert_eq!((lends(&local), lab.worker.asked_bytes()), (1, 10));
    until(|| local.released().len() == 1).await;
}

/// How many messages ask, and for what, after an answer has told the worker's level.
async fn asked_once_greeted(lab: &Lab, local: &LocalDouble) -> (AtHand, Vec<&'static str>) {
    lab.client.hold(&version(LENGTH), &capability()).await.unwrap();
    let before = local.seen.lock().len();
    let at_hand = lab.client.at_hand(&version(LENGTH), &capability()).await.unwrap();
    let kinds = local.seen.lock()[before..]
        .iter()
        .filter_map(|request| match request {
            Request::Hold { .. } => Some("hold"),
            Request::Lend { .. } => Some("lend"),
            Request::Open { .. } => Some("open"),
            Request::Hello { .. } | Request::Release { .. } => None,
        })
        .collect();
    (at_hand, kinds)
}

#[tokio::test]
async fn what_is_at_hand_is_asked_for_by_one_message() {
    let lab = lab().await;
    {
        let local = lab.local(incomplete);
        let (nothing, asked) = asked_once_greeted(&lab, &local).await;
        assert!(matches!(nothing, AtHand::Nothing) && asked == ["open"], "{nothing:?} by {asked:?}");
        let _files = Files::with_pages(&lab, &[0, 1]);
        let (lent, asked) = asked_once_greeted(&lab, &local).await;
        assert!(matches!(lent, AtHand::Lend(_)) && asked == ["open"], "{lent:?} by {asked:?}");
        let AtHand::Lend(lend) = lent else { unreachable!("just seen") };
        assert_eq!(lend.cached(), ByteCount::new(2 * PAGE_LENGTH));
    }
    let lab = self::lab().await;
    let _files = Files::with_pages(&lab, &[0, 1, 2, 3]);
    let local = lab.local(held);
    let (hold, asked) = asked_once_greeted(&lab, &local).await;
    assert!(matches!(hold, AtHand::Hold(_)) && asked == ["open"], "{hold:?} by {asked:?}");
}

#[tokio::test]
async fn a_worker_that_does_not_know_that_message_is_asked_by_two() {
    let lab = lab().await;
    let _files = Files::with_pages(&lab, &[0, 1]);
    let local = lab.local_of(3, incomplete);
    let (lent, asked) = asked_once_greeted(&lab, &local).await;
    assert!(matches!(lent, AtHand::Lend(_)) && asked == ["hold", "lend"], "{lent:?} by {asked:?}");
}

#[tokio::test]
async fn a_hold_got_by_that_message_takes_one_place_of_a_lend() {
    let lab = lab().await;
    let _files = Files::with_pages(&lab, &[0, 1, 2, 3]);
    let local = lab.local(held);
    let free = || lab.client.0.local.places.available_permits();
    let before = free();
    let (hold, _) = asked_once_greeted(&lab, &local).await;
    assert_eq!(before - free(), 1);
    drop(hold);
    assert_eq!(before, free());
}
