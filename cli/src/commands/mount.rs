//! `forebay mount`, `unmount` and `mounts`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use forebay_client::{
    Client, Coherence, Freshness, MountEntry, MountMode, MountRequest, Mounted, OnOutage, OptionSource,
};
use forebay_types::{Admission, AdmissionRule, ErrorKind, Pattern, UnderStoreUri, parse_duration};
use forebay_under_store::{is_secret, resolve_options};
use serde_json::{Value, json};

use super::session::{Session, path};
use crate::args::{GlobalArguments, MountArguments, OutputFormat, UnmountArguments};
use crate::failure::Failure;
use crate::output;

/// `forebay mount`.
pub(crate) async fn mount(global: &GlobalArguments, arguments: MountArguments) -> Result<(), Failure> {
    let freshness = arguments.freshness.as_deref().map(freshness).transpose()?;
    let coherence = arguments.coherence.as_deref().map(coherence).transpose()?;
    let (on_outage, given) = on_outage(arguments.on_outage.as_deref(), &arguments.options)?;
    let mode = arguments.mode.as_deref().map(mode).transpose()?;
    let admission = admission(arguments.cache.as_deref(), arguments.cache_include, arguments.cache_exclude)?;
    let at = path(&arguments.path)?;
    let uri: UnderStoreUri = arguments.uri.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    let session = Session::begin(global).await?;
    let request = MountRequest {
        path: at,
        options: options(&uri, &given, &session.settings.environment)?,
        uri: arguments.uri.clone(),
        writable: false,
        freshness,
        coherence,
        on_outage,
        mode,
        admission,
        block_length: None,
        check_only: arguments.check,
    };
    let Mounted { already, changed, workers_behind, .. } = attach(&session.client, request).await?;
    let done = match (arguments.check, already, changed) {
        (true, false, _) => "can be mounted",
        (false, true, true) => "changed",
        (_, true, _) => "was mounted before",
        (false, false, _) => "mounted",
    };
    if workers_behind > 0 {
        output::complain(&format!(
            "note: {workers_behind} workers have not said yet that they know of the change; until they do, they may ask {} \
             and cache of it as before",
            arguments.uri
        ));
    }
    output::print_line(&format!("{done}: {} at {}", arguments.uri, arguments.path))
}

/// Attaches an under-store.
pub(crate) async fn attach(client: &Client, request: MountRequest) -> Result<Mounted, Failure> {
    let what = format!("mount {} at {}", request.uri, request.path);
    client.mount(request).await.map_err(|error| Failure::client(what, &error))
}

/// `forebay unmount`.
pub(crate) async fn unmount(global: &GlobalArguments, arguments: UnmountArguments) -> Result<(), Failure> {
    let at = path(&arguments.path)?;
    let session = Session::begin(global).await?;
    let done = session.client.unmount(&at).await;
    done.map_err(|error| {
        let remedy = "`forebay mounts` shows what is mounted where";
        Failure::client_or(format!("unmount {at}"), &error, &[ErrorKind::NotFound], remedy)
    })?;
    output::print_line(&format!("unmounted: {at}"))
}

/// `forebay mounts`.
pub(crate) async fn mounts(global: &GlobalArguments) -> Result<(), Failure> {
    let session = Session::begin(global).await?;
    let mounts = session.client.mounts().await.map_err(|error| Failure::client("list the mounts", &error))?;
    match global.output {
        OutputFormat::Json => {
            let documents: Vec<_> = mounts.iter().map(document).collect();
            output::print_json(&json!({ "mounts": documents }))
        }
        OutputFormat::Text => {
            let row = |mount: &MountEntry| {
                let access = match (mount.mode, mount.read_only) {
                    (MountMode::NoAccess, _) => "no-access",
                    (_, true) => "read-only",
                    (_, false) => "writable",
                };
                let freshness = show_freshness(mount.freshness);
                let on_outage = on_outage_name(mount.on_outage).to_lowercase();
                let since = mount.unreachable_since.map_or_else(String::new, |at| format!(" since {at}"));
                let reason = if mount.reason.is_empty() { "" } else { ": " };
                let state = format!("{}{since}{reason}{}", mount.state, mount.reason);
                let (path, uri) = (mount.path.to_string(), mount.uri.clone());
                vec![
                    path,
                    uri,
                    access.to_owned(),
                    freshness,
                    on_outage,
                    show_admission(&mount.admission),
                    state,
                ]
            };
            let rows: Vec<_> = mounts.iter().map(row).collect();
            output::print_table(&["PATH", "URI", "ACCESS", "FRESHNESS", "ON OUTAGE", "CACHE", "STATE"], &rows)
        }
    }
}

