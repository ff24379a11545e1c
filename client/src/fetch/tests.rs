//! Workers that are dead, send damaged or too few bytes, or die in mid-stream, and what the reader sees of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_types::ErrorKind;

use super::*;
use crate::doubles::{
    Answer, Master, Nobody, Serving, Worker, capability, connect, content, settings, version,
};
use crate::{ClientSettings, Reader};

const FILE: u64 = 3 << 20;

/// A cluster of workers that answer alike, with a client.
struct Lab {
    workers: Vec<(Arc<Worker>, Serving)>,
    _at_master: Serving,
    master: Arc<Master>,
    client: Client,
}

async fn lab(workers: &[&[Answer]]) -> Lab {
    let workers: Vec<_> = workers.iter().map(|answers| Worker::new(*answers)).collect();
    let workers: Vec<_> = workers.into_iter().map(|worker| (Arc::clone(&worker), worker.serve())).collect();
    let entries: Vec<_> =
        (1..).zip(&workers).map(|(id, (_, serving))| (id, "there", serving.address)).collect();
    let master = Master::with_workers(&entries);
    let at_master = master.serve();
    let client = connect(&[at_master.address]).await;
    Lab { workers, _at_master: at_master, master, client }
}

impl Lab {
    fn reader(&self) -> Reader {
        self.client.reader(version(FILE), capability())
    }

    /// The workers by their rank for the first block.
    fn ranked(&self) -> Vec<&Worker> {
        let map = self.client.0.route.map();
        let block = version(FILE).block_at(FileOffset::new(0)).unwrap();
        map.owners(block).iter().map(|worker| &*self.workers[worker.id.get() as usize - 1].0).collect()
    }

    fn asked(&self) -> usize {
        self.workers.iter().map(|(worker, _)| worker.requests.lock().len()).sum()
    }
}

async fn read(reader: &Reader, offset: u64, length: usize) -> Result<Bytes, ClientError> {
    reader.read_at(FileOffset::new(offset), length).await
}

