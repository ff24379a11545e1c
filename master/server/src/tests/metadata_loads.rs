//! Loads of metadata over a real log: after one nobody waits for the under-store, and an outage is no success.

use super::bucket::Bucket;
use super::*;
use forebay_metadata::{BeginLoad, BeginMetadataLoad, JobKind, JobRecord, Success};
use forebay_types::{JobFailure, JobId, JobState};

impl World {
    async fn begin(&self, paths: &[&str]) -> JobId {
        let load = BeginLoad { paths: paths.iter().map(|text| path(text)).collect(), last: true };
        let command = Command::BeginMetadataLoad(BeginMetadataLoad { load });
        match self.shared.propose(None, command).await.expect("begun") {
            Success::LoadBegun { job } => job,
            other => panic!("{other:?}"),
        }
    }

    async fn looked_at(&self, job: JobId) -> (JobRecord, Vec<JobFailure>) {
        let look = |state: &dyn forebay_metadata::StateReader| {
            Ok((query::job(state, job)?.expect("known"), query::job_failures(state, job)?))
        };
        self.shared.query(look).await.expect("read")
    }

    /// The job once it is over. The clock goes on meanwhile by `step` a look.
    async fn ended(&self, job: JobId, step: Duration) -> (JobRecord, Vec<JobFailure>) {
        loop {
            let (record, failures) = self.looked_at(job).await;
            if record.state.is_over() {
                return (record, failures);
            }
            self.clock.advance(step);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn make(&self, directories: &[&str]) {
        for directory in directories {
            let at = self.source.path().join(directory);
            std::fs::create_dir_all(&at).expect("made");
            std::fs::write(at.join("f"), "content").expect("written");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_load_of_metadata_nobody_waits_for_the_under_store_and_what_is_fresh_is_not_listed_again() {
    let world = World::bounded().await;
    world.make(&["a/b", "a/c", "d"]);
    let job = world.begin(&["/data"]).await;
    let (record, failures) = world.ended(job, Duration::ZERO).await;
    assert_eq!((record.state, failures), (JobState::Succeeded, vec![]));
    assert_eq!(record.kind, JobKind::MetadataLoad { directories_done: 5 });
    assert_eq!((record.progress.files_done, record.progress.bytes_total), (3, 0));
    let requests = world.requests();
    assert_eq!(
        requests, 6,
        "one for each directory, and whose the first is was asked for when its path was looked up"
    );
    for at in ["/data/a/b/f", "/data/a/c/f", "/data/d/f"] {
        assert!(tree::resolve(&world.shared, &path(at)).await.is_ok(), "{at}");
    }
    let again = world.begin(&["/data", "/data/d/f"]).await;
    assert_eq!(world.ended(again, Duration::ZERO).await.0.state, JobState::Succeeded);
    assert_eq!(world.requests(), requests);
    world.clock.advance(Duration::from_secs(200));
    world.wait_until_nothing_is_due().await;
    let (before, after) = (world.requests(), world.begin(&["/data"]).await);
    assert_eq!(world.ended(after, Duration::ZERO).await.0.state, JobState::Succeeded);
    assert_eq!(world.requests(), before + 6, "its freshness is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_from_before_an_outage_is_no_success() {
    let world = World::bounded().await;
    world.make(&["a"]);
    world.write("g", "content");
    let before = world.begin(&["/data"]).await;
    assert_eq!(world.ended(before, Duration::ZERO).await.0.state, JobState::Succeeded);
    let away = world.source.path().with_extension("away");
    std::fs::rename(world.source.path(), &away).expect("renamed");
    world.clock.advance(Duration::from_secs(200));
    let job = world.begin(&["/data", "/data/g"]).await;
    let (record, failures) = world.ended(job, Duration::from_millis(500)).await;
    let mut named: Vec<_> = failures.iter().map(|failure| failure.path.to_string()).collect();
    named.sort();
    assert_eq!((record.state, named), (JobState::Failed, vec!["/data".to_owned(), "/data/g".to_owned()]));
    std::fs::rename(&away, world.source.path()).expect("renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_goes_while_its_neighbours_are_listed_is_no_failure() {
    let world = World::bounded().await;
    world.make(&["come/gone", "come/stays"]);
    // The root and `come` are known and fresh, `gone` is not.
    tree::resolve(&world.shared, &path("/data/come/gone")).await.expect("there");
    std::fs::remove_dir_all(world.source.path().join("come/gone")).expect("removed");
    let job = world.begin(&["/data"]).await;
    let (record, failures) = world.ended(job, Duration::from_millis(500)).await;
    assert_eq!((record.state, failures), (JobState::Succeeded, vec![]));
    assert_eq!(record.kind, JobKind::MetadataLoad { directories_done: 3 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_directory_counts_once_its_last_page_came_and_costs_each_page_once() {
    let bucket = Bucket::new(2).await;
    (0..25).for_each(|number| bucket.put(&format!("f{number:04}")));
    bucket.set_page_length(10);
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let job = world.begin(&["/data"]).await;
    bucket.settled(3).await;
    assert_eq!(world.looked_at(job).await.0.kind, JobKind::MetadataLoad { directories_done: 0 });
    bucket.send(1);
    let (record, _) = world.ended(job, Duration::ZERO).await;
    assert_eq!((record.state, record.progress.files_done), (JobState::Succeeded, 25));
    assert_eq!(record.kind, JobKind::MetadataLoad { directories_done: 1 });
    assert_eq!(world.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_of_metadata_is_cancelled_with_what_it_has_done() {
    let bucket = Bucket::new(1).await;
    (0..25).for_each(|number| bucket.put(&format!("f{number:04}")));
    bucket.set_page_length(10);
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let job = world.begin(&["/", "/data"]).await;
    while world.looked_at(job).await.0.kind != (JobKind::MetadataLoad { directories_done: 1 }) {
        world.clock.advance(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let end = crate::jobs::end_command(
        forebay_metadata::EndJob {
            job,
            state: JobState::Cancelled,
            progress: None,
            failures: Vec::new(),
            reason: None,
        },
        world.shared.jobs.figures(job).and_then(|figures| figures.directories_done),
    );
    world.shared.propose(None, end).await.expect("cancelled");
    let (record, _) = world.looked_at(job).await;
    assert_eq!(
        (record.state, record.kind),
        (JobState::Cancelled, JobKind::MetadataLoad { directories_done: 1 })
    );
}
