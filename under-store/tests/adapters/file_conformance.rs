//! The adapter for local directories passes the suite.

use forebay_types::ErrorKind;
use forebay_under_store::conformance::{self, Abilities};

use crate::open;
use crate::writers::DirectoryWriter;

pub(crate) const ABILITIES: Abilities = Abilities {
    names_are_bytes: true,
    keys_are_flat: false,
    takes_dot_parts: false,
    takes_control_characters: true,
    replaces_atomically: true,
};

#[tokio::test]
async fn a_local_directory_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    std::fs::create_dir(&root).expect("a root");
    let store = open(&format!("file://{}", root.display()), &[]).expect("legal");
    conformance::run(&*store, &DirectoryWriter::new(root), ABILITIES).await.expect("conforms");
}

#[tokio::test]
async fn a_local_directory_conforms_with_one_call_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    std::fs::create_dir(&root).expect("a root");
    let store = open(&format!("file://{}", root.display()), &[("concurrency", "1")]).expect("legal");
    conformance::run(&*store, &DirectoryWriter::new(root), ABILITIES).await.expect("conforms");
}

#[tokio::test]
async fn a_root_that_cannot_be_mounted_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), b"x").expect("written");
    let cases = [
        ("missing", ErrorKind::NotFound, "create it"),
        ("file", ErrorKind::NotADirectory, "give the directory"),
    ];
    for (name, kind, hint) in cases {
        let uri = format!("file://{}/{name}", folder.path().display());
        let error = open(&uri, &[]).expect("legal").check().await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(&uri) && text.contains(hint), "{text}");
    }
}
