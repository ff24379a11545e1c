//! Loads: done means seen in its place, what failed is named, and neither a crash nor a cancel leaves anything odd.

use std::fs;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, Fault, FaultProxy, Output, Rclone, wait_until, write_file};
use serde_json::{Value, json};
use tempfile::TempDir;

const MIB: usize = 1 << 20;
/// Files of a load that takes long enough to be met in the midst.
const MANY: usize = 15_000;
const LONG: Duration = Duration::from_secs(120);

fn file_uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// A folder with a few files at different depths, mounted at `/data`.
fn few() -> (TempDir, u64, Cluster) {
    let source = tempfile::tempdir().expect("a folder");
    let lengths = [("a", 100), ("b", 9 * MIB + 1), ("deep/c", MIB), ("deep/er/d", 0), ("deep/er/e", 17)];
    let mut bytes = 0;
    for (seed, (name, length)) in (0..).zip(lengths) {
        write_file(&source.path().join(name), seed, length);
        bytes += length as u64;
    }
    let cluster = Cluster::builder().mount("/data", &file_uri(source.path())).start();
    (source, bytes, cluster)
}

/// A folder with many small files, mounted at `/data`.
fn many() -> (TempDir, Cluster) {
    let source = tempfile::tempdir().expect("a folder");
    for number in 0..MANY {
        let folder = source.path().join(format!("{}", number % 10));
        write_file(&folder.join(number.to_string()), number as u64, 100);
    }
    let cluster = Cluster::builder().mount("/data", &file_uri(source.path())).start();
    (source, cluster)
}

