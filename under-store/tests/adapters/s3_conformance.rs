//! The adapter for S3 passes the suite on a real server, and tells what is wrong with a mount.

use forebay_types::{EntryKind, ErrorKind, UnderStoreKey};
use forebay_under_store::conformance::{self, Abilities, RawWriter};
use forebay_under_store::{UnderStore, UnderStoreError};

use crate::open;
use crate::rclone::{KEY_ID, Rclone, SECRET_KEY};
use crate::writers::BucketWriter;

/// rclone keeps objects as files and overwrites them in place.
const ABILITIES: Abilities = Abilities {
    names_are_bytes: false,
    keys_are_flat: false,
    takes_dot_parts: false,
    takes_control_characters: false,
    replaces_atomically: false,
};

fn writer(server: &Rclone, below: &str) -> BucketWriter {
    BucketWriter::new(format!("{}/{below}", server.endpoint), KEY_ID, SECRET_KEY)
}

fn open_at(server: &Rclone, uri: &str, options: &[(&str, &str)]) -> std::sync::Arc<dyn UnderStore> {
    let mut all = vec![("endpoint", &server.endpoint[..]), ("access_key_id", KEY_ID)];
    all.push(("secret_access_key", SECRET_KEY));
    all.retain(|(name, _)| !options.iter().any(|(other, _)| other == name));
    all.extend_from_slice(options);
    open(uri, &all).expect("legal options")
}

#[tokio::test]
async fn a_bucket_of_a_real_server_conforms() {
    let server = Rclone::start(&["bucket"]);
    let store = open_at(&server, "s3://bucket", &[]);
    conformance::run(&*store, &writer(&server, "bucket"), ABILITIES).await.expect("conforms");
}

#[tokio::test]
async fn a_prefix_of_a_bucket_conforms_and_shows_nothing_beside_it() {
    let server = Rclone::start(&["bucket"]);
    writer(&server, "bucket").put(b"beside", "x".into()).await;
    writer(&server, "bucket").put(b"pre/fixed", "x".into()).await;
    let store = open_at(&server, "s3://bucket/pre/fix", &[]);
    conformance::run(&*store, &writer(&server, "bucket/pre/fix"), ABILITIES).await.expect("conforms");
}

#[tokio::test]
async fn the_root_of_a_bucket_lists_its_first_level() {
    let server = Rclone::start(&["bucket"]);
    let writer = writer(&server, "bucket");
    writer.put(b"top", "x".into()).await;
    writer.put(b"folder/below", "x".into()).await;
    let page =
        open_at(&server, "s3://bucket", &[]).list(&UnderStoreKey::default(), None).await.expect("listed");
    let found: Vec<_> =
        page.entries.iter().map(|entry| (entry.name.to_string(), entry.status.kind)).collect();
    assert_eq!(found, [("top".to_owned(), EntryKind::File), ("folder".to_owned(), EntryKind::Directory)]);
}

#[tokio::test]
async fn what_keeps_a_bucket_from_being_mounted_is_told_with_the_way_out() {
    let server = Rclone::start(&["bucket"]);
    let check = async |uri: &str, options: &[(&str, &str)]| -> UnderStoreError {
        open_at(&server, uri, options).check().await.unwrap_err()
    };
    let missing = check("s3://other", &[]).await;
    assert!(matches!(missing, UnderStoreError::NoBucket { .. }), "{missing}");
    let wrong_secret = check("s3://bucket", &[("secret_access_key", "wrong")]).await;
    assert_eq!(wrong_secret.kind(), ErrorKind::PermissionDenied, "{wrong_secret}");
    assert!(wrong_secret.to_string().contains("secret_access_key"), "{wrong_secret}");
    let wrong_key = check("s3://bucket", &[("access_key_id", "wrong")]).await;
    assert_eq!(wrong_key.kind(), ErrorKind::PermissionDenied, "{wrong_key}");
    writer(&server, "bucket").put(b"object", "x".into()).await;
    let object = check("s3://bucket/object", &[]).await;
    assert_eq!(object.kind(), ErrorKind::NotADirectory, "{object}");
}
