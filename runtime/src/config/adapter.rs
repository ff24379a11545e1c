//! How sizes and durations are written in settings: `"64MiB"`, `"5s"`. For serde's `deserialize_with`.
//!
//! A whole number is taken as bytes. A bare number is refused as a duration, since nobody can see its unit.

use std::fmt;
use std::time::Duration;

use forebay_types::ByteCount;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use thiserror::Error as ThisError;

/// Text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("`{0}` is no duration: write a number with its unit, such as 500ms, 5s or 2m")]
pub struct DurationError(String);

/// Reads `500ms`, `5s`, `2m`, `1h 30m`, as flags and files have it.
///
/// # Errors
/// [`DurationError`] for anything else, a bare number included.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    // humantime takes a bare zero, and would leave its unit open.
    let duration =
        humantime::parse_duration(text).ok().filter(|_| text.bytes().any(|byte| !byte.is_ascii_digit()));
    duration.ok_or_else(|| DurationError(text.to_owned()))
}

/// Reads `"64MiB"` or a number of bytes.
///
/// # Errors
/// The deserializer's, with what a size looks like.
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteCount, D::Error> {
    deserializer.deserialize_any(SizeVisitor)
}

/// Reads a size for an `Option`; use together with `default`.
///
/// # Errors
/// As [`size`].
pub fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteCount>, D::Error> {
    size(deserializer).map(Some)
}

/// Reads `"500ms"`, `"5s"`, `"2m"`, `"1h 30m"`.
///
/// # Errors
/// The deserializer's, with what a duration looks like.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(DurationVisitor)
}

/// Reads a duration for an `Option`; use together with `default`.
///
/// # Errors
/// As [`duration`].
pub fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

struct SizeVisitor;
struct DurationVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = ByteCount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64MiB\" or a number of bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByteCount, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteCount, E> {
        Ok(ByteCount::new(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<ByteCount, E> {
        let refuse = |_| E::invalid_value(Unexpected::Signed(bytes), &self);
        u64::try_from(bytes).map(ByteCount::new).map_err(refuse)
    }
}

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"500ms\", \"5s\" or \"2m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse_duration(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_only() {
        for (text, millis) in [("500ms", 500), ("5s", 5_000), ("2m", 120_000), ("1m 30s", 90_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0", "5", "s", "-5s", "5 parsecs", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), Err(DurationError(text.to_owned())), "{text}");
        }
    }
}
