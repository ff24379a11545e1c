//! How sizes and durations are written in settings: `"64MiB"`, `"5s"`. For serde's `deserialize_with`.
//!
//! A whole number is taken as bytes. What a duration is, the crate of types knows.

use std::fmt;
use std::time::Duration;

use forebay_types::{ByteCount, parse_duration, parse_positive_duration};
use serde::de::{Deserializer, Error, Unexpected, Visitor};

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
    deserializer.deserialize_any(DurationVisitor { may_be_zero: true })
}

/// Reads a duration for an `Option`; use together with `default`.
///
/// # Errors
/// As [`duration`].
pub fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// As [`optional_duration`], of what is waited for: zero is refused.
///
/// # Errors
/// As [`duration`].
pub fn optional_positive_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_any(DurationVisitor { may_be_zero: false }).map(Some)
}

struct SizeVisitor;
struct DurationVisitor {
    may_be_zero: bool,
}

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
        let parse = if self.may_be_zero { parse_duration } else { parse_positive_duration };
        parse(text).map_err(E::custom)
    }

    // A bare number of a file or a variable, so that its mistake is told as that of a flag.
    fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Duration, E> {
        self.visit_str(&number.to_string())
    }
}
