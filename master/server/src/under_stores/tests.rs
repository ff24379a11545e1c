//! Under-stores by their options: secrets, references that change, folders of the cluster itself.

use std::path::Path;

use forebay_types::UnderStoreKey;
use forebay_under_store::UnderStoreError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const MOUNT: MountId = MountId::new(1);

fn stores(dir: &Path) -> UnderStores {
    let sealing = Arc::new(SealingKey::open_or_create(&dir.join("key")).expect("a key"));
    UnderStores::new(sealing, BTreeMap::new(), vec![dir.join("own")], 0)
}

fn options(given: &[(&str, OptionValue)]) -> MountOptions {
    let options = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    MountOptions { options, ..MountOptions::default() }
}

fn plain(value: &str) -> OptionValue {
    OptionValue::Plain(value.to_owned())
}

fn file(path: &Path) -> OptionValue {
    OptionValue::Reference(format!("file:{}", path.display()))
}

/// A server of S3 that lists nothing, and only for who signs as `new`.
async fn serve(mut stream: TcpStream) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let Ok(length @ 1..) = stream.read(&mut part).await else { return };
        request.extend_from_slice(&part[..length]);
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        request.clear();
        let (status, body) = if text.contains("Credential=new/") {
            ("200 OK", "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>")
        } else {
            ("403 Forbidden", "<Error><Code>ExpiredToken</Code><Message>over</Message></Error>")
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[test]
fn secrets_of_a_mount_that_moves_are_sealed_for_its_new_path_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let (stores, path, moved) =
        (stores(dir.path()), "/a".parse().expect("legal"), "/b/a".parse().expect("legal"));
    let given = BTreeMap::from([
        ("secret_access_key".to_owned(), OptionSource::Plain("hush".to_owned())),
        ("access_key_id".to_owned(), OptionSource::Reference("env:KEY".to_owned())),
    ]);
    let sealed = MountOptions { options: stores.seal(&path, given).expect("sealed"), ..Default::default() };
    let resealed = stores.reseal(&path, &moved, &sealed).expect("ours");
    assert_eq!(resealed.keys().collect::<Vec<_>>(), ["secret_access_key"]);
    let mut after = sealed.clone();
    after.options.extend(resealed);
    let opened = stores.for_worker(&moved, &after).expect("for the new path");
    assert_eq!(opened["secret_access_key"], OptionSource::Secret("hush".to_owned()));
    assert!(stores.for_worker(&path, &after).is_err() && stores.for_worker(&moved, &sealed).is_err());
}

#[test]
fn secrets_are_sealed_for_the_log_and_opened_for_a_worker() {
    let dir = tempfile::tempdir().expect("a folder");
    let (stores, path) = (stores(dir.path()), "/a".parse().expect("legal"));
    let given = BTreeMap::from([
        ("secret_access_key".to_owned(), OptionSource::Plain("hush".to_owned())),
        ("region".to_owned(), OptionSource::Plain("near".to_owned())),
    ]);
    let logged = stores.seal(&path, given).expect("sealed");
    assert!(matches!(logged["secret_access_key"], OptionValue::Sealed(_)));
    assert_eq!(logged["region"], OptionValue::Plain("near".to_owned()));
    let options = MountOptions { options: logged, ..MountOptions::default() };
    let sent = stores.for_worker(&path, &options).expect("opened");
    assert_eq!(sent["secret_access_key"], OptionSource::Secret("hush".to_owned()));
}

