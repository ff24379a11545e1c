//! What a server's refusal means: its status, code and message turned into an error with the way out.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::retry::Failure;
use crate::error::UnderStoreError;
use crate::limits::MESSAGE_LENGTH_MAX;

/// An answer that is neither success nor a passing trouble.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The server's code; empty when it gave none, as with every HEAD.
    pub(super) code: String,
    pub(super) message: String,
    /// The region that the server says the bucket is in.
    region: Option<String>,
    retry_after: Option<Duration>,
}

/// The body of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorBody {
    code: String,
    message: String,
    region: Option<String>,
}

impl Refusal {
    /// Reads the answer; a body that is no XML is no error, since proxies between answer as they like.
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let parsed: ErrorBody = quick_xml::de::from_str(&text).unwrap_or_default();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            status,
            code: printable(&parsed.code),
            message: printable(&parsed.message),
            region: header("x-amz-bucket-region").or(parsed.region).map(|region| printable(&region)),
            retry_after: header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs),
        }
    }

    /// Whether there is no object of this key or version. A missing bucket is something else.
    pub(super) fn is_missing_object(&self) -> bool {
        match self.code.as_str() {
            "NoSuchKey" | "NoSuchVersion" => true,
            "NoSuchBucket" => false,
            // A HEAD has no body; 405 is the answer for a version that is a delete marker.
            "" => matches!(self.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED),
            "MethodNotAllowed" => true,
            _ => false,
        }
    }

    /// Whether asking again may help.
    pub(super) fn is_passing(&self) -> bool {
        let status = matches!(self.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504);
        status
            || matches!(
                self.code.as_str(),
                "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable"
            )
    }

    /// The failure that this refusal of a request for `object` means.
    pub(super) fn into_failure(self, object: &str, region: &str, attempts: u32) -> Failure {
        if self.is_passing() {
            let retry_after = self.retry_after;
            let error = UnderStoreError::ServerTrouble {
                object: object.to_owned(),
                status: self.status.as_u16(),
                code: self.code,
                message: self.message,
                attempts,
            };
            return Failure::Passing { retry_after, error };
        }
        Failure::Lasting(self.into_error(object, region))
    }

    fn into_error(self, object: &str, region: &str) -> UnderStoreError {
        let object = object.to_owned();
        let reason = self.reason();
        match (self.code.as_str(), self.status.as_u16()) {
            ("NoSuchBucket", _) => UnderStoreError::NoBucket { object, reason },
            ("NoSuchKey" | "NoSuchVersion", _) | ("", 404) => UnderStoreError::NotFound { object },
            (
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException"
                | "TemporaryRedirect",
                _,
            )
            | (_, 301 | 307) => UnderStoreError::WrongRegion {
                object,
                region: region.to_owned(),
                actual: self.region,
                reason,
            },
            ("InvalidObjectState", status) => UnderStoreError::Refused {
                object,
                status,
                code: self.code,
                message: self.message,
                way_out: "the object is archived: restore it first",
            },
            // Amazon tells of tokens that are over by the status 400.
            (code @ ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"), _) | (code, 401 | 403) => {
                UnderStoreError::Denied { object, reason, way_out: way_out_of_denial(code) }
            }
            (_, status) => UnderStoreError::Refused {
                object,
                status,
                code: self.code,
                message: self.message,
                way_out: "check the bucket, the endpoint and the options of the mount",
            },
        }
    }

    fn reason(&self) -> String {
        let mut reason = format!("the server answered {}", self.status.as_u16());
        for part in [&self.code, &self.message].into_iter().filter(|part| !part.is_empty()) {
            reason.push(' ');
            reason.push_str(part.trim_end_matches('.'));
        }
        reason
    }
}

fn way_out_of_denial(code: &str) -> &'static str {
    match code {
        "InvalidAccessKeyId" => "the server does not know this access_key_id: correct it",
        "SignatureDoesNotMatch" => "the secret_access_key does not belong to the access_key_id: correct it",
        "ExpiredToken" | "TokenRefreshRequired" => "the session_token is over: give a new one",
        "InvalidToken" => "the session_token does not belong to the access_key_id: correct it",
        "RequestTimeTooSkewed" => "this machine's clock is wrong: set it",
        _ => "let these credentials list the bucket and read its objects, or give others",
    }
}

/// A server's words as they may stand in a log line.
fn printable(text: &str) -> String {
    let mut kept: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if let Some((end, _)) = kept.char_indices().find(|(at, _)| *at >= MESSAGE_LENGTH_MAX) {
        kept.truncate(end);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal::new(StatusCode::from_u16(status).expect("legal"), &HeaderMap::new(), body.as_bytes())
    }

    fn error(status: u16, code: &str) -> UnderStoreError {
        let body =
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>why.</Message></Error>");
        match refusal(status, &body).into_failure("s3://b/k", "r", 1) {
            Failure::Lasting(error) | Failure::Passing { error, .. } => error,
        }
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let cases = [
            (403, "SignatureDoesNotMatch", "secret_access_key"),
            (403, "InvalidAccessKeyId", "access_key_id"),
            (403, "RequestTimeTooSkewed", "clock"),
            (403, "AccessDenied", "let these credentials"),
            (404, "NoSuchBucket", "create the bucket"),
            (301, "PermanentRedirect", "set the option region"),
            (403, "InvalidObjectState", "restore"),
            (400, "InvalidArgument", "check the bucket"),
            (400, "ExpiredToken", "give a new one"),
        ];
        for (status, code, hint) in cases {
            let text = error(status, code).to_string();
            assert!(text.contains(hint) && text.contains("s3://b/k"), "{code}: {text}");
        }
    }

    #[test]
    fn a_body_that_is_no_xml_is_only_a_status() {
        let refused = refusal(502, "<html>bad gateway");
        assert!(refused.is_passing() && refused.code.is_empty());
        assert!(!refusal(404, "<Error><Code>NoSuchBucket</Code></Error>").is_missing_object());
        assert!(refusal(404, "").is_missing_object());
    }

    #[test]
    fn a_message_can_neither_break_a_log_line_nor_fill_it() {
        let body = format!("<Error><Code>X</Code><Message>a\nb{}</Message></Error>", "\u{e9}".repeat(5000));
        let refused = refusal(400, &body);
        assert!(refused.message.starts_with("a b") && refused.message.len() <= MESSAGE_LENGTH_MAX + 4);
    }
}