fn document(mount: &MountEntry) -> Value {
    let mut document = json!({
        "uri": mount.uri,
        "read_only": mount.read_only,
        "freshness": freshness_document(mount.freshness),
        "coherence": match mount.coherence { Coherence::Strict => "STRICT", Coherence::Relaxed => "RELAXED" },
    });
    add_state(&mut document, mount);
    output::named("path", &mount.path.to_bytes(), document)
}

/// Adds how a mount is and what that means, in the keys that all documents have for it.
pub(super) fn add_state(document: &mut Value, mount: &MountEntry) {
    document["on_outage"] = on_outage_name(mount.on_outage).into();
    document["mode"] = mode_name(mount.mode).into();
    add_admission(document, &mount.admission);
    document["state"] = mount.state.as_str().into();
    if let Some(since) = mount.unreachable_since {
        document["unreachable_since"] = output::time(since).into();
        document["reason"] = mount.reason.as_str().into();
    }
}

/// What of a mount is cached. Patterns that are no UTF-8 are there a second time, in hexadecimal digits.
fn add_admission(document: &mut Value, admission: &Admission) {
    document["cache"] = admission.rule.to_string().into();
    for (key, patterns) in [("cache_include", &admission.include), ("cache_exclude", &admission.exclude)] {
        document[key] = patterns.iter().map(ToString::to_string).collect::<Vec<_>>().into();
        if patterns.iter().any(|pattern| std::str::from_utf8(pattern.as_bytes()).is_err()) {
            let hex: Vec<_> = patterns.iter().map(|pattern| output::hex(pattern.as_bytes())).collect();
            document[format!("{key}_hex")] = hex.into();
        }
    }
}

/// The rule, with a `+` for each pattern that includes and a `-` for each that excludes.
fn show_admission(admission: &Admission) -> String {
    let signed = |sign: char| move |pattern: &Pattern| format!(" {sign}{pattern}");
    let include = admission.include.iter().map(signed('+'));
    let patterns: String = include.chain(admission.exclude.iter().map(signed('-'))).collect();
    format!("{}{patterns}", admission.rule)
}

const fn on_outage_name(on_outage: OnOutage) -> &'static str {
    match on_outage {
        OnOutage::Serve => "SERVE",
        OnOutage::Fail => "FAIL",
    }
}

const fn mode_name(mode: MountMode) -> &'static str {
    match mode {
        MountMode::Normal => "NORMAL",
        MountMode::NoAccess => "NO_ACCESS",
        MountMode::ReadOnly => "READ_ONLY",
    }
}

/// `"immutable"`, or seconds as a number.
pub(super) fn freshness_document(freshness: Freshness) -> Value {
    match freshness {
        Freshness::Immutable => json!("immutable"),
        Freshness::Bound(bound) if bound.subsec_nanos() == 0 => json!(bound.as_secs()),
        Freshness::Bound(bound) => json!(bound.as_secs_f64()),
    }
}

pub(super) fn show_freshness(freshness: Freshness) -> String {
    match freshness {
        Freshness::Immutable => "immutable".to_owned(),
        Freshness::Bound(bound) => humantime::format_duration(bound).to_string(),
    }
}

fn freshness(text: &str) -> Result<Freshness, Failure> {
    if text == "immutable" {
        return Ok(Freshness::Immutable);
    }
    let wrong = |error| Failure::usage(format!("--freshness: {error}, or immutable"));
    parse_duration(text).map(Freshness::Bound).map_err(wrong)
}

