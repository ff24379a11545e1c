//! Answers that are too long for one message come in pages, each of which can be sent.

use std::os::unix::fs::symlink;

use forebay_metadata::{BeginLoad, EndJob, Success};
use forebay_proto::v1;
use forebay_proto::v1::jobs_server::Jobs;
use forebay_types::limits::{JOB_FAILURES_KEPT_MAX, REASON_LENGTH_MAX, RPC_LENGTH_MAX};
use forebay_types::{JobFailure, JobId, JobState};
use prost::Message;
use tonic::Request;

use super::*;
use crate::service::JobsService;

/// A path of 4,000 bytes.
fn long_path(number: usize) -> NamespacePath {
    path(&format!("/{number:0>249}").repeat(16))
}

fn check(answer: &impl Message) {
    let length = answer.encoded_len();
    assert!(length < RPC_LENGTH_MAX, "an answer of {length} bytes cannot be sent");
}

impl World {
    /// A job whose list of paths is not complete, so that nobody works on it.
    async fn job(&self, paths: Vec<NamespacePath>) -> JobId {
        let begin = Command::BeginLoad(BeginLoad { paths, last: false });
        match self.shared.propose(None, begin).await.expect("begun") {
            Success::LoadBegun { job } => job,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_long_links_is_listed_in_pages_that_can_be_sent() {
    let world = World::bounded().await;
    let target = "x/".repeat(2009) + "x";
    let names: Vec<_> = (0..1000).map(|number| format!("{number:0>250}")).collect();
    names.iter().for_each(|name| symlink(&target, world.source.path().join(name)).expect("linked"));
    let data = world.data().await;
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let (entries, complete, _) =
            tree::list(&world.shared, data, after.as_ref(), 1000).await.expect("listed");
        pages += 1;
        after = entries.last().map(|named| named.name.clone());
        seen.extend(entries.iter().map(|named| named.name.to_string()));
        let entries = entries.into_iter().map(Into::into).collect();
        check(&v1::ListResponse { entries, complete, ..v1::ListResponse::default() });
        if complete {
            break;
        }
        assert!(after.is_some(), "a page without entries leads nowhere");
    }
    assert_eq!(seen, names);
    assert_eq!(pages, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_of_long_paths_are_told_in_pages_the_newest_first() {
    let world = World::bounded().await;
    for _ in 0..120 {
        world.job((0..10).map(long_path).collect()).await;
    }
    let service = JobsService(Arc::clone(&world.shared));
    let (mut seen, mut before) = (Vec::new(), 0);
    loop {
        let request = Request::new(v1::ListJobsRequest { header: None, before });
        let page = service.list_jobs(request).await.expect("listed").into_inner();
        check(&page);
        seen.extend(page.jobs.iter().map(|job| job.id));
        if !page.more {
            break;
        }
        before = *seen.last().expect("a page is never empty while more follow");
    }
    assert_eq!(seen, (1..=120).rev().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failures_of_a_job_are_told_in_parts_without_a_gap() {
    let world = World::bounded().await;
    let job = world.job((0..250).map(long_path).collect()).await;
    let failure = |number| JobFailure { path: long_path(number), reason: "r".repeat(REASON_LENGTH_MAX) };
    let failures: Vec<_> = (0..JOB_FAILURES_KEPT_MAX).map(failure).collect();
    let (state, reason) = (JobState::Failed, None);
    let end = EndJob { job, state, progress: None, failures: failures.clone(), reason };
    world.shared.propose(None, Command::EndJob(end)).await.expect("ended");
    let service = JobsService(Arc::clone(&world.shared));
    let mut seen: Vec<v1::JobFailure> = Vec::new();
    loop {
        let failures_before = u32::try_from(seen.len()).expect("few");
        let request = v1::GetJobRequest { header: None, job: job.get(), failures_before };
        let answer = service.get_job(Request::new(request)).await.expect("there").into_inner();
        check(&answer);
        let told = answer.job.expect("a job").failures;
        assert!(!told.is_empty());
        seen.extend(told);
        if !answer.more_failures {
            break;
        }
    }
    assert_eq!(seen, failures.into_iter().map(Into::into).collect::<Vec<_>>());
}
