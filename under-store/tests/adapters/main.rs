//! Every adapter against the conformance suite on something real, and the S3 adapter against a server that fails.

mod fault_server;
mod file_conformance;
mod planted_faults;
mod rclone;
mod s3_conformance;
mod s3_faults;
mod s3_listing_faults;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_under_store::{UnderStore, UnderStoreError, connect};

/// An under-store, with nothing taken from this process's environment.
fn open(uri: &str, options: &[(&str, &str)]) -> Result<Arc<dyn UnderStore>, UnderStoreError> {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    connect(&uri.parse().expect("a legal URI"), &options, &BTreeMap::new())
}