fn coherence(text: &str) -> Result<Coherence, Failure> {
    match text {
        "strict" => Ok(Coherence::Strict),
        "relaxed" => Ok(Coherence::Relaxed),
        _ => Err(Failure::usage(format!("--coherence {text}: it is strict or relaxed"))),
    }
}

fn mode(text: &str) -> Result<MountMode, Failure> {
    match text {
        "normal" => Ok(MountMode::Normal),
        "no-access" => Ok(MountMode::NoAccess),
        "read-only" => Ok(MountMode::ReadOnly),
        _ => Err(Failure::usage(format!("--mode {text}: it is normal, no-access or read-only"))),
    }
}

/// What the flags say of what is cached; `None` where none of them is given. They say it as a whole.
fn admission(
    rule: Option<&str>,
    include: Vec<OsString>,
    exclude: Vec<OsString>,
) -> Result<Option<Admission>, Failure> {
    if rule.is_none() && include.is_empty() && exclude.is_empty() {
        return Ok(None);
    }
    let rule: AdmissionRule = rule
        .map_or(Ok(AdmissionRule::All), str::parse)
        .map_err(|error| Failure::usage(format!("--cache: {error}")))?;
    let bytes = |patterns: Vec<OsString>| patterns.into_iter().map(OsStringExt::into_vec);
    Admission::new(rule, bytes(include), bytes(exclude))
        .map(Some)
        .map_err(|error| Failure::usage(format!("--cache-include, --cache-exclude: {error}")))
}

/// What the flag and the option of that name say, and the other options, which are the under-store's.
fn on_outage(flag: Option<&str>, options: &[String]) -> Result<(Option<OnOutage>, Vec<String>), Failure> {
    let is_it = |option: &&String| option.starts_with(ON_OUTAGE_OPTION);
    let (given, others): (Vec<_>, Vec<_>) = options.iter().partition(is_it);
    let given =
        given.into_iter().map(|option| ("--option ", option.as_str(), &option[ON_OUTAGE_OPTION.len()..]));
    let mut asked = None;
    for (before, shown, value) in flag.into_iter().map(|flag| ("--on-outage ", flag, flag)).chain(given) {
        let on_outage = match value {
            "serve" => OnOutage::Serve,
            "fail" => OnOutage::Fail,
            _ => return Err(Failure::usage(format!("{before}{shown}: it is serve or fail"))),
        };
        if asked.replace(on_outage).is_some_and(|other| other != on_outage) {
            let both = "--on-outage and --option on_outage= say different things; say one of them";
            return Err(Failure::usage(both));
        }
    }
    Ok((asked, others.into_iter().cloned().collect()))
}

/// An option of the mount that can be given as if it were the under-store's.
const ON_OUTAGE_OPTION: &str = "on_outage=";

