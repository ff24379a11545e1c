//! What is wrong with a bucket, its keys or its options is said with its name, and changes nothing; secrets are kept, and
//! never shown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, FaultProxy, KEY_ID, Output, Radosgw, SECRET_KEY, content, in_both_modes, run_with, wait_until,
};

const WITHIN: Duration = Duration::from_secs(10);
const WRONG_SECRET: &str = "Wr0ngSecretThatMustNotBeRepeated";

/// A bucket with the objects `train/a` and `train/b`.
fn bucket() -> String {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    server.client().put(&bucket, "train/a", &content(1, 5000));
    server.client().put(&bucket, "train/b", &content(2, 5000));
    bucket
}

#[test]
fn buckets_and_options_that_cannot_be_are_refused_with_the_name_and_change_nothing() {
    let cluster = Cluster::builder().start();
    let bucket = bucket();
    let uri = format!("s3://{bucket}/train");
    let mounted =
        cluster.mount_s3(&format!("s3://{bucket}/other"), "/there", Radosgw::shared().endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let before = (cluster.json(&["mounts"]), cluster.run(&["fs", "ls", "/"]).stdout);
    let endpoint = format!("endpoint={}", Radosgw::shared().endpoint());
    let (key_id, secret) = (format!("access_key_id={KEY_ID}"), format!("secret_access_key={SECRET_KEY}"));
    let wrong_secret = format!("secret_access_key={WRONG_SECRET}");
    let cases: [(&str, &[&str], i32, &str); 11] = [
        ("s3://no-such-bucket", &[&endpoint, &key_id, &secret], 1, "no-such-bucket"),
        (&uri, &[&endpoint, &key_id, &wrong_secret], 1, "secret_access_key"),
        (&uri, &[&endpoint, "access_key_id=nobody", &wrong_secret], 1, "access_key_id"),
        (&uri, &["endpoint=http://127.0.0.1:1", &key_id, &secret], 1, "127.0.0.1:1"),
        (&uri, &["endpoint=nonsense", &key_id, &secret], 1, "endpoint"),
        (&uri, &[&endpoint, &key_id, &secret, "colour=blue"], 2, "colour"),
        (&uri, &[&endpoint, &key_id, &secret, "concurrency=none"], 1, "concurrency"),
        (&uri, &[&endpoint, &key_id], 1, "secret_access_key"),
        (&uri, &[&endpoint, &key_id, "secret_access_key=env:NOT_THERE"], 1, "NOT_THERE"),
        (&uri, &[&endpoint, &key_id, "secret_access_key=file:/not/there"], 1, "/not/there"),
        ("s3:///prefix", &[&endpoint, &key_id, &secret], 2, "bucket"),
    ];
    for (uri, options, code, named) in cases {
        let mut arguments = vec!["mount", uri, "/new"];
        options.iter().for_each(|option| arguments.extend(["--option", option]));
        let output = cluster.run(&arguments);
        assert_eq!(output.code, code, "{options:?}: {}", output.stderr);
        assert!(
            output.stderr.starts_with("error: ") && output.stderr.contains(named),
            "{options:?}: {}",
            output.stderr
        );
        assert!(![SECRET_KEY, WRONG_SECRET].iter().any(|secret| output.stderr.contains(secret)));
    }
    // A server that takes a request and says nothing is not a cluster that cannot be reached, which is exit code 3.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_at = silent.local_addr().expect("bound");
    let unanswered = cluster.mount_s3(&uri, "/new", &format!("http://{silent_at}"), &[]);
    assert!(unanswered.code == 1 && unanswered.stderr.contains(&uri), "{unanswered:?}");
    for overlapping in ["", "/other", "/other/below"] {
        let uri = format!("s3://{bucket}{overlapping}");
        let output = cluster.mount_s3(&uri, "/new", Radosgw::shared().endpoint(), &[]);
        assert!(output.code == 1 && output.stderr.contains("overlaps"), "{}", output.stderr);
    }
    assert_eq!((cluster.json(&["mounts"]), cluster.run(&["fs", "ls", "/"]).stdout), before);
}

#[test]
fn secrets_survive_a_crash_and_are_shown_nowhere() {
    in_both_modes(secrets_survive_a_crash_and_are_shown_nowhere_in);
}

fn secrets_survive_a_crash_and_are_shown_nowhere_in(mode: &str) {
    let bucket = bucket();
    let mut cluster =
        Cluster::builder().fuse().fuse_options(mode).argument("--log-level").argument("debug").start();
    let mounted =
        cluster.mount_s3(&format!("s3://{bucket}/train"), "/data", Radosgw::shared().endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let refused = cluster.mount_s3(
        &format!("s3://{bucket}"),
        "/other",
        Radosgw::shared().endpoint(),
        &["--option", "colour=blue"],
    );
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the first object is read", WITHIN, || {
        std::fs::read(root.join("a")).is_ok_and(|bytes| bytes == content(1, 5000))
    });
    cluster.process().kill();
    cluster.start();
    assert_eq!(
        std::fs::read(root.join("b")).expect("an object that was never read before"),
        content(2, 5000)
    );

    let shown = [&["mounts"][..], &["admin", "report"]].map(|command| {
        let mut as_json = command.to_vec();
        as_json.extend(["--output", "json"]);
        [cluster.run(command), cluster.run(&as_json)]
    });
    for Output { code, stdout, stderr } in shown.into_iter().flatten().chain([mounted, refused]) {
        assert!(!stdout.contains(SECRET_KEY) && !stderr.contains(SECRET_KEY), "{code}: {stdout}{stderr}");
    }
    let log = cluster.process().log_text();
    assert!(log.lines().count() > 10, "there is a log that can leak: {log}");
    assert_eq!(files_with(cluster.dir(), SECRET_KEY), Vec::<PathBuf>::new());
    // The search finds what it is there for.
    let planted = cluster.dir().join("state/planted");
    std::fs::write(&planted, format!("{}{SECRET_KEY}\0", "x".repeat(70_000))).expect("written");
    assert_eq!(files_with(cluster.dir(), SECRET_KEY), [planted]);
}

