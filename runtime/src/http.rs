//! The pages that every process shows to machines: /metrics, /healthz and /readyz.
//!
//! A server merges the router into its gRPC one, or serves it alone with [`serve_http`]. Nothing secret is shown
//! here, since the pages ask for no credential.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The named conditions under which a process serves. Cheap to clone; clones share them.
///
/// Add every condition before the pages are served: a process without unmet conditions counts as ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// In the order in which they were added, which is the order in which a person reads them.
    conditions: Arc<Mutex<Vec<(&'static str, bool)>>>,
}

/// One of the conditions, in the hands of the part that knows it. Not met at first.
#[derive(Clone, Debug)]
pub struct Condition {
    readiness: Readiness,
    position: usize,
}

impl Readiness {
    /// Adds a condition that is not met yet, such as `raft` or `fuse`.
    #[must_use]
    pub fn add(&self, name: &'static str) -> Condition {
        let mut conditions = self.lock();
        conditions.push((name, false));
        Condition { readiness: self.clone(), position: conditions.len() - 1 }
    }

    /// The conditions that are not met now; none means that the process serves.
    #[must_use]
    pub fn unmet(&self) -> Vec<&'static str> {
        self.lock().iter().filter(|(_, met)| !met).map(|(name, _)| *name).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, bool)>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// Says whether the condition is met from now on.
    pub fn set(&self, met: bool) {
        self.readiness.lock()[self.position].1 = met;
    }
}

/// The three pages, to be served alone or merged into another router.
pub fn router(registry: Registry, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(async move || metrics_page(&registry)))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || ready_page(&readiness)))
}

/// Serves `router` until `cancel`, then finishes the requests that have begun. Cancel safe in the sense that dropping
/// it closes the listener and cuts those requests short.
///
/// # Errors
/// What the listener said when it could not go on.
pub async fn serve_http(listener: TcpListener, router: Router, cancel: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await
}

fn metrics_page(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be shown");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be shown; see the log\n").into_response()
        }
    }
}

fn ready_page(readiness: &Readiness) -> Response {
    let unmet = readiness.unmet();
    if unmet.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", unmet.join(", "))).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use prometheus::IntCounter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::*;

    async fn served(
        registry: Registry,
        readiness: Readiness,
        cancel: &CancellationToken,
    ) -> (SocketAddr, JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        (address, tokio::spawn(serve_http(listener, router(registry, readiness), cancel.clone())))
    }

    async fn page(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("served");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn readyz_names_the_conditions_that_are_not_met() {
        let readiness = Readiness::default();
        let (raft, fuse) = (readiness.add("raft"), readiness.add("fuse"));
        let cancel = CancellationToken::new();
        let (address, server) = served(Registry::new(), readiness, &cancel).await;
        let answer = page(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("not ready: raft, fuse"), "{answer}");
        raft.set(true);
        assert!(page(address, "/readyz").await.contains("not ready: fuse"));
        fuse.set(true);
        assert!(page(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        raft.set(false);
        assert!(page(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(page(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        cancel.cancel();
        server.await.expect("no panic").expect("a clean end");
    }

    #[tokio::test]
    async fn metrics_show_the_injected_registry() {
        let registry = Registry::new();
        let reads = IntCounter::new("forebay_test_reads_total", "reads").expect("legal");
        registry.register(Box::new(reads.clone())).expect("new");
        reads.inc_by(3);
        let cancel = CancellationToken::new();
        let (address, server) = served(registry, Readiness::default(), &cancel).await;
        let answer = page(address, "/metrics").await;
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("\nforebay_test_reads_total 3\n"), "{answer}");
        cancel.cancel();
        server.await.expect("no panic").expect("a clean end");
    }
}
