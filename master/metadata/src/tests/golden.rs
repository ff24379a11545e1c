//! The bytes of what lies in logs and states, against the lines of `golden/`, which are never changed.

use std::fmt::Debug;

pub(super) mod commands;
mod replies;
mod rows;

/// The name of an enum's variant.
fn variant(value: &impl Debug) -> String {
    let shown = format!("{value:?}");
    let end = shown.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(shown.len());
    shown[..end].to_owned()
}