fn document(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn load(cluster: &Cluster, paths: &[&str]) -> (Value, i32) {
    let output = cluster.run(&[&["load", "--output", "json"], paths].concat());
    (document(&output), output.code)
}

fn status(cluster: &Cluster, id: &Value) -> Value {
    document(&cluster.run(&["job", "status", &id.to_string(), "--output", "json"]))
}

fn figures(document: &Value) -> [u64; 5] {
    ["files_total", "files_done", "files_failed", "bytes_total", "bytes_done"]
        .map(|key| document[key].as_u64().unwrap_or_else(|| panic!("{key} in {document}")))
}

#[test]
fn a_second_load_asks_the_under_store_for_nothing_and_reads_need_it_no_more() {
    let (source, bytes, cluster) = few();
    let (first, code) = load(&cluster, &["/data"]);
    assert_eq!((code, &first["state"]), (0, &json!("SUCCEEDED")), "{first}");
    assert_eq!(figures(&first), [5, 5, 0, bytes, bytes]);
    assert_eq!((&first["under_store_bytes"], &first["paths"]), (&json!(bytes), &json!(["/data"])));
    assert!(first["id"].is_u64() && first["seconds"].is_f64() && first["failures"] == json!([]), "{first}");
    let (second, code) = load(&cluster, &["/data", "/data/deep"]);
    assert_eq!((code, figures(&second)), (0, [5, 5, 0, bytes, bytes]), "named twice, counted once");
    assert_eq!(second["under_store_bytes"], 0);
    drop(source);
    let length = cluster.run(&["fs", "cat", "/data/b", "/data/deep/er/e"]).stdout.len();
    assert!(length > 0);
    let jobs = cluster.json(&["admin", "report"])["jobs"].clone();
    assert_eq!(jobs, json!({"running": 0, "succeeded": 2, "failed": 0}));
}

#[test]
fn a_load_of_nothing_succeeds_and_says_so() {
    let (source, _, cluster) = few();
    fs::create_dir(source.path().join("nothing")).expect("made");
    let manifest = source.path().join("manifest");
    fs::write(&manifest, "# nothing\n\n").expect("written");
    let output = cluster.run(&["load", "/data/nothing"]);
    assert!(output.code == 0 && output.stdout.contains("nothing to load"), "{output:?}");
    let (empty, code) = load(&cluster, &["--manifest", manifest.to_str().expect("UTF-8")]);
    assert_eq!((code, &empty["state"], figures(&empty)), (0, &json!("SUCCEEDED"), [0; 5]));
    assert_eq!(cluster.run(&["load"]).code, 2, "neither a path nor a manifest");
}

#[test]
fn files_that_went_after_they_were_listed_are_named_and_just_these() {
    let (source, bytes, cluster) = few();
    assert_eq!(cluster.run(&["fs", "du", "/data"]).code, 0, "all is listed, and fresh for a minute");
    let away = tempfile::tempdir().expect("a folder");
    for name in ["a", "deep/c"] {
        let file = source.path().join(name);
        fs::copy(&file, away.path().join(file.file_name().expect("a name"))).expect("copied");
        fs::remove_file(file).expect("removed");
    }
    let (failed, code) = load(&cluster, &["/data"]);
    assert_eq!((code, &failed["state"]), (1, &json!("FAILED")), "{failed}");
    assert_eq!(figures(&failed)[..3], [5, 3, 2]);
    let mut named: Vec<_> =
        failed["failures"].as_array().expect("a list").iter().map(|one| &one["path"]).collect();
    named.sort_by_key(|path| path.to_string());
    assert_eq!(named, [&json!("/data/a"), &json!("/data/deep/c")]);
    assert!(failed["failures"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    let text = cluster.run(&["job", "status", &failed["id"].to_string()]);
    assert_eq!(text.code, 1);
    assert!(text.stdout.contains("/data/a: ") && text.stderr.starts_with("error: "), "{text:?}");
    assert_eq!(status(&cluster, &failed["id"]), failed);

    for name in ["a", "deep/c"] {
        let file = source.path().join(name);
        fs::copy(away.path().join(file.file_name().expect("a name")), file).expect("back");
    }
    let manifest = away.path().join("again");
    fs::write(&manifest, "/data/b\n/data/deep/er\n").expect("written");
    let (rest, code) = load(&cluster, &["--manifest", manifest.to_str().expect("UTF-8")]);
    assert_eq!((code, &rest["under_store_bytes"], bytes > 0), (0, &json!(0), true), "the others are cached");
}

#[test]
fn a_path_or_line_that_does_not_exist_is_an_error_before_there_is_a_job() {
    let (source, _, cluster) = few();
    let manifest = source.path().join("manifest");
    let list = manifest.to_str().expect("UTF-8");
    let cases = [
        ("/data/a\n# two\n/data/gone\n", "line 3"),
        ("/data/a\ndata/b\n", "line 2"),
        ("/data/a/below\n", "line 1"),
    ];
    for (lines, expected) in cases {
        fs::write(&manifest, lines).expect("written");
        let output = cluster.run(&["load", "--manifest", list]);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.starts_with("error: ") && output.stderr.contains(expected), "{output:?}");
    }
    let output = cluster.run(&["load", "/data/nowhere", "--output", "json"]);
    assert!(output.code == 1 && output.stderr.contains("/data/nowhere"), "{output:?}");
    assert_eq!(cluster.json(&["job", "list"]), json!({"jobs": []}));
    assert_eq!(cluster.run(&["job", "status"]).code, 1, "there is none");
    assert_eq!(cluster.run(&["job", "status", "7"]).code, 1);
    assert_eq!(cluster.run(&["job", "status", "seven"]).code, 2);
}

#[test]
fn a_manifest_is_loaded_with_its_comments_passed_over() {
    let (source, _, cluster) = few();
    let manifest = source.path().join("manifest");
    fs::write(&manifest, "# the sampler's order\n/data/deep/er/e\n\n/data/a\r\n").expect("written");
    let (loaded, code) = load(&cluster, &["--manifest", manifest.to_str().expect("UTF-8")]);
    assert_eq!((code, figures(&loaded)), (0, [2, 2, 0, 117, 117]));
    assert_eq!(loaded["paths"], json!(["/data/deep/er/e", "/data/a"]));
}

#[test]
fn a_load_that_cannot_fit_fails_and_names_the_missing_bytes() {
    let source = tempfile::tempdir().expect("a folder");
    (0..10).for_each(|number| drop(write_file(&source.path().join(number.to_string()), number, 8 * MIB)));
    let builder = Cluster::builder().mount("/data", &file_uri(source.path())).ram("0").tier("64MiB");
    let cluster = builder.start();
    let (failed, code) = load(&cluster, &["/data"]);
    assert_eq!((code, &failed["state"]), (1, &json!("FAILED")));
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(reason.contains(&format!("{} bytes", 16 * MIB)), "{reason}");
}

#[test]
fn a_load_is_cancelled_in_the_midst_and_what_was_loaded_stays() {
    let (_source, cluster) = many();
    let begun = cluster.json(&["load", "/data", "--detach"]);
    let id = &begun["id"];
    wait_until("something is loaded", LONG, || status(&cluster, id)["files_done"].as_u64() > Some(0));
    let cancelled = cluster.json(&["job", "cancel", &id.to_string()]);
    assert_eq!(cancelled["state"], "CANCELLED");
    let [total, done, failed, ..] = figures(&status(&cluster, id));
    assert!(done > 0 && done < MANY as u64 && total <= MANY as u64 && failed == 0);
    assert_eq!(cluster.json(&["job", "cancel", &id.to_string()])["state"], "CANCELLED", "twice is no error");
    assert_eq!(cluster.run(&["job", "watch", &id.to_string()]).code, 1);
    let (rest, code) = load(&cluster, &["/data"]);
    assert_eq!((code, figures(&rest)[1]), (0, MANY as u64));
    assert!(rest["under_store_bytes"].as_u64() < rest["bytes_total"].as_u64(), "{rest}");
    assert_eq!(cluster.run(&["job", "cancel", &rest["id"].to_string()]).code, 1, "it is over by itself");
    let states: Vec<_> = cluster.json(&["job", "list"])["jobs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|job| job["state"].clone())
        .collect();
    assert_eq!(states, ["SUCCEEDED", "CANCELLED"], "the newest first");
}

#[test]
fn a_job_survives_a_kill_in_the_midst_and_ends_well() {
    let (source, mut cluster) = many();
    // More lines than one message carries: the list must be durable too.
    let manifest = source.path().join("manifest");
    let lines: Vec<_> = (0..MANY).rev().map(|number| format!("/data/{}/{number}\n", number % 10)).collect();
    fs::write(&manifest, lines.concat()).expect("written");
    let manifest = manifest.to_str().expect("UTF-8").to_owned();
    let begun = cluster.json(&["load", "--manifest", &manifest, "--detach"]);
    let id = begun["id"].clone();
    assert_eq!((&begun["paths_total"], &begun["paths"][0]), (&json!(MANY), &json!("/data/9/14999")));
    wait_until("something is loaded", LONG, || status(&cluster, &id)["files_done"].as_u64() > Some(0));
    cluster.process().kill();
    cluster.start();
    let after = status(&cluster, &id);
    assert!(after["state"] == "RUNNING" || after["state"] == "PENDING", "{after}");
    let watched = cluster.run(&["job", "watch", &id.to_string(), "--output", "json"]);
    assert_eq!(watched.code, 0, "{watched:?}");
    let ended = document(&watched);
    assert_eq!((&ended["state"], figures(&ended)[1]), (&json!("SUCCEEDED"), MANY as u64));
    assert!(
        ended["under_store_bytes"].as_u64() < ended["bytes_total"].as_u64(),
        "what was cached is not fetched again"
    );
}

#[test]
fn an_object_that_fails_and_one_that_is_cut_short_each_time_are_named_and_a_second_load_fetches_just_these() {
    let length = 3 * MIB;
    let names = ["bad/refused", "bad/short", "good/a", "good/b", "good/c"];
    let server = Rclone::start("bucket", |bucket| {
        for (seed, name) in (1..).zip(names) {
            write_file(&bucket.join(name), seed, length);
        }
    });
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().start();
    let mounted = cluster.mount_s3("s3://bucket", "/data", &proxy.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    proxy.fail("/bucket/bad/refused", Fault::Status(403), None);
    proxy.fail("/bucket/bad/short", Fault::CutAfter(1000), None);
    let (failed, code) = load(&cluster, &["/data"]);
    assert_eq!((code, &failed["state"]), (1, &json!("FAILED")), "{failed}");
    assert_eq!(figures(&failed)[..3], [5, 3, 2]);
    let mut named: Vec<_> =
        failed["failures"].as_array().expect("a list").iter().map(|one| &one["path"]).collect();
    named.sort_by_key(|path| path.to_string());
    assert_eq!(named, [&json!("/data/bad/refused"), &json!("/data/bad/short")]);

    proxy.heal();
    proxy.forget();
    let (loaded, code) = load(&cluster, &["/data"]);
    assert_eq!((code, &loaded["state"]), (0, &json!("SUCCEEDED")), "{loaded}");
    assert_eq!(figures(&loaded)[..3], [5, 5, 0]);
    assert_eq!(loaded["under_store_bytes"], json!(2 * length));
    let asked: Vec<_> = proxy.exchanges().into_iter().filter(|exchange| exchange.is_object_get()).collect();
    assert!(
        !asked.is_empty() && asked.iter().all(|exchange| exchange.target.starts_with("/bucket/bad/")),
        "{asked:?}"
    );
    assert_eq!(proxy.object_bytes(), 2 * length as u64);
}
