//! What the references in a mount's options lead to, read where nobody waits for it but who asked.
//!
//! Files are read on blocking threads. A reading that hangs keeps its thread until it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_under_store::{UnderStoreError, follow_reference, reads_a_file};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// Options by name.
pub(super) type Values = BTreeMap<String, String>;

/// Follows references.
#[derive(Debug)]
pub(super) struct References {
    /// What `env:NAME` refers to.
    environment: Arc<Values>,
    /// Readings under way.
    places: Arc<Semaphore>,
}

impl References {
    pub(super) fn new(environment: Values) -> Self {
        let places = Arc::new(Semaphore::new(limits::REFERENCE_READS_MAX));
        Self { environment: Arc::new(environment), places }
    }

    /// The values of `references`. Keeps `place` until the files are read, also when it is dropped before. Cancel safe.
    ///
    /// # Errors
    /// `BadOption`, which names the option and the reference, never what was read.
    pub(super) async fn follow(
        &self,
        references: &Values,
        place: OwnedSemaphorePermit,
    ) -> Result<Values, UnderStoreError> {
        if !references.values().any(|reference| reads_a_file(reference)) {
            return follow_all(references, &self.environment);
        }
        let all = Arc::clone(&self.places).acquire_owned().await.expect("never closed");
        let (references, environment) = (references.clone(), Arc::clone(&self.environment));
        let reading = tokio::task::spawn_blocking(move || {
            let _places = (all, place);
            follow_all(&references, &environment)
        });
        let stopping = |_| UnderStoreError::Stopping { object: "a file that an option refers to".to_owned() };
        reading.await.map_err(stopping)?
    }
}

fn follow_all(references: &Values, environment: &Values) -> Result<Values, UnderStoreError> {
    let follow = |(option, reference): (&String, &String)| {
        let value = follow_reference(reference, environment).map_err(|error| UnderStoreError::BadOption {
            name: option.clone(),
            problem: format!("refers to `{reference}`, which {error} (on the master)"),
        })?;
        Ok((option.clone(), value))
    };
    references.iter().map(follow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_leads_nowhere_is_named_with_its_option() {
        let dir = tempfile::tempdir().expect("a folder");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "from a file").expect("written");
        let references = References::new(Values::from([("NAME".to_owned(), "value".to_owned())]));
        let follow = async |reference: &str| {
            let place = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("open");
            let asked = Values::from([("o".to_owned(), reference.to_owned())]);
            references.follow(&asked, place).await.map(|mut values| values.remove("o").expect("asked for"))
        };
        assert_eq!(follow("env:NAME").await.expect("set"), "value");
        assert_eq!(follow(&format!("file:{}", secret.display())).await.expect("there"), "from a file");
        for wrong in ["env:OTHER", "file:/nowhere/at/all", "plain"] {
            let error = follow(wrong).await.expect_err("leads nowhere").to_string();
            assert!(error.contains(&format!("`{wrong}`")) && error.contains("`o`"), "{error}");
        }
    }
}
