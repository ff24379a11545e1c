//! Tests of the settings: which layer wins, and what each kind of mistake is told.

use std::io::Write;
use std::time::Duration;

use forebay_types::{ByteCount, ErrorKind};
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct FileConfig {
    log_level: String,
    worker: Worker,
    fuse: Option<Fuse>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Worker {
    #[serde(deserialize_with = "adapter::size")]
    ram: ByteCount,
    #[serde(deserialize_with = "adapter::optional_duration")]
    heartbeat: Option<Duration>,
    tiers: Vec<String>,
    port: u16,
    host_id: Option<String>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Fuse {
    #[serde(rename = "attr-timeout", deserialize_with = "adapter::optional_duration")]
    attr_timeout: Option<Duration>,
    passthrough: Option<Passthrough>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Passthrough {
    Auto,
    Off,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self { log_level: "info".into(), worker: Worker::default(), fuse: None }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self { ram: ByteCount::new(1), heartbeat: None, tiers: Vec::new(), port: 7421, host_id: None }
    }
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn resolved(text: &str, variables: &[(&str, &str)], flags: &str) -> Result<FileConfig, ConfigError> {
    let file = file(text);
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags = toml::from_str(flags).expect("a legal table");
    resolve(Some(file.path()), variables, flags, &["FOREBAY_MASTERS"])
}

fn refused(text: &str, variables: &[(&str, &str)], flags: &str) -> String {
    let error = resolved(text, variables, flags).expect_err("a mistake");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    error.to_string()
}

#[test]
fn nothing_set_gives_the_defaults() {
    let config: FileConfig = resolve(None, std::iter::empty(), Table::new(), &[]).expect("defaults");
    assert_eq!(config, FileConfig::default());
    assert_eq!(resolved("", &[("PATH", "/bin")], "").expect("defaults"), FileConfig::default());
}

#[test]
fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
    let text = "[worker]\nram = '1GiB'\nport = 1\nhost_id = 'file'";
    let config = resolved(
        text,
        &[("FOREBAY_WORKER_RAM", "2GiB"), ("FOREBAY_WORKER_PORT", "2")],
        "worker.ram = '3GiB'",
    );
    let worker = config.expect("legal").worker;
    assert_eq!(worker.ram, ByteCount::new(3 << 30));
    assert_eq!(worker.port, 2);
    assert_eq!(worker.host_id.as_deref(), Some("file"));
}

#[test]
fn lists_are_replaced_and_not_joined() {
    let tiers = |variables: &[(&str, &str)]| {
        resolved("[worker]\ntiers = ['/a:1GiB', '/b:1GiB']", variables, "").expect("legal").worker.tiers
    };
    assert_eq!(tiers(&[]), ["/a:1GiB", "/b:1GiB"]);
    assert_eq!(tiers(&[("FOREBAY_WORKER_TIERS", "/c:2GiB, /d:1GiB")]), ["/c:2GiB", "/d:1GiB"]);
    assert_eq!(tiers(&[("FOREBAY_WORKER_TIERS", "['/c,d:2GiB']")]), ["/c,d:2GiB"]);
    assert_eq!(tiers(&[("FOREBAY_WORKER_TIERS", "")]), [""; 0]);
}

#[test]
fn variables_take_the_type_of_their_key() {
    let variables = [
        ("FOREBAY_LOG_LEVEL", "debug"),
        ("FOREBAY_MASTERS", "of use elsewhere"),
        ("FOREBAY_WORKER_HOST_ID", "0123"),
        ("FOREBAY_WORKER_RAM", "0"),
        ("FOREBAY_WORKER_HEARTBEAT", "500ms"),
        ("FOREBAY_FUSE_ATTR_TIMEOUT", "2m"),
        ("FOREBAY_FUSE_PASSTHROUGH", "off"),
    ];
    let config = resolved("", &variables, "").expect("legal");
    assert_eq!(config.log_level, "debug");
    assert_eq!(config.worker.host_id.as_deref(), Some("0123"));
    assert_eq!(config.worker.ram, ByteCount::ZERO);
    assert_eq!(config.worker.heartbeat, Some(Duration::from_millis(500)));
    let fuse = config.fuse.expect("set");
    assert_eq!((fuse.attr_timeout, fuse.passthrough), (Some(Duration::from_mins(2)), Some(Passthrough::Off)));
    let auto = resolved("fuse.passthrough = 'auto'", &[], "").expect("legal").fuse.expect("set");
    assert_eq!(auto.passthrough, Some(Passthrough::Auto));
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let message = refused("log_level = 'warn'\n\n[worker]\nrma = '1GiB'\n", &[], "");
    assert!(message.contains("line 4: unknown field `rma`, expected one of `ram`"), "{message}");
    let message = refused("log_level = 'warn\n", &[], "");
    assert!(message.contains("line 1: "), "{message}");
    let message = refused("[worker]\nram = '1 gig'\n", &[], "");
    assert!(message.contains("line 2: `1 gig` is no size"), "{message}");
    let message = refused("[worker]\nheartbeat = 5\n", &[], "");
    assert!(message.contains("line 2: `5` is no duration") && message.contains("such as 500ms"), "{message}");
    assert!(refused("[worker]\nram = -1\n", &[], "").contains("expected a size"));
    assert!(refused("log_level = 'a'\nlog_level = 'b'\n", &[], "").contains("line 2: duplicate key"));
}

#[test]
fn a_weak_layer_is_checked_even_where_a_strong_one_covers_it() {
    assert!(refused("[worker]\nport = 'x'\n", &[("FOREBAY_WORKER_PORT", "1")], "").contains("line 2: "));
}

#[test]
fn a_variable_with_a_wrong_value_is_named() {
    let message = refused("", &[("FOREBAY_WORKER_PORT", "70000")], "worker.port = 1");
    assert!(message.starts_with("environment variable FOREBAY_WORKER_PORT: "), "{message}");
    assert!(refused("", &[("FOREBAY_WORKER_PORT", "1\nram = 1")], "").contains("FOREBAY_WORKER_PORT"));
}

#[test]
fn a_variable_that_is_no_setting_is_refused_with_the_nearest_name() {
    let message = refused("", &[("FOREBAY_WORKER_RAN", "1GiB")], "");
    assert!(message.contains("FOREBAY_WORKER_RAN is no setting"), "{message}");
    assert!(message.contains("did you mean FOREBAY_WORKER_RAM?"), "{message}");
    assert!(refused("", &[("FOREBAY_MASTER", "x")], "").contains("did you mean FOREBAY_MASTERS?"));
    assert!(!refused("", &[("FOREBAY_SOMETHING_ELSE", "x")], "").contains("did you mean"));
    assert!(refused("", &[("FOREBAY_WORKER", "x")], "").contains("FOREBAY_WORKER is no setting"));
}

#[test]
fn a_flag_with_a_wrong_value_is_named() {
    assert!(refused("", &[], "worker.port = 'x'").starts_with("command line: "));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let missing = Path::new("/nonexistent/forebay.toml");
    let error =
        resolve::<FileConfig>(Some(missing), std::iter::empty(), Table::new(), &[]).expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("/nonexistent/forebay.toml cannot be read"));
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let length = usize::try_from(CONFIG_LENGTH_MAX).expect("small");
    assert!(refused(&"#".repeat(length + 1), &[], "").contains("is larger than"));
}

#[test]
fn the_keys_of_a_type_are_found_through_options_and_renames() {
    let names: Vec<_> = keys::<FileConfig>().iter().map(|key| (key.dotted(), key.variable())).collect();
    let name = |dotted: &str, variable: &str| (dotted.to_owned(), variable.to_owned());
    assert_eq!(names.len(), 8);
    assert_eq!(names[0], name("log_level", "FOREBAY_LOG_LEVEL"));
    assert_eq!(names[1], name("worker.ram", "FOREBAY_WORKER_RAM"));
    assert_eq!(names[6], name("fuse.attr-timeout", "FOREBAY_FUSE_ATTR_TIMEOUT"));
}

#[test]
#[should_panic(expected = "two keys share the variable FOREBAY_A_B")]
fn two_keys_with_one_variable_are_found() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only the shape of the type matters")]
    struct Twins {
        a_b: u8,
        a: Inner,
    }
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only the shape of the type matters")]
    struct Inner {
        b: u8,
    }
    let _ = keys::<Twins>();
}
