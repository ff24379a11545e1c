//! What a connection to an under-store is made from: what the master told, with the values that references have on this
//! machine.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use forebay_proto::OptionSource;
use forebay_types::{ErrorKind, UnderStoreUri};
use forebay_under_store::{UnderStore, connect};

use super::Broken;
use crate::limits::REFERENCE_FILE_MAX;

/// What the master said of a mount, and the process's environment.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) uri: String,
    pub(super) options: BTreeMap<String, OptionSource>,
    pub(super) environment: Arc<BTreeMap<String, String>>,
}

/// The options with their values. Some are secrets, so this is never shown.
pub(super) type Values = BTreeMap<String, String>;

impl Origin {
    /// Whether a value may change while the process runs.
    pub(super) fn has_references(&self) -> bool {
        self.options.values().any(|source| matches!(source, OptionSource::Reference(_)))
    }

    /// The values as they are now. Reads the files that references name, so it blocks.
    pub(super) fn values(&self) -> Result<Values, Broken> {
        self.options.iter().map(|(name, source)| Ok((name.clone(), self.value(name, source)?))).collect()
    }

    /// An under-store for these values. Needs a runtime.
    pub(super) fn connect(&self, values: &Values) -> Result<Arc<dyn UnderStore>, Broken> {
        let uri: UnderStoreUri =
            self.uri.parse().map_err(|error| Broken::new(ErrorKind::InvalidArgument, &error))?;
        connect(&uri, values, &self.environment).map_err(|error| Broken::new(error.kind(), &error))
    }

    fn value(&self, name: &str, source: &OptionSource) -> Result<String, Broken> {
        let reference = match source {
            OptionSource::Plain(value) | OptionSource::Secret(value) => return Ok(value.clone()),
            OptionSource::Reference(reference) => reference,
        };
        let broken = |problem: &dyn fmt::Display| {
            Broken::new(ErrorKind::InvalidArgument, &format_args!("option `{name}`: {problem}"))
        };
        match reference.split_once(':') {
            Some(("env", variable)) => self.environment.get(variable).cloned().ok_or_else(|| {
                broken(&format_args!(
                    "the worker has no environment variable `{variable}`; set it and restart"
                ))
            }),
            Some(("file", path)) => {
                let mut text = String::new();
                let read = File::open(path)
                    .and_then(|file| file.take(REFERENCE_FILE_MAX + 1).read_to_string(&mut text));
                match read {
                    Ok(length) if length as u64 > REFERENCE_FILE_MAX => {
                        Err(broken(&format_args!("{path} is longer than {REFERENCE_FILE_MAX} bytes")))
                    }
                    // Editors and `echo` leave a line break at the end, which is no part of a secret.
                    Ok(_) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                    Err(error) => Err(broken(&format_args!("{path} cannot be read on the worker: {error}"))),
                }
            }
            _ => Err(broken(&format_args!("`{reference}` is no reference; write env:NAME or file:PATH"))),
        }
    }
}