/// The files below `folder`, the mount left out, that have these bytes in them: state, cache, key and logs.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let (mut found, mut folders, mut files) = (Vec::new(), vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable").map_while(Result::ok) {
            let (path, kind) = (entry.path(), entry.file_type().expect("known"));
            if kind.is_dir() && entry.file_name() != "fuse" {
                folders.push(path);
            } else if kind.is_file() {
                files += 1;
                let bytes = std::fs::read(&path).unwrap_or_default();
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(path);
                }
            }
        }
    }
    assert!(files > 5, "{files} files are not all that a cluster has");
    found
}

#[test]
fn credentials_come_by_reference_or_from_the_environment_of_whoever_mounts() {
    let bucket = bucket();
    let endpoint = Radosgw::shared().endpoint();
    let secrets = tempfile::tempdir().expect("a folder");
    let file = secrets.path().join("secret");
    std::fs::write(&file, format!("{SECRET_KEY}\n")).expect("written");
    let mut cluster =
        Cluster::builder().variable("THE_KEY", KEY_ID).variable("THE_SECRET", SECRET_KEY).start();
    let read = |cluster: &Cluster| cluster.run_for_bytes(&["fs", "cat", "/data/a"]);
    let unmount = |cluster: &Cluster| assert_eq!(cluster.run(&["unmount", "/data"]).code, 0);
    let uri = format!("s3://{bucket}/train/");

    let by_file = format!("secret_access_key=file:{}", file.display());
    for secret in ["secret_access_key=env:THE_SECRET", &by_file] {
        let endpoint = format!("endpoint={endpoint}");
        let options = [&endpoint[..], "access_key_id=env:THE_KEY", secret];
        let mut arguments = vec!["mount", &uri, "/data"];
        options.iter().for_each(|option| arguments.extend(["--option", option]));
        let mounted = cluster.run(&arguments);
        assert_eq!(mounted.code, 0, "{secret}: {}", mounted.stderr);
        assert_eq!(read(&cluster), content(1, 5000), "{secret}");
        unmount(&cluster);
    }

    let environment = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", "us-east-1"),
    ];
    let masters = cluster.address().to_owned();
    let mounted = run_with(&environment, &["mount", &uri, "/data", "--masters", &masters]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    // Whoever mounted is gone, and so is the process that he told.
    cluster.process().kill();
    cluster.start();
    assert_eq!(read(&cluster), content(1, 5000));
    assert_eq!(cluster.run_for_bytes(&["fs", "cat", "/data/b"]), content(2, 5000));
}

#[test]
fn a_mount_of_the_command_line_takes_the_environment_of_the_cluster() {
    let bucket = bucket();
    let cluster = Cluster::builder()
        .mount("/data", &format!("s3://{bucket}/train"))
        .variable("AWS_ENDPOINT_URL", Radosgw::shared().endpoint())
        .variable("AWS_ACCESS_KEY_ID", KEY_ID)
        .variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .start();
    assert_eq!(cluster.run_for_bytes(&["fs", "cat", "/data/a"]), content(1, 5000));
}

#[test]
fn requests_are_signed_for_the_region_of_the_mount_and_name_the_bucket_in_the_path() {
    let bucket = bucket();
    let proxy = FaultProxy::start(Radosgw::shared().endpoint());
    let cluster = Cluster::builder().start();
    let options = ["--option", "region=eu-north-7"];
    let mounted = cluster.mount_s3(&format!("s3://{bucket}/train"), "/data", &proxy.endpoint(), &options);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    assert_eq!(cluster.run_for_bytes(&["fs", "cat", "/data/a"]), content(1, 5000));
    let exchanges = proxy.exchanges();
    assert!(proxy.object_gets() == 1 && exchanges.len() > 1);
    for exchange in exchanges {
        assert!(exchange.authorization.contains("/eu-north-7/s3/"), "{exchange:?}");
        assert!(exchange.target.starts_with(&format!("/{bucket}")), "{exchange:?}");
    }
}