/// The options of a mount: those given, and what the environment of whoever mounts adds. Values of secret options
/// travel as secrets, references as they are.
pub(crate) fn options(
    uri: &UnderStoreUri,
    given: &[String],
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, OptionSource>, Failure> {
    let mut values = BTreeMap::new();
    for option in given {
        let Some((name, value)) = option.split_once('=') else {
            return Err(Failure::usage(format!("--option {option}: write KEY=VALUE")));
        };
        if values.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("--option {name} is given twice")));
        }
    }
    let resolved = resolve_options(uri.scheme(), &values, environment);
    let resolved = resolved.map_err(|error| Failure::usage(format!("cannot mount {uri}: {error}")))?;
    let source = |(name, value): (String, String)| {
        let is_reference = values.values().any(|given| *given == value)
            && (value.starts_with("env:") || value.starts_with("file:"));
        let source = match () {
            () if is_reference => OptionSource::Reference(value),
            () if is_secret(&name) => OptionSource::Secret(value),
            () => OptionSource::Plain(value),
        };
        (name, source)
    };
    Ok(resolved.into_iter().map(source).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_freshness_is_a_duration_or_immutable() {
        for (text, expected) in [
            ("0", Freshness::Bound(Duration::ZERO)),
            ("0s", Freshness::Bound(Duration::ZERO)),
            ("2m", Freshness::Bound(Duration::from_mins(2))),
            ("immutable", Freshness::Immutable),
        ] {
            assert_eq!(freshness(text).expect(text), expected, "{text}");
        }
        for (text, told) in
            [("500000000000000m", "100 years"), ("60", "such as 500ms"), ("never", "immutable")]
        {
            let refused = freshness(text).expect_err(text);
            assert!(refused.to_string().contains(told), "{refused}");
            assert_eq!(refused.exit_code(), crate::failure::USAGE);
        }
    }

    #[test]
    fn what_is_cached_is_said_as_a_whole_or_not_at_all() {
        let said = |rule: Option<&str>, include: &[&str], exclude: &[&str]| {
            let words = |texts: &[&str]| texts.iter().map(Into::into).collect();
            admission(rule, words(include), words(exclude))
        };
        assert_eq!(said(None, &[], &[]).expect("legal"), None);
        assert_eq!(said(Some("all"), &[], &[]).expect("legal"), Some(Admission::default()));
        let some = said(None, &["train/**"], &["**/*.tmp"]).expect("legal").expect("said");
        assert_eq!(
            (some.rule, show_admission(&some).as_str()),
            (AdmissionRule::All, "all +train/** -**/*.tmp")
        );
        for (rule, include, told) in [
            (Some("most"), &[][..], "--cache: `most` is no rule"),
            (Some("small:"), &[], "small:64KiB"),
            (None, &["/train/**"], "`/train/**` begins with a slash"),
            (Some("none"), &["train/"], "`train/**`"),
        ] {
            let refused = said(rule, include, &[]).expect_err(told);
            assert!(refused.to_string().contains(told), "{refused}");
            assert_eq!(refused.exit_code(), crate::failure::USAGE);
        }
    }

    #[test]
    fn patterns_of_any_bytes_are_shown_to_scripts_as_they_are() {
        let mut document = json!({});
        let odd = Admission::new(AdmissionRule::None, [b"a\xff".to_vec()], []).expect("legal");
        add_admission(&mut document, &odd);
        assert_eq!(document["cache"], "none");
        assert_eq!(document["cache_include_hex"], json!(["61ff"]));
        assert_eq!(document["cache_exclude"], json!([]));
    }

    #[test]
    fn what_is_answered_in_an_outage_is_said_by_a_flag_or_by_an_option_that_is_no_under_stores() {
        let said = |flag, options: &[&str]| {
            on_outage(flag, &options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        };
        let region = vec!["region=near".to_owned()];
        let both = ["on_outage=fail", "region=near"];
        assert_eq!(said(None, &["region=near"]).expect("legal"), (None, region.clone()));
        assert_eq!(said(Some("serve"), &[]).expect("legal"), (Some(OnOutage::Serve), vec![]));
        assert_eq!(said(None, &both).expect("legal"), (Some(OnOutage::Fail), region.clone()));
        assert_eq!(said(Some("fail"), &both).expect("legal"), (Some(OnOutage::Fail), region));
        for (flag, options, told) in [
            (Some("wait"), &[][..], "--on-outage wait: it is serve or fail"),
            (None, &["on_outage="], "--option on_outage=: it is serve or fail"),
            (Some("serve"), &both, "different things"),
            (None, &["on_outage=fail", "on_outage=serve"], "different things"),
        ] {
            let refused = said(flag, options).expect_err(told);
            assert!(refused.to_string().contains(told), "{refused}");
            assert_eq!(refused.exit_code(), crate::failure::USAGE);
        }
    }

    #[test]
    fn secrets_of_the_environment_travel_as_secrets_and_references_as_references() {
        let uri = "s3://bucket".parse().expect("legal");
        let environment = BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), "hush".to_owned())]);
        let given = ["access_key_id=env:KEY_ID".to_owned(), "region=near".to_owned()];
        let options = options(&uri, &given, &environment).expect("legal");
        assert_eq!(options["access_key_id"], OptionSource::Reference("env:KEY_ID".to_owned()));
        assert_eq!(options["region"], OptionSource::Plain("near".to_owned()));
        assert_eq!(options["secret_access_key"], OptionSource::Secret("hush".to_owned()));
    }
}
