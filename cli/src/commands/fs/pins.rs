//! `fs pin`, `unpin` and `pins`: what stays known.

use forebay_types::ErrorKind;
use serde_json::json;

use super::super::session::{Session, path};
use super::say;
use crate::args::{GlobalArguments, OutputFormat, PathArguments};
use crate::failure::Failure;
use crate::output::{hex, named, print_json, print_line};

/// `fs pin`.
pub(super) async fn pin(global: &GlobalArguments, arguments: &PathArguments) -> Result<(), Failure> {
    let at = path(&arguments.path)?;
    let client = Session::begin(global).await?.client;
    let already = client.pin(&at).await.map_err(|error| {
        let remedy = "`forebay fs ls` shows what is there";
        Failure::client_or(format!("pin {at}"), &error, &[ErrorKind::NotFound], remedy)
    })?;
    let done = if already { "was pinned before" } else { "pinned" };
    say(global, &format!("{done}: {at}"), || named("path", &at.to_bytes(), json!({ "already": already })))
}

/// `fs unpin`.
pub(super) async fn unpin(global: &GlobalArguments, arguments: &PathArguments) -> Result<(), Failure> {
    let at = path(&arguments.path)?;
    let client = Session::begin(global).await?.client;
    client.unpin(&at).await.map_err(|error| Failure::client(format!("unpin {at}"), &error))?;
    say(global, &format!("unpinned: {at}"), || named("path", &at.to_bytes(), json!({})))
}

/// `fs pins`.
pub(super) async fn pins(global: &GlobalArguments) -> Result<(), Failure> {
    let client = Session::begin(global).await?.client;
    let pins = client.pins().await.map_err(|error| Failure::client("list the pins", &error))?;
    match global.output {
        OutputFormat::Json => {
            let paths: Vec<_> = pins.iter().map(ToString::to_string).collect();
            let mut document = json!({ "paths": paths });
            if pins.iter().any(|path| std::str::from_utf8(&path.to_bytes()).is_err()) {
                let all: Vec<_> = pins.iter().map(|path| hex(&path.to_bytes())).collect();
                document["paths_hex"] = all.into();
            }
            print_json(&document)
        }
        OutputFormat::Text => pins.iter().try_for_each(|path| print_line(&path.to_string())),
    }
}
