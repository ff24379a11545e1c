//! From a URI and its options to the adapter that serves it.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_types::{UnderStoreScheme, UnderStoreUri};

use crate::error::UnderStoreError;
use crate::options::resolve_options;
use crate::port::UnderStore;

/// Whether files and directories of the under-store at `uri` have an owner and a mode, which
/// [`ObjectStatus`](crate::ObjectStatus) then tells. Known without asking it.
#[must_use]
pub const fn has_owners(uri: &UnderStoreUri) -> bool {
    match uri.scheme() {
        UnderStoreScheme::File => true,
        UnderStoreScheme::S3 => false,
    }
}

/// The under-store at `uri`. Nothing is asked of it yet; [`UnderStore::check`] does.
///
/// `options` are a mount's, with references such as `env:NAME` already replaced; `environment` fills what they leave
/// open. Must be called within a tokio runtime for `s3`.
///
/// # Errors
/// `UnknownOption`, `BadOption`, or `NotBuilt` for a scheme whose feature is off.
pub fn connect(
    uri: &UnderStoreUri,
    options: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
) -> Result<Arc<dyn UnderStore>, UnderStoreError> {
    let resolved = resolve_options(uri.scheme(), options, environment)?;
    match uri.scheme() {
        #[cfg(feature = "file")]
        UnderStoreScheme::File => Ok(Arc::new(crate::file::FileUnderStore::new(uri, &resolved)?)),
        #[cfg(feature = "s3")]
        UnderStoreScheme::S3 => Ok(Arc::new(crate::s3::S3UnderStore::new(uri, &resolved)?)),
        #[cfg(not(all(feature = "file", feature = "s3")))]
        scheme => {
            drop(resolved);
            Err(UnderStoreError::NotBuilt { scheme })
        }
    }
}
