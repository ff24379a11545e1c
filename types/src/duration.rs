//! How durations are written, `500ms`, `5s` or `1h 30m`, and how long one may be. Flags, files, variables and options of
//! a mount are all read here.
//!
//! A zero needs no unit, any other bare number is refused, since nobody can see what it counts.

use std::time::Duration;

use thiserror::Error;

/// The longest duration that can be set, in years: more than anybody waits for, and nothing that is reckoned with it
/// overflows.
pub const DURATION_YEARS_MAX: u64 = 100;
/// The same as a duration, in years of 365.25 days, which is what the unit `years` means.
pub const DURATION_MAX: Duration = Duration::from_secs(DURATION_YEARS_MAX * 31_557_600);

/// Text that is no duration, or not one that can be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// There is no number, or no unit that is known.
    #[error("`{0}` is no duration: write a number with its unit, such as 500ms, 5s or 2m")]
    NoDuration(String),
    /// It is longer than [`DURATION_MAX`].
    #[error(
        "`{0}` is too long: no duration may be longer than {DURATION_YEARS_MAX} years; write a shorter one"
    )]
    TooLong(String),
    /// It is zero where something must be waited for.
    #[error("`{0}` is no time at all: write a duration longer than zero, such as 500ms, 5s or 2m")]
    Zero(String),
}

/// Reads `500ms`, `5s`, `2m`, `1h 30m`, and `0` with or without a unit.
///
/// # Errors
/// [`DurationError`] for anything else, and beyond [`DURATION_MAX`].
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let too_long = || DurationError::TooLong(text.to_owned());
    let duration = humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => too_long(),
        _ => DurationError::NoDuration(text.to_owned()),
    })?;
    if duration > DURATION_MAX { Err(too_long()) } else { Ok(duration) }
}

/// As [`parse_duration`], of what is waited for: zero is refused.
///
/// # Errors
/// [`DurationError`] with what to write.
pub fn parse_positive_duration(text: &str) -> Result<Duration, DurationError> {
    match parse_duration(text)? {
        Duration::ZERO => Err(DurationError::Zero(text.to_owned())),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_and_zero_also_without() {
        let years = DURATION_MAX.as_millis();
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1m 30s", 90_000),
            ("0", 0),
            ("0s", 0),
            ("100years", years),
        ] {
            assert_eq!(parse_duration(text).map(|read| read.as_millis()), Ok(millis), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 parsecs", "soon"] {
            assert_eq!(parse_duration(text), Err(DurationError::NoDuration(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_with_the_maximum() {
        for text in
            ["101years", "100years 1ns", "500000000000000m", "500000000000000000m", "99999999999999999999s"]
        {
            let error = parse_duration(text).expect_err(text);
            assert_eq!(error, DurationError::TooLong(text.to_owned()));
            assert!(error.to_string().contains("100 years"), "{error}");
        }
    }

    #[test]
    fn zero_is_refused_in_both_spellings_where_something_is_waited_for() {
        for text in ["0", "0s", "0ms 0s"] {
            assert_eq!(parse_positive_duration(text), Err(DurationError::Zero(text.to_owned())));
        }
        assert_eq!(parse_positive_duration("1ns"), Ok(Duration::from_nanos(1)));
    }
}