#[tokio::test]
async fn bytes_come_whole_across_blocks_and_short_only_at_the_end() {
    let lab = lab(&[&[Answer::Good], &[Answer::Good]]).await;
    let reader = lab.reader();
    let (middle, length) = ((1 << 20) - 5, (1 << 20) + 11);
    assert_eq!(read(&reader, middle, length).await.unwrap(), content(middle, length));
    assert_eq!(read(&reader, FILE - 3, 100).await.unwrap(), content(FILE - 3, 3));
    for (offset, length) in [(FILE, 1), (u64::MAX, 1), (0, 0)] {
        assert!(read(&reader, offset, length).await.unwrap().is_empty());
    }
    let too_long = read(&reader, 0, crate::limits::READ_LENGTH_MAX + 1).await.unwrap_err();
    assert_eq!(too_long.kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn the_owner_is_asked_and_nobody_else() {
    let lab = lab(&[&[Answer::Good], &[Answer::Good], &[Answer::Good]]).await;
    read(&lab.reader(), 10, 100).await.unwrap();
    let asked: Vec<_> = lab.ranked().iter().map(|worker| worker.requests.lock().len()).collect();
    assert_eq!(asked, [1, 0, 0]);
}

#[tokio::test]
async fn a_dead_owner_is_passed_over_and_then_asked_last() {
    let worker = Worker::new([Answer::Good]);
    let serving = worker.serve();
    let nobody: [_; 4] = std::array::from_fn(|_| Nobody::new());
    let dead: Vec<_> = (2..6).zip(&nobody).map(|(id, nobody)| (id, "there", nobody.address)).collect();
    let master = Master::with_workers(&[&[(1, "there", serving.address)], &dead[..]].concat());
    let at_master = master.serve();
    let client = connect(&[at_master.address]).await;
    let reader = client.reader(version(FILE), capability());
    for block in 0..3 {
        assert_eq!(read(&reader, block << 20, 100).await.unwrap(), content(block << 20, 100));
    }
    let failed = client.counters().snapshot().failed_reads;
    assert!((1..=4).contains(&failed), "each dead worker was asked once at most: {failed}");
}

#[tokio::test]
async fn a_damaged_chunk_is_noticed_counted_and_read_elsewhere() {
    let lab = lab(&[&[Answer::Good], &[Answer::Good]]).await;
    lab.ranked()[0].now_answers([Answer::Damaged]);
    assert_eq!(read(&lab.reader(), 0, 1 << 20).await.unwrap(), content(0, 1 << 20));
    assert_eq!(lab.client.counters().snapshot().damaged_chunks, 1);
    let asked = lab.ranked()[1].requests.lock()[0].clone();
    let good = crate::doubles::CHUNK as u64;
    assert_eq!((asked.offset, asked.length), (good, (1 << 20) - good), "what was verified is kept");
}

#[tokio::test]
async fn damage_that_every_worker_sends_is_an_error_and_never_data() {
    let lab = lab(&[&[Answer::Damaged], &[Answer::Damaged]]).await;
    let error = read(&lab.reader(), 0, 2 * crate::doubles::CHUNK).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn a_stream_that_ends_early_is_noticed_and_its_rest_read_elsewhere() {
    let lab = lab(&[&[Answer::Good], &[Answer::Good]]).await;
    lab.ranked()[0].now_answers([Answer::Short]);
    assert_eq!(read(&lab.reader(), 0, 1 << 20).await.unwrap(), content(0, 1 << 20));
    assert_eq!(lab.client.counters().snapshot().damaged_chunks, 1);
}

#[tokio::test]
async fn a_worker_that_fails_in_mid_stream_is_no_error_to_the_reader() {
    let broken = &[Answer::Breaks(ErrorKind::Unavailable)];
    let lab = lab(&[broken, broken]).await;
    // Each attempt brings a chunk and then breaks.
    assert_eq!(read(&lab.reader(), 0, 1 << 20).await.unwrap(), content(0, 1 << 20));
}

#[tokio::test]
async fn a_version_that_is_gone_is_stale_at_once() {
    let lab = lab(&[&[Answer::Fails(ErrorKind::Stale)], &[Answer::Fails(ErrorKind::Stale)]]).await;
    let error = read(&lab.reader(), 0, 100).await.unwrap_err();
    assert!(matches!(error, ClientError::Stale { .. }), "{error}");
    assert_eq!(lab.asked(), 1);
}

#[tokio::test]
async fn the_master_is_told_of_a_stale_version_by_one_of_many_reads() {
    let answers = [Answer::Fails(ErrorKind::Stale), Answer::Fails(ErrorKind::Stale)];
    let lab = lab(&[&answers, &answers]).await;
    for _ in 0..2 {
        let reader = lab.reader().renewed_by(InodeId::new(77));
        assert!(matches!(read(&reader, 0, 100).await, Err(ClientError::Stale { .. })));
    }
    let told = (77, Some(lab.reader().version().file.into()));
    while lab.master.refreshed.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    lab.client.clone().close().await;
    assert_eq!(*lab.master.refreshed.lock(), [told]);
}

#[tokio::test]
async fn without_workers_a_read_waits_up_to_its_deadline() {
    let nobody = Nobody::new();
    let master = Master::with_workers(&[(1, "there", nobody.address)]);
    let at_master = master.serve();
    let deadline = Duration::from_millis(400);
    let settings = ClientSettings { read_deadline: deadline, ..settings(&[at_master.address]) };
    let client = Client::connect(settings).await.unwrap();
    let begun = Instant::now();
    let error = read(&client.reader(version(FILE), capability()), 7, 100).await.unwrap_err();
    assert!(error.kind().is_retryable(), "{error}");
    assert!(matches!(error, ClientError::NoWorker { offset: 7, .. }), "{error}");
    assert!(error.to_string().contains("the bytes of a/b ("), "the file is named for a person: {error}");
    let waited = begun.elapsed();
    assert!(waited > deadline / 2 && waited < deadline + Duration::from_secs(5), "{waited:?}");
}

#[tokio::test]
async fn a_worker_that_comes_back_in_time_ends_the_wait() {
    let worker = Worker::new([Answer::Good]);
    let nobody = Nobody::new();
    let master = Master::with_workers(&[(1, "there", nobody.address)]);
    let at_master = master.serve();
    let client = connect(&[at_master.address]).await;
    let reader = client.reader(version(FILE), capability());
    let (read, _serving) = tokio::join!(read(&reader, 0, 100), async {
        while client.counters().snapshot().failed_reads == 0 {
            tokio::task::yield_now().await;
        }
        worker.serve_at(nobody)
    });
    assert_eq!(read.unwrap(), content(0, 100));
}

#[tokio::test]
async fn a_worker_that_joined_is_found_after_all_others_failed() {
    let lab = lab(&[&[Answer::Good]]).await;
    assert_eq!(read(&lab.reader(), 0, 100).await.unwrap(), content(0, 100));
    lab.workers[0].0.now_answers([Answer::Fails(ErrorKind::Unavailable)]);
    let joined = Worker::new([Answer::Good]);
    let serving = joined.serve();
    lab.master.workers.lock()[0].address = serving.address.to_string();
    assert_eq!(read(&lab.reader(), 0, 100).await.unwrap(), content(0, 100));
    assert_eq!(joined.requests.lock().len(), 1);
}

#[tokio::test]
async fn a_worker_that_is_badly_set_up_is_passed_over() {
    let kinds = [
        ErrorKind::InvalidArgument,
        ErrorKind::PermissionDenied,
        ErrorKind::NotFound,
        ErrorKind::Unsupported,
    ];
    for kind in kinds {
        let lab = lab(&[&[Answer::Good], &[Answer::Good]]).await;
        lab.ranked()[0].now_answers([Answer::Fails(kind)]);
        for _ in 0..3 {
            assert_eq!(read(&lab.reader(), 0, 100).await.unwrap(), content(0, 100), "{kind}");
        }
        assert_eq!(lab.ranked()[1].requests.lock().len(), 3, "{kind}");
    }
}

#[tokio::test]
async fn one_good_worker_among_many_that_are_badly_set_up_is_found() {
    let (wrong, good): (&[Answer], &[Answer]) =
        (&[Answer::Fails(ErrorKind::InvalidArgument)], &[Answer::Good]);
    let lab = lab(&[wrong; 12]).await;
    lab.ranked()[11].now_answers(good);
    assert_eq!(read(&lab.reader(), 0, 100).await.unwrap(), content(0, 100));
    assert_eq!(lab.asked(), 12);
}

#[tokio::test]
async fn where_all_workers_say_no_the_most_telling_error_comes_at_once() {
    let [wrong, denied, gone] =
        [ErrorKind::InvalidArgument, ErrorKind::PermissionDenied, ErrorKind::NotFound].map(Answer::Fails);
    for (answers, expected) in [
        ([wrong, denied, gone], ErrorKind::PermissionDenied),
        ([wrong, gone, wrong], ErrorKind::NotFound),
        ([wrong, wrong, wrong], ErrorKind::InvalidArgument),
    ] {
        let lab = lab(&[&answers[..1], &answers[1..2], &answers[2..]]).await;
        let error = read(&lab.reader(), 0, 100).await.unwrap_err();
        assert_eq!((error.kind(), lab.asked()), (expected, 3), "{error}");
    }
}

#[tokio::test]
async fn a_live_worker_that_may_come_back_is_waited_for_where_the_others_say_no() {
    let lab = lab(&[&[Answer::Fails(ErrorKind::InvalidArgument)], &[Answer::Good]]).await;
    lab.workers[1].0.now_answers([Answer::Fails(ErrorKind::Unavailable), Answer::Good]);
    assert_eq!(read(&lab.reader(), 0, 100).await.unwrap(), content(0, 100));
}

#[tokio::test]
async fn maintenance_is_told_at_once_also_beside_a_live_worker_that_may_come_back() {
    let lab =
        lab(&[&[Answer::Fails(ErrorKind::Maintenance)], &[Answer::Fails(ErrorKind::Unavailable)]]).await;
    let error = read(&lab.reader(), 0, 100).await.unwrap_err();
    assert_eq!((error.kind(), lab.asked()), (ErrorKind::Maintenance, 2), "{error}");
}

#[tokio::test]
async fn what_another_worker_has_cached_is_read_during_maintenance() {
    let lab = lab(&[&[Answer::Good], &[Answer::Good]]).await;
    lab.ranked()[0].now_answers([Answer::Fails(ErrorKind::Maintenance)]);
    assert_eq!(read(&lab.reader(), 0, 100).await.unwrap(), content(0, 100));
}

/// What the double says of its under-store, without a word on workers.
fn is_the_under_stores_own(error: &ClientError) -> bool {
    matches!(error, ClientError::Answer { kind: ErrorKind::UnderStore, message, .. }
        if message.starts_with("as the test wants it"))
}

#[tokio::test]
async fn an_under_store_that_fails_is_told_in_its_own_words() {
    let failing = &[Answer::Fails(ErrorKind::UnderStore)];
    let lab = lab(&[failing, failing]).await;
    let error = read(&lab.reader(), 0, 100).await.unwrap_err();
    assert!(is_the_under_stores_own(&error), "{error}");
    assert_eq!(lab.asked(), 2 * crate::limits::FUTILE_PASSES_MAX as usize);
}

#[tokio::test]
async fn after_the_under_stores_word_the_next_worker_has_the_rest_of_a_named_time_only() {
    let lab = lab(&[&[Answer::Silent], &[Answer::Silent]]).await;
    lab.ranked()[0].now_answers([Answer::Fails(ErrorKind::UnderStore)]);
    let deadline = Duration::from_secs(15);
    let masters = [lab._at_master.address];
    let client =
        Client::connect(ClientSettings { read_deadline: deadline, ..settings(&masters) }).await.unwrap();
    let begun = Instant::now();
    let error = read(&client.reader(version(FILE), capability()), 0, 100).await.unwrap_err();
    assert!(is_the_under_stores_own(&error), "{error}");
    assert!(begun.elapsed() < deadline * 2 / 3, "it took {:?}", begun.elapsed());
    assert_eq!(lab.ranked()[1].requests.lock().len(), 1, "it was asked");
}

#[tokio::test]
async fn a_worker_that_reaches_what_another_one_does_not_is_read_from() {
    let lab = lab(&[&[Answer::Good], &[Answer::Good]]).await;
    lab.ranked()[0].now_answers([Answer::Fails(ErrorKind::UnderStore)]);
    assert_eq!(read(&lab.reader(), 0, 1 << 20).await.unwrap(), content(0, 1 << 20));
}

#[tokio::test]
async fn a_lost_worker_is_not_waited_for_where_the_others_say_no() {
    let (worker, nobody) = (Worker::new([Answer::Fails(ErrorKind::InvalidArgument)]), Nobody::new());
    let serving = worker.serve();
    let master = Master::with_workers(&[(1, "there", serving.address), (2, "there", nobody.address)]);
    master.workers.lock()[1].state = forebay_types::WorkerState::Lost;
    let at_master = master.serve();
    let client = connect(&[at_master.address]).await;
    let error = read(&client.reader(version(FILE), capability()), 0, 100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert_eq!(worker.requests.lock().len(), 1);
}

#[tokio::test]
async fn an_error_after_a_long_wait_names_what_will_not_pass_beside_a_worker_that_might_have_come_back() {
    let (worker, nobody) = (Worker::new([Answer::Fails(ErrorKind::InvalidArgument)]), Nobody::new());
    let serving = worker.serve();
    let master = Master::with_workers(&[(1, "there", serving.address), (2, "there", nobody.address)]);
    let at_master = master.serve();
    let settings =
        ClientSettings { read_deadline: Duration::from_millis(400), ..settings(&[at_master.address]) };
    let client = Client::connect(settings).await.unwrap();
    let error = read(&client.reader(version(FILE), capability()), 0, 100).await.unwrap_err();
    assert!(matches!(error, ClientError::NoWorker { kind: ErrorKind::Unavailable, .. }), "{error}");
    assert!(error.to_string().contains("as the test wants it"), "{error}");
}

#[tokio::test]
async fn a_worker_learns_what_its_count_of_fills_was_when_the_reader_began() {
    let lab = lab(&[&[Answer::Good]]).await;
    let reader = lab.reader();
    for offset in [0, 1000, 2 << 20] {
        read(&reader, offset, 10).await.unwrap();
        lab.workers[0].0.fill_sequence.fetch_add(1, Ordering::Relaxed);
    }
    let told: Vec<_> =
        lab.workers[0].0.requests.lock().iter().map(|request| request.opened_at_fill).collect();
    assert_eq!(told, [0, 5, 5]);
}

#[tokio::test]
async fn a_capability_that_is_over_is_renewed_by_the_inode() {
    let over = Answer::Fails(ErrorKind::Unauthenticated);
    let lab = lab(&[&[over, Answer::Good]]).await;
    let reader = lab.reader().renewed_by(InodeId::new(9));
    assert_eq!(read(&reader, 0, 100).await.unwrap(), content(0, 100));
    let keys: Vec<_> = {
        let requests = lab.workers[0].0.requests.lock();
        requests.iter().map(|request| request.capability.as_ref().unwrap().key_id).collect()
    };
    assert_eq!(keys, [1, 2]);
    lab.workers[0].0.now_answers([over]);
    let error = read(&reader, 0, 100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "one renewal a read");
    assert_eq!(lab.master.opens.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn sequential_reads_are_read_ahead_and_each_byte_is_fetched_once() {
    let lab = lab(&[&[Answer::Good]]).await;
    let reader = lab.reader();
    for offset in (0..FILE).step_by(128 << 10) {
        assert_eq!(read(&reader, offset, 128 << 10).await.unwrap(), content(offset, 128 << 10));
    }
    assert_eq!(lab.workers[0].0.asked_bytes(), FILE);
    assert!(lab.asked() < 10, "24 reads were served by {} requests", lab.asked());
    drop(reader);
    let readahead = &lab.client.0.readahead;
    let all = usize::try_from(lab.client.settings().readahead_memory.get()).expect("it fits");
    while readahead.available_permits() < all {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn random_reads_fetch_what_they_ask_for_and_no_more() {
    let lab = lab(&[&[Answer::Good]]).await;
    let reader = lab.reader();
    for step in 0..40 {
        let offset = (step * 7919 * 4096) % (FILE - 4096);
        assert_eq!(read(&reader, offset, 4096).await.unwrap(), content(offset, 4096));
    }
    assert_eq!(lab.workers[0].0.asked_bytes(), 40 * 4096);
}

#[tokio::test]
async fn damage_in_what_is_read_ahead_is_noticed_too() {
    let lab = lab(&[&[Answer::Good, Answer::Damaged, Answer::Damaged, Answer::Good]]).await;
    let reader = lab.reader();
    for offset in (0..FILE).step_by(256 << 10) {
        assert_eq!(read(&reader, offset, 256 << 10).await.unwrap(), content(offset, 256 << 10));
    }
    assert_eq!(lab.client.counters().snapshot().damaged_chunks, 2);
}

#[tokio::test]
async fn a_closed_client_reads_no_more_and_leaves_no_task() {
    let lab = lab(&[&[Answer::Good]]).await;
    let reader = lab.reader();
    read(&reader, 0, 1000).await.unwrap();
    read(&reader, 1000, 1000).await.unwrap();
    lab.client.clone().close().await;
    assert!(lab.client.0.tracker.is_empty());
    let error = read(&reader, 2 << 20, 100).await.unwrap_err();
    assert!(matches!(error, ClientError::Closed), "{error}");
}
