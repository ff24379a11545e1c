//! Does to a bucket what a workload decides, and has the moments of it noted.

use super::checker::State;
use super::contents::numbered;
use super::names::{Key, Names};
use super::requests::Requests;
use super::witness::Witness;
use super::workload::Operation;
use crate::s3_client::S3Client;

/// The only one who changes a bucket.
#[derive(Debug)]
pub struct Writer<'a> {
    bucket: &'a str,
    names: &'a Names,
    client: S3Client,
    requests: Requests,
    witness: &'a Witness,
}

impl<'a> Writer<'a> {
    /// That of a bucket at an endpoint, whose changes a witness notes.
    #[must_use]
    pub fn new(endpoint: &str, bucket: &'a str, names: &'a Names, witness: &'a Witness) -> Self {
        let (client, requests) = (S3Client::new(endpoint), Requests::new(endpoint, bucket));
        Self { bucket, names, client, requests, witness }
    }

    /// Does one operation.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn perform(&mut self, operation: Operation) {
        let (names, bucket, witness) = (self.names, self.bucket, self.witness);
        match operation {
            Operation::Put { key, number, length } => {
                let content = numbered(number, length);
                let state = State::Version { number, length: length as u64 };
                witness.change(key, state, || self.client.put(bucket, names.text(key), &content));
            }
            Operation::Delete(key) => self.delete(key),
            Operation::Rename { from, to } => {
                let state = witness.last_state(from);
                witness.change(to, state, || self.requests.copy(names.text(from), names.text(to)));
                self.delete(from);
            }
        }
    }

    fn delete(&mut self, key: Key) {
        let (bucket, name) = (self.bucket, self.names.text(key));
        self.witness.change(key, State::Absent, || self.client.delete(bucket, name));
    }
}
