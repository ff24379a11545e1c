//! What a connection to an under-store is made from: what the master told, with the values that references have on this
//! machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_proto::OptionSource;
use forebay_types::{ErrorKind, UnderStoreUri};
use forebay_under_store::{UnderStore, connect, follow_reference, resolve_options};

use super::Broken;

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

    /// The server that these values name, where they do.
    pub(super) fn server(&self, values: &Values) -> Option<String> {
        let uri: UnderStoreUri = self.uri.parse().ok()?;
        let resolved = resolve_options(uri.scheme(), values, &self.environment).ok()?;
        resolved.get("endpoint").map(|endpoint| endpoint.trim_end_matches('/').to_owned())
    }

    fn value(&self, name: &str, source: &OptionSource) -> Result<String, Broken> {
        let reference = match source {
            OptionSource::Plain(value) | OptionSource::Secret(value) => return Ok(value.clone()),
            OptionSource::Reference(reference) => reference,
        };
        follow_reference(reference, &self.environment).map_err(|error| {
            let problem = format_args!("the option `{name}` refers to `{reference}`, which {error}");
            Broken::new(ErrorKind::InvalidArgument, &problem)
        })
    }
}
