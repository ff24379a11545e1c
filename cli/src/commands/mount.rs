//! `forebay mount`, `unmount` and `mounts`.

use std::collections::BTreeMap;

use forebay_client::{Client, Coherence, Freshness, MountEntry, MountRequest, Mounted, OptionSource};
use forebay_types::{ErrorKind, UnderStoreUri, parse_duration};
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
    let at = path(&arguments.path)?;
    let uri: UnderStoreUri = arguments.uri.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    let session = Session::begin(global).await?;
    let request = MountRequest {
        path: at,
        options: options(&uri, &arguments.options, &session.settings.environment)?,
        uri: arguments.uri.clone(),
        writable: false,
        freshness,
        coherence,
        block_length: None,
        check_only: arguments.check,
    };
    let Mounted { already, changed, .. } = attach(&session.client, request).await?;
    let done = match (arguments.check, already, changed) {
        (true, false, _) => "can be mounted",
        (false, true, true) => "changed",
        (_, true, _) => "was mounted before",
        (false, false, _) => "mounted",
    };
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
                let access = if mount.read_only { "read-only" } else { "writable" };
                let freshness = show_freshness(mount.freshness);
                vec![
                    mount.path.to_string(),
                    mount.uri.clone(),
                    access.to_owned(),
                    freshness,
                    mount.state.clone(),
                ]
            };
            let rows: Vec<_> = mounts.iter().map(row).collect();
            output::print_table(&["PATH", "URI", "ACCESS", "FRESHNESS", "STATE"], &rows)
        }
    }
}

fn document(mount: &MountEntry) -> Value {
    let document = json!({
        "uri": mount.uri,
        "read_only": mount.read_only,
        "freshness": freshness_document(mount.freshness),
        "coherence": match mount.coherence { Coherence::Strict => "STRICT", Coherence::Relaxed => "RELAXED" },
        "state": mount.state,
    });
    output::named("path", &mount.path.to_bytes(), document)
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
            return Err(Failure::usage(format!("--option {option}: write NAME=VALUE")));
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