#[tokio::test]
async fn credentials_that_changed_in_their_file_are_taken_up_after_a_refusal() {
    let dir = tempfile::tempdir().expect("a folder");
    let (stores, path) = (stores(dir.path()), "/a".parse().expect("legal"));
    let key_id = dir.path().join("key_id");
    std::fs::write(&key_id, "old\n").expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let options = options(&[
        ("endpoint", plain(&endpoint)),
        ("allow_http", plain("true")),
        ("region", plain("near")),
        ("access_key_id", file(&key_id)),
        ("secret_access_key", plain("s")),
    ]);
    let uri = "s3://b4".parse().expect("legal");
    let list = async || {
        let store = stores.of_mount(MOUNT, &path, &uri, &options).expect("unsealed");
        store.list(&UnderStoreKey::default(), None).await.map(|page| page.entries.len())
    };
    let error = list().await.expect_err("refused");
    assert!(matches!(error, UnderStoreError::Denied { .. }), "{error}");
    stores.renew(true).await;
    list().await.expect_err("the file says the same");
    std::fs::write(&key_id, "new\n").expect("written");
    let before = stores.requests(MOUNT);
    // As the master does it by itself: the refusal wakes it.
    let cancelled = CancellationToken::new();
    let kept = stores.keep_current(cancelled.clone());
    let listed = async {
        loop {
            match list().await {
                Ok(entries) => return entries,
                Err(UnderStoreError::Denied { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let listed = async {
        let entries = listed.await;
        cancelled.cancel();
        entries
    };
    assert_eq!(tokio::join!(kept, listed).1, 0);
    assert!(stores.requests(MOUNT) > before, "earlier requests count on");
    server.abort();
}

#[tokio::test]
async fn an_unchanged_reference_keeps_its_connection_and_one_that_leads_nowhere_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let (stores, path) = (stores(dir.path()), "/a".parse().expect("legal"));
    let (width, source) = (dir.path().join("width"), dir.path().join("source"));
    std::fs::create_dir(&source).expect("made");
    std::fs::write(&width, "4").expect("written");
    let uri = format!("file://{}", source.display()).parse().expect("legal");
    let options = options(&[("concurrency", file(&width))]);
    let of_mount = || stores.of_mount(MOUNT, &path, &uri, &options).expect("no secrets");
    let first = of_mount();
    first.check().await.expect("a directory");
    let is_first = || Arc::ptr_eq(&first, &of_mount());
    stores.renew(false).await;
    assert!(is_first());
    for wrong in ["", "many"] {
        std::fs::write(&width, wrong).expect("written");
        stores.renew(false).await;
        assert!(is_first(), "{wrong}");
    }
    std::fs::remove_file(&width).expect("removed");
    stores.renew(false).await;
    assert!(is_first());
    std::fs::write(&width, "5").expect("written");
    stores.renew(true).await;
    assert!(is_first(), "nothing was refused");
    stores.renew(false).await;
    assert!(!is_first());
    of_mount().check().await.expect("a directory");
}

#[tokio::test]
async fn an_option_that_refers_to_a_pipe_fails_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let (stores, path) = (stores(dir.path()), "/a".parse().expect("legal"));
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("run").success());
    let uri = "file:///".parse().expect("legal");
    let store =
        stores.try_connect(&path, &uri, &options(&[("concurrency", file(&pipe))])).expect("not asked yet");
    let error = store.check().await.expect_err("no regular file");
    assert!(error.to_string().starts_with("the option `concurrency` refers to `file:"), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_folder_of_the_cluster_itself_is_refused_also_through_a_link() {
    let dir = tempfile::tempdir().expect("a folder");
    let stores = stores(dir.path());
    std::fs::create_dir_all(dir.path().join("own/worker/cache")).expect("made");
    std::os::unix::fs::symlink("own/worker", dir.path().join("link")).expect("linked");
    let refuse = async |below: &str| {
        let uri = format!("file://{}{below}", dir.path().display()).parse().expect("legal");
        stores.refuse_own_folder(&uri).await
    };
    for own in ["/own", "/own/worker/cache", "/link"] {
        let error = refuse(own).await.expect_err("refused");
        assert!(error.to_string().contains("keeps its own files"), "{error}");
    }
    for other in ["", "/owner", "/missing"] {
        assert!(refuse(other).await.is_ok(), "{other}");
    }
}
