//! One span for each request that a server answers, from its head to the end of its answer's body.
//!
//! The span has the field `rpc` and the level DEBUG: at the level INFO it made opening and closing a cached file slower by
//! 3.5 %. Where nobody asked for that level, a request costs two comparisons more. Plain pages, such as /metrics, have no
//! span.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, MapOk};
use futures::{FutureExt, TryFutureExt};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::{Layer, Service};
use tracing::{Instrument, Span};

/// What the path of each of our calls begins with; then come `Service/Method`.
const PACKAGE: &str = "/forebay.v1.";

/// Puts each request into a span.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestSpans;

/// A service whose requests run in spans.
#[derive(Clone, Debug)]
pub(super) struct Spanned<S>(S);

/// A body that is made inside of a request's span.
#[derive(Debug)]
pub(super) struct SpannedBody<B> {
    body: B,
    span: Span,
}

impl<S> Layer<S> for RequestSpans {
    type Service = Spanned<S>;

    fn layer(&self, inner: S) -> Spanned<S> {
        Spanned(inner)
    }
}

type Outside<B> = fn(Response<B>) -> Response<SpannedBody<B>>;

impl<S, A, B> Service<Request<A>> for Spanned<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<SpannedBody<B>>;
    type Error = S::Error;
    // Only a request in a span pays for a box.
    type Future = Either<MapOk<S::Future, Outside<B>>, BoxFuture<'static, Result<Self::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let span = span_of(request.uri().path());
        if span.is_disabled() {
            let outside: Outside<B> = |answer| answer.map(|body| SpannedBody { body, span: Span::none() });
            return Either::Left(self.0.call(request).map_ok(outside));
        }
        let answer = span.in_scope(|| self.0.call(request)).instrument(span.clone());
        let answer = answer.map_ok(move |answer| answer.map(|body| SpannedBody { body, span }));
        Either::Right(answer.boxed())
    }
}

fn span_of(path: &str) -> Span {
    path.strip_prefix(PACKAGE).map_or_else(Span::none, |rpc| tracing::debug_span!("request", rpc))
}

impl<B: Body + Unpin> Body for SpannedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Self { body, span } = self.get_mut();
        let _within = span.enter();
        Pin::new(body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
