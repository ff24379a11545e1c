//! Logging: one subscriber that writes each event to stderr, as text for people or as JSON for machines.
//!
//! The filter is a level (`info`) or a list such as `info,forebay_worker=debug`. stdout stays free for answers.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use forebay_types::ErrorKind;
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line, the event's fields at its top.
    Json,
}

/// Why logging did not start.
#[derive(Debug, Error)]
pub enum LogError {
    /// The format has another name.
    #[error("log format `{0}` is not known: write text or json")]
    Format(String),
    /// The filter is not understood.
    #[error(
        "log level `{filter}` is not understood: {reason}; write error, warn, info, debug or trace, or a filter such as warn,forebay_worker=debug"
    )]
    Filter {
        /// What was asked for.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging was started before, by this process's own mistake.
    #[error("logging was started twice")]
    Twice,
}

impl LogError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Format(_) | Self::Filter { .. } => ErrorKind::InvalidArgument,
            Self::Twice => ErrorKind::Internal,
        }
    }
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(LogError::Format(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Sends the events of the whole process to stderr.
///
/// # Errors
/// [`LogError::Filter`] if `filter` is not understood, [`LogError::Twice`] on a second call.
pub fn init_logging(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let subscriber = subscriber(format, filter, io::stderr().is_terminal(), io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colour: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // An empty filter would mean "errors only", which nobody asks for by leaving a value out.
    let refuse = |reason: String| LogError::Filter { filter: filter.to_owned(), reason };
    if filter.trim().is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    // The library takes any other word alone for the name of a target, so that a slip would silence everything.
    let is_slip =
        |word: &&str| !word.contains(['=', '[', ']', '{', '}']) && word.parse::<LevelFilter>().is_err();
    if let Some(slip) = filter.split(',').map(str::trim).filter(|word| !word.is_empty()).find(is_slip) {
        return Err(refuse(format!("`{slip}` is no level")));
    }
    let directives = EnvFilter::builder().parse(filter).map_err(|error| refuse(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(directives).with_writer(writer);
    Ok(match format {
        LogFormat::Text => Box::new(builder.with_ansi(colour).finish()),
        LogFormat::Json => Box::new(builder.with_ansi(false).json().flatten_event(true).finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).expect("a legal filter");
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(worker = 7, "registered");
            tracing::debug!("not asked for");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn text_and_json_show_the_fields_of_what_the_filter_lets_through() {
        let text = logged(LogFormat::Text, "info");
        assert!(
            text.contains("registered") && text.contains("worker=7") && !text.contains("asked"),
            "{text}"
        );
        let json: serde_json::Value =
            serde_json::from_str(&logged(LogFormat::Json, "info")).expect("one JSON line");
        assert_eq!((&json["message"], &json["worker"]), (&"registered".into(), &7.into()));
        assert_eq!(logged(LogFormat::Json, "warn"), "");
    }

    #[test]
    fn levels_and_targets_with_levels_are_filters() {
        for filter in
            ["off", "WARN", "info,openraft=warn", "warn,forebay_worker=debug", "info,[read{ino=7}]=trace"]
        {
            let taken = subscriber(LogFormat::Text, filter, false, io::sink);
            assert!(taken.is_ok(), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_or_format_is_refused() {
        for filter in ["", "info,=", "forebay_worker=loud", "bogus", "info,forebay_worker", "warn, inof"] {
            let error = subscriber(LogFormat::Text, filter, false, io::sink).err().expect(filter);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        assert!("xml".parse::<LogFormat>().is_err());
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse::<LogFormat>().expect("its own name"), format);
        }
    }
}
