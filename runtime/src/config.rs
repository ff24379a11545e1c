//! Settings: a TOML file, then the environment, then flags, each stronger than the one before, joined in one place.
//!
//! What can be set is read off the caller's own type (serde, `deny_unknown_fields`), so a key and its
//! `FOREBAY_SECTION_KEY` variable cannot drift apart. Each layer is checked alone: an error names where it came from.

pub mod adapter;
mod environment;
mod key;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use forebay_types::ErrorKind;
use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::{Table, Value};

pub use key::{Key, KeyKind, keys};

use crate::limits::CONFIG_LENGTH_MAX;

/// Why the settings are not usable. Each message says which file and line, variable or flag to mend.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("config file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("config file {} is larger than {CONFIG_LENGTH_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no TOML, or has an unknown key or a wrong value.
    #[error("config file {}, line {line}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A variable has a value that its key does not take.
    #[error("environment variable {variable}: {reason}")]
    Variable {
        /// The variable.
        variable: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// A variable begins with FOREBAY_ and is no setting.
    #[error(
        "environment variable {variable} is no setting of Forebay{}; unset it or correct its name",
        meant(nearest)
    )]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// A setting with almost this name.
        nearest: Option<String>,
    },
    /// Flags have values that their keys do not take.
    #[error("command line: {reason}")]
    Flags {
        /// What is wrong with them.
        reason: String,
    },
}

impl ConfigError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreadable { .. } => ErrorKind::Io,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// Joins the layers and reads them as a `T`.
///
/// `T` is a struct of sections (structs) and keys with `deny_unknown_fields`, whose `Default` is the empty document;
/// each layer is read alone as a `T` to check it. `environment` is the whole environment: variables that do not begin
/// with `FOREBAY_` are passed over, those listed in `known` are of use elsewhere, all others must be keys. `flags` has
/// the shape of a file.
///
/// # Errors
/// [`ConfigError`], with the place to mend.
pub fn resolve<T: DeserializeOwned>(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: Table,
    known: &[&str],
) -> Result<T, ConfigError> {
    let mut table = file.map(load::<T>).transpose()?.unwrap_or_default();
    merge(&mut table, environment::overlay::<T>(environment, known)?);
    let refuse = |error: toml::de::Error| ConfigError::Flags { reason: error.message().to_owned() };
    Table::try_into::<T>(flags.clone()).map_err(refuse)?;
    merge(&mut table, flags);
    table.try_into().map_err(refuse)
}

/// Reads one file and checks that it is a `T`.
fn load<T: DeserializeOwned>(path: &Path) -> Result<Table, ConfigError> {
    let text = read(path)?;
    let refuse = |error: toml::de::Error| {
        let begin = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..begin].iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::File { path: path.to_owned(), line, reason: error.message().to_owned() }
    };
    toml::from_str::<T>(&text).map_err(refuse)?;
    toml::from_str(&text).map_err(refuse)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(CONFIG_LENGTH_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > CONFIG_LENGTH_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

/// Puts `stronger` over `base`. Sections are joined; anything else, lists included, is replaced as a whole.
fn merge(base: &mut Table, stronger: Table) {
    for (name, value) in stronger {
        match (base.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
