//! The fields of S3's answers as our types: tags without quotes, times in whole seconds, escapes undone and made.
//!
//! Servers give the time of a listing in milliseconds and that of an answer in seconds; both are cut to seconds here,
//! so that a file has one time. A version id of `null` names whatever was written last, so it is none.

use std::time::UNIX_EPOCH;

use forebay_types::{ByteCount, Fingerprint, Timestamp};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::limits::TAG_LENGTH_MAX;

/// All but the letters that a signature leaves as they are.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ESCAPED_IN_PATH: AsciiSet = ESCAPED.remove(b'/');

/// Bytes of a key as they stand in a URL's path.
pub(super) fn escaped_path(key: &[u8]) -> String {
    percent_encode(key, &ESCAPED_IN_PATH).to_string()
}

/// Bytes as they stand in a URL's query.
pub(super) fn escaped(bytes: &[u8]) -> String {
    percent_encode(bytes, &ESCAPED).to_string()
}

/// A key or prefix of a listing that was asked for with `encoding-type=url`: a space may be `+` or `%20`, a plus is
/// always `%2B`.
pub(super) fn unescaped(text: &str) -> Vec<u8> {
    percent_decode(text.replace('+', " ").as_bytes()).collect()
}

/// A range of a content and the content's length: `bytes 0-9/100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// First byte.
    pub(super) start: u64,
    /// The byte after the last.
    pub(super) end: u64,
    /// Length of the whole content.
    pub(super) whole: u64,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, whole) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (start, end) = (first.trim().parse().ok()?, last.trim().parse::<u64>().ok()?.checked_add(1)?);
        Some(Self { start, end, whole: whole.trim().parse().ok()? })
    }

    /// What a partial answer says of itself.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }
}

/// The length that an answer announces for its body.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The fingerprint that an answer gives of a content of `length` bytes.
///
/// # Errors
/// Text, when a field is missing or no sense can be made of it.
pub(super) fn fingerprint(headers: &HeaderMap, length: u64) -> Result<Fingerprint, String> {
    let text = |name: HeaderName| -> Result<Option<&str>, String> {
        let value = headers.get(&name).map(|value| value.to_str());
        value.transpose().map_err(|_| format!("its {name} is no text"))
    };
    let tag = text(ETAG)?.ok_or("it has no ETag, so that versions cannot be told apart")?;
    let version = text(HeaderName::from_static("x-amz-version-id"))?.filter(|id| !matches!(*id, "" | "null"));
    let modified = text(LAST_MODIFIED)?.and_then(|text| httpdate::parse_http_date(text).ok());
    Ok(Fingerprint {
        tag: Some(checked_tag(tag)?),
        version_id: version.map(checked_length).transpose()?.map(str::to_owned),
        length: ByteCount::new(length),
        modified: modified.map(whole_seconds).unwrap_or_default(),
        local: None,
    })
}

/// The fingerprint that a listing gives.
///
/// # Errors
/// As [`fingerprint`].
pub(super) fn listed_fingerprint(tag: &str, length: u64, modified: &str) -> Result<Fingerprint, String> {
    let modified =
        humantime::parse_rfc3339_weak(modified).map_err(|_| "it has a LastModified that is no time")?;
    Ok(Fingerprint {
        tag: Some(checked_tag(tag)?),
        version_id: None,
        length: ByteCount::new(length),
        modified: whole_seconds(modified),
        local: None,
    })
}

fn checked_tag(tag: &str) -> Result<String, String> {
    let bare = Fingerprint::unquoted(checked_length(tag)?);
    if bare.is_empty() {
        Err("it has an empty ETag, so that versions cannot be told apart".to_owned())
    } else {
        Ok(bare)
    }
}

fn checked_length(text: &str) -> Result<&str, String> {
    if text.len() > TAG_LENGTH_MAX {
        return Err(format!(
            "it has an ETag or version id of {} bytes, more than {TAG_LENGTH_MAX}",
            text.len()
        ));
    }
    Ok(text)
}

fn whole_seconds(time: std::time::SystemTime) -> Timestamp {
    let seconds = time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or(0);
    Timestamp::from_parts(i64::try_from(seconds).unwrap_or(i64::MAX), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_listing_and_an_answer_give_one_fingerprint() {
        let answer = headers(&[("etag", "\"abc\""), ("last-modified", "Tue, 02 Jan 2024 03:04:05 GMT")]);
        let listed = listed_fingerprint("abc", 7, "2024-01-02T03:04:05.678Z");
        assert_eq!(fingerprint(&answer, 7), listed);
        assert_eq!(listed.expect("legal").modified, Timestamp::from_parts(1_704_164_645, 0));
    }

    #[test]
    fn the_version_id_null_is_none() {
        let null = headers(&[("etag", "\"a\""), ("x-amz-version-id", "null")]);
        let real = headers(&[("etag", "\"a\""), ("x-amz-version-id", "v1")]);
        assert_eq!(fingerprint(&null, 1).expect("legal").version_id, None);
        assert_eq!(fingerprint(&real, 1).expect("legal").version_id.as_deref(), Some("v1"));
    }

    #[test]
    fn an_answer_without_a_tag_is_not_understood() {
        assert!(fingerprint(&headers(&[]), 1).is_err());
        assert!(fingerprint(&headers(&[("etag", "\"\"")]), 1).is_err());
        assert!(listed_fingerprint("\"a\"", 1, "yesterday").is_err());
    }

    #[test]
    fn ranges_are_read_as_servers_write_them() {
        let range = ContentRange { start: 0, end: 10, whole: 100 };
        assert_eq!(ContentRange::parse("bytes 0-9/100"), Some(range));
        for text in ["", "bytes */100", "bytes 0-9/*", "0-9/100x", "bytes 5-18446744073709551615/9"] {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn escapes_are_undone_in_both_spellings_of_a_space() {
        assert_eq!(unescaped("a+b%20c%2Bd%25%FF"), b"a b c+d%\xff");
        assert_eq!(escaped_path(b"a/b c+%\xc3\xa9~"), "a/b%20c%2B%25%C3%A9~");
        assert_eq!(escaped(b"a/b"), "a%2Fb");
    }
}
