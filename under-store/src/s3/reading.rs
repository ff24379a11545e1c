//! A range of one version of an object: asked for conditionally, checked by what the answer says, counted to its end.
//!
//! If-Match is sent and not trusted, since some servers ignore it: the answer's own tag, its range and the length of
//! its body decide.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use forebay_types::{ByteCount, Fingerprint};
use futures::stream::{self, BoxStream, StreamExt};
use http::HeaderMap;
use http::header::{HeaderValue, IF_MATCH, RANGE};
use object_store::client::HttpError;
use tokio::sync::OwnedSemaphorePermit;

use super::fields::{self, ContentRange};
use super::transport::{Answer, innermost};
use crate::error::UnderStoreError;
use crate::port::ReadStream;
use crate::statistics::UnderStoreStatistics;

/// The headers that ask for `range` of `expected` and nothing else.
pub(super) fn conditions(range: &Range<u64>, expected: &Fingerprint) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let last = range.end.saturating_sub(1);
    let value = HeaderValue::from_str(&format!("bytes={}-{last}", range.start)).expect("digits are legal");
    headers.insert(RANGE, value);
    // A weak tag never matches by HTTP's rules, so it is only compared with the answer's.
    let strong = expected.tag.as_deref().filter(|tag| !tag.starts_with("W/"));
    if let Some(value) = strong.and_then(|tag| HeaderValue::from_str(&format!("\"{tag}\"")).ok()) {
        headers.insert(IF_MATCH, value);
    }
    headers
}

/// The stream of a successful answer, when it is for `range` of `expected`; and what the answer says of the version.
pub(super) fn checked_stream(
    object: &str,
    range: &Range<u64>,
    expected: &Fingerprint,
    answer: Answer,
    statistics: &Arc<UnderStoreStatistics>,
) -> Result<(ReadStream, Fingerprint), UnderStoreError> {
    let malformed = |problem: String| UnderStoreError::Malformed { object: object.to_owned(), problem };
    let announced = fields::announced_length(&answer.headers);
    let given = match ContentRange::of(&answer.headers) {
        // Also under the status 200, with which rclone sends parts.
        Some(given) => given,
        None if answer.is_partial => {
            return Err(malformed("a part came without a Content-Range that can be read".to_owned()));
        }
        // The whole content, which is right when it was what was asked for. Without an announced length the count of
        // its bytes decides.
        None => {
            let whole = announced.unwrap_or(expected.length.get());
            ContentRange { start: 0, end: whole, whole }
        }
    };
    let found = fields::fingerprint(&answer.headers, given.whole).map_err(malformed)?;
    if !found.is_same_content(expected) {
        return Err(UnderStoreError::changed(object, expected, Some(found)));
    }
    let length = range.end - range.start;
    if given.start != range.start
        || given.end != range.end
        || announced.is_some_and(|announced| announced != length)
    {
        return Err(malformed(format!(
            "bytes {}-{} were asked for, bytes {}-{} came",
            range.start, range.end, given.start, given.end
        )));
    }
    let counted = CountedBody {
        object: object.to_owned(),
        expected: length,
        received: 0,
        body: answer.body.bytes_stream(),
        statistics: Arc::clone(statistics),
        _permit: answer.permit,
    };
    Ok((stream::try_unfold(counted, CountedBody::step).boxed(), found))
}

/// A body that must be of one length.
struct CountedBody {
    object: String,
    expected: u64,
    received: u64,
    body: BoxStream<'static, Result<Bytes, HttpError>>,
    statistics: Arc<UnderStoreStatistics>,
    /// The place among the requests at once, kept until the body is done with.
    _permit: OwnedSemaphorePermit,
}

impl CountedBody {
    async fn step(mut self) -> Result<Option<(Bytes, Self)>, UnderStoreError> {
        match self.body.next().await {
            Some(Ok(chunk)) => {
                self.received += chunk.len() as u64;
                self.statistics.count_read_bytes(chunk.len());
                if self.received > self.expected {
                    self.statistics.count_error();
                    let expected = ByteCount::new(self.expected);
                    return Err(UnderStoreError::TooLong { object: self.object, expected });
                }
                Ok(Some((chunk, self)))
            }
            // What came is all that was asked for, whatever happened to the connection then.
            _ if self.received == self.expected => Ok(None),
            None => Err(self.cut_short("the body ended".to_owned())),
            Some(Err(problem)) => {
                let reason = innermost(&problem);
                Err(self.cut_short(reason))
            }
        }
    }

    fn cut_short(self, reason: String) -> UnderStoreError {
        self.statistics.count_error();
        let (expected, received) = (ByteCount::new(self.expected), ByteCount::new(self.received));
        UnderStoreError::CutShort { object: self.object, expected, received, reason }
    }
}
