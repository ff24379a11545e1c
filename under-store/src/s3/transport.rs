//! Sends one signed request to a bucket: with a place among the requests at once, retries, and one budget of time.
//!
//! Only requests that change nothing are sent here, so that each may be sent again.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use forebay_types::UnderStoreUri;
use futures::StreamExt;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponseBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::answer::Refusal;
use super::outage::Outage;
use super::retry::{Attempts, Failure};
use super::settings::S3Settings;
use crate::error::UnderStoreError;
use crate::limits::ERROR_ANSWER_MAX;
use crate::statistics::{RequestKind, UnderStoreStatistics};

/// The way to one bucket.
#[derive(Debug)]
pub(super) struct Transport {
    settings: S3Settings,
    permits: Arc<Semaphore>,
    statistics: Arc<UnderStoreStatistics>,
    outage: Outage,
}

/// A request to be sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: RequestKind,
    /// What follows the bucket's URL, escaped: `/KEY`, or `?list-type=2...`.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    /// What it is about, for messages.
    pub(super) object: String,
}

/// A successful answer whose body is still to come. It keeps its place among the requests at once.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) is_partial: bool,
    pub(super) body: HttpResponseBody,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Transport {
    pub(super) fn new(settings: S3Settings) -> Self {
        let permits = Arc::new(Semaphore::new(settings.concurrency));
        Self { settings, permits, statistics: Arc::default(), outage: Outage::default() }
    }

    pub(super) const fn statistics(&self) -> &Arc<UnderStoreStatistics> {
        &self.statistics
    }

    /// The error that a refusal comes to where the caller has no better use for it.
    pub(super) fn refused(&self, refusal: Refusal, uri: &UnderStoreUri, object: &str) -> UnderStoreError {
        // A missing bucket is told of as such, not by the key that happened to be asked for.
        let object = if refusal.code == "NoSuchBucket" { uri.to_string() } else { object.to_owned() };
        match refusal.into_failure(&object, &self.settings.region, 1) {
            Failure::Lasting(error) | Failure::Passing { error, .. } => error,
        }
    }

    /// Sends until there is an answer that another attempt would not change; the body is left to the caller.
    pub(super) async fn send(
        &self,
        request: &Request,
        budget: Duration,
    ) -> Result<Result<Answer, Refusal>, UnderStoreError> {
        let mut permit = Some(self.permit(request).await?);
        let mut attempts = Attempts::new(self.outage.budget(budget), &self.statistics);
        loop {
            match self.attempt(request, &attempts).await {
                Ok(Ok((headers, is_partial, body))) => {
                    let permit = permit.take().expect("a call has one success");
                    return Ok(Ok(Answer { headers, is_partial, body, permit }));
                }
                Ok(Err(refusal)) => return Ok(Err(refusal)),
                Err(failure) => self.again(&mut attempts, failure).await?,
            }
        }
    }

    /// As [`Self::send`], with the whole body, which must not be longer than `length_max`.
    pub(super) async fn send_whole(
        &self,
        request: &Request,
        budget: Duration,
        length_max: usize,
    ) -> Result<Result<Bytes, Refusal>, UnderStoreError> {
        let _permit = self.permit(request).await?;
        let mut attempts = Attempts::new(self.outage.budget(budget), &self.statistics);
        loop {
            let failure = match self.attempt(request, &attempts).await {
                Ok(Ok((_, _, body))) => match collect(body, length_max, attempts.deadline()).await {
                    Ok(bytes) => return Ok(Ok(bytes)),
                    Err(problem) => {
                        let error = UnderStoreError::Malformed { object: request.object.clone(), problem };
                        Failure::Passing { retry_after: None, error }
                    }
                },
                Ok(Err(refusal)) => return Ok(Err(refusal)),
                Err(failure) => failure,
            };
            self.again(&mut attempts, failure).await?;
        }
    }

    /// Waits until the next attempt is due; an error where there is none.
    async fn again(&self, attempts: &mut Attempts<'_>, failure: Failure) -> Result<(), UnderStoreError> {
        let ended = attempts.after(failure).await;
        if let Err(UnderStoreError::Unreachable { .. } | UnderStoreError::TimedOut { .. }) = &ended {
            self.outage.used_up(attempts.budget());
        }
        ended
    }

    async fn permit(&self, request: &Request) -> Result<OwnedSemaphorePermit, UnderStoreError> {
        let closed = || UnderStoreError::Stopping { object: request.object.clone() };
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())
    }

    /// One request, signed now.
    async fn attempt(
        &self,
        request: &Request,
        attempts: &Attempts<'_>,
    ) -> Result<Result<(HeaderMap, bool, HttpResponseBody), Refusal>, Failure> {
        let timed_out = || Failure::Passing {
            retry_after: None,
            error: UnderStoreError::TimedOut { object: request.object.clone(), after: attempts.budget() },
        };
        let signed = timeout_at(attempts.deadline(), self.signed(request)).await.map_err(|_| timed_out())?;
        let signed = signed.map_err(Failure::Lasting)?;
        self.statistics.count_request(request.kind);
        let sent = timeout_at(attempts.deadline(), self.settings.client.execute(signed));
        let answer = sent.await.map_err(|_| timed_out())?.map_err(|problem| Failure::Passing {
            retry_after: None,
            error: UnderStoreError::Unreachable {
                object: request.object.clone(),
                endpoint: self.settings.endpoint.clone(),
                reason: innermost(&problem),
            },
        })?;
        self.outage.answered();
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(Ok((head.headers, head.status.as_u16() == 206, body)));
        }
        let body = collect(body, ERROR_ANSWER_MAX, attempts.deadline()).await.unwrap_or_default();
        let refusal = Refusal::new(head.status, &head.headers, &body);
        if refusal.is_passing() {
            return Err(refusal.into_failure(&request.object, &self.settings.region, attempts.count()));
        }
        Ok(Err(refusal))
    }

    async fn signed(&self, request: &Request) -> Result<HttpRequest, UnderStoreError> {
        let method = if request.kind == RequestKind::Head { Method::HEAD } else { Method::GET };
        let url = format!("{}{}", self.settings.bucket_url, request.target);
        let mut built = HttpRequest::new(HttpRequestBody::empty());
        *built.method_mut() = method;
        *built.uri_mut() = url.parse::<Uri>().map_err(|problem| UnderStoreError::Malformed {
            object: request.object.clone(),
            problem: format!("its address cannot be used: {problem}"),
        })?;
        *built.headers_mut() = request.headers.clone();
        if self.settings.pays_as_requester {
            let name = HeaderName::from_static("x-amz-request-payer");
            built.headers_mut().insert(name, HeaderValue::from_static("requester"));
        }
        let Some(provider) = &self.settings.credentials else { return Ok(built) };
        let missing =
            |reason: String| UnderStoreError::NoCredentials { object: request.object.clone(), reason };
        let credential = provider.get_credential().await.map_err(|problem| missing(innermost(&problem)))?;
        // The signer would panic on what cannot stand in a header.
        let parts = [Some(&credential.key_id), credential.token.as_ref()];
        if parts.into_iter().flatten().any(|part| HeaderValue::from_str(part).is_err()) {
            return Err(missing("the source of credentials gave one that is no printable ASCII".to_owned()));
        }
        AwsAuthorizer::new(&credential, "s3", &self.settings.region)
            .with_sign_payload(self.settings.is_payload_signed)
            .try_authorize(&mut built, None)
            .map_err(|problem| missing(innermost(&problem)))?;
        Ok(built)
    }
}

/// The cause at the bottom of an error: `connection refused` rather than `error sending request`.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The whole body; an error text when it is cut, too long or late.
async fn collect(body: HttpResponseBody, length_max: usize, deadline: Instant) -> Result<Bytes, String> {
    let mut stream = body.bytes_stream();
    let mut whole = BytesMut::new();
    let gather = async {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|problem| format!("it was cut short: {}", innermost(&problem)))?;
            if whole.len() + chunk.len() > length_max {
                return Err(format!("it is longer than {length_max} bytes"));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(())
    };
    timeout_at(deadline, gather).await.unwrap_or_else(|_| Err("it did not end in time".to_owned()))?;
    Ok(whole.freeze())
}
