//! What travels in parts is put together again: lists of paths on their way there, jobs and failures on their way back.

use std::net::SocketAddr;
use std::sync::Arc;

use forebay_proto::to_status;
use forebay_proto::v1::cluster_server::ClusterServer;
use forebay_proto::v1::jobs_server::{Jobs, JobsServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::*;
use crate::doubles::{Master, connect};

fn path(text: &str) -> NamespacePath {
    text.parse().unwrap()
}

#[test]
fn a_list_is_cut_without_a_gap_and_no_part_is_too_large() {
    assert_eq!(parts(&[]), [&[] as &[NamespacePath]]);
    let long = "/x".repeat(2000);
    let paths: Vec<_> = (0..2 * LOAD_PATHS_PER_REQUEST + 1)
        .map(|number| path(&format!("{}/{number}", if number % 10 == 0 { &long } else { "" })))
        .collect();
    let parts = parts(&paths);
    assert_eq!(parts.concat(), paths);
    for part in parts {
        let bytes: usize = part.iter().map(|path| path.to_bytes().len()).sum();
        assert!(part.len() <= LOAD_PATHS_PER_REQUEST && bytes <= LOAD_PATH_BYTES_PER_MESSAGE_MAX);
    }
}

#[test]
fn defects_are_numbered_in_the_whole_list() {
    let defects = vec![v1::PathDefect { index: 2, kind: "NOT_FOUND".into(), reason: "gone".into() }];
    let Submitted::Refused(defects) = outcome(10, v1::SubmitLoadResponse { job: 0, defects }) else {
        panic!("refused")
    };
    assert_eq!((defects[0].index, defects[0].kind), (12, ErrorKind::NotFound));
}

/// A master that has five jobs of five failures and tells two of either at a time.
struct InSmallPages;

const MANY: u64 = 5;
const PAGE: usize = 2;

fn job_after(id: u64, failures_before: u32) -> (v1::Job, bool) {
    let failure = |number| v1::JobFailure { path: format!("/f{number}").into(), reason: "gone".to_owned() };
    let failures: Vec<_> = (u64::from(failures_before)..MANY).map(failure).collect();
    let more = failures.len() > PAGE;
    let failures = failures.into_iter().take(PAGE).collect();
    let job = v1::Job { id, state: v1::JobState::Cancelled.into(), failures, ..v1::Job::default() };
    (job, more)
}

#[tonic::async_trait]
impl Jobs for InSmallPages {
    async fn submit_load(
        &self,
        _: Request<v1::SubmitLoadRequest>,
    ) -> Result<Response<v1::SubmitLoadResponse>, Status> {
        Err(to_status(ErrorKind::Unsupported, "no test asks for this"))
    }

    async fn submit_metadata_load(
        &self,
        _: Request<v1::SubmitLoadRequest>,
    ) -> Result<Response<v1::SubmitLoadResponse>, Status> {
        Err(to_status(ErrorKind::Unsupported, "no test asks for this"))
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let v1::GetJobRequest { job, failures_before, .. } = request.into_inner();
        let (job, more_failures) = job_after(job, failures_before);
        Ok(Response::new(v1::GetJobResponse { job: Some(job), more_failures }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let before = request.into_inner().before;
        let job = |id| v1::Job { id, state: v1::JobState::Succeeded.into(), ..v1::Job::default() };
        let jobs: Vec<_> = (1..=MANY).rev().filter(|id| before == 0 || *id < before).map(job).collect();
        let more = jobs.len() > PAGE;
        Ok(Response::new(v1::ListJobsResponse { jobs: jobs.into_iter().take(PAGE).collect(), more }))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let (job, more_failures) = job_after(request.into_inner().job, 0);
        Ok(Response::new(v1::CancelJobResponse { job: Some(job), more_failures }))
    }
}

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Server::builder()
        .add_service(ClusterServer::from_arc(Arc::<Master>::default()))
        .add_service(JobsServer::new(InSmallPages));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

#[tokio::test]
async fn jobs_and_failures_that_come_in_pages_are_all_there_once_and_in_order() {
    let client = connect(&[serve().await]).await;
    let ids: Vec<_> = client.jobs().await.unwrap().iter().map(|job| job.id.get()).collect();
    assert_eq!(ids, [5, 4, 3, 2, 1]);
    assert_eq!(client.newest_job().await.unwrap(), Some(JobId::new(5)));
    for job in [client.job(JobId::new(3)).await.unwrap(), client.cancel_job(JobId::new(3)).await.unwrap()] {
        let paths: Vec<_> = job.failures.iter().map(|failure| failure.path.to_string()).collect();
        assert_eq!(paths, ["/f0", "/f1", "/f2", "/f3", "/f4"]);
    }
}

#[tokio::test]
async fn a_master_that_does_not_know_loads_of_metadata_refuses_them_and_is_not_asked_for_another() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // Whatever call it does not know is answered as a call of a whole service that it does not know.
    let router = Server::builder().add_service(ClusterServer::from_arc(Arc::<Master>::default()));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let refused = connect(&[address]).await.submit_metadata_load(&[path("/a")]).await;
    assert_eq!(refused.expect_err("unknown").kind(), ErrorKind::Unsupported);
}
