//! `fs mkdir`, `rmdir`, `mv`, `chmod` and `chown`: directories outside of mounts, which the namespace itself has.

use forebay_client::Access;
use forebay_types::ErrorKind;
use serde_json::{Value, json};

use super::super::session::{Session, path};
use crate::args::{
    ChmodArguments, ChownArguments, GlobalArguments, MkdirArguments, MvArguments, OutputFormat, PathArguments,
};
use crate::failure::Failure;
use crate::output::{named, print_json, print_line};

/// Permission bits of a directory that is made.
const MODE_DEFAULT: u32 = 0o755;
/// All permission bits, and those for set-id and sticky.
const MODE_BITS: u32 = 0o7777;

const SEE: &str = "`forebay fs ls` shows what is there";

/// `fs mkdir`. Whoever makes a directory owns it.
pub(super) async fn mkdir(global: &GlobalArguments, arguments: &MkdirArguments) -> Result<(), Failure> {
    let at = path(&arguments.path)?;
    let access = Access {
        mode: Some(MODE_DEFAULT),
        uid: Some(rustix::process::geteuid().as_raw()),
        gid: Some(rustix::process::getegid().as_raw()),
    };
    let client = Session::begin(global).await?.client;
    let made = client.make_directory(&at, arguments.parents, access).await;
    let (_, already) = made.map_err(|error| {
        let remedy = "make that first, or all at once with --parents";
        Failure::client_or(format!("make {at}"), &error, &[ErrorKind::NotFound], remedy)
    })?;
    let done = if already { "was there before" } else { "made" };
    say(global, &format!("{done}: {at}"), || named("path", &at.to_bytes(), json!({ "already": already })))
}

/// `fs rmdir`.
pub(super) async fn rmdir(global: &GlobalArguments, arguments: &PathArguments) -> Result<(), Failure> {
    let at = path(&arguments.path)?;
    let client = Session::begin(global).await?.client;
    client
        .remove_directory(&at)
        .await
        .map_err(|error| Failure::client_or(format!("remove {at}"), &error, &[ErrorKind::NotFound], SEE))?;
    say(global, &format!("removed: {at}"), || named("path", &at.to_bytes(), json!({})))
}

/// `fs mv`.
pub(super) async fn mv(global: &GlobalArguments, arguments: &MvArguments) -> Result<(), Failure> {
    let (from, to) = (path(&arguments.from)?, path(&arguments.to)?);
    let client = Session::begin(global).await?.client;
    let mounts = client.rename(&from, &to).await.map_err(|error| {
        Failure::client_or(format!("move {from} to {to}"), &error, &[ErrorKind::NotFound], SEE)
    })?;
    let with = if mounts > 0 { format!(", with {mounts} mounts") } else { String::new() };
    say(global, &format!("moved: {from} to {to}{with}"), || {
        let document = named("to", &to.to_bytes(), json!({ "mounts": mounts }));
        named("from", &from.to_bytes(), document)
    })
}

/// `fs chmod`.
pub(super) async fn chmod(global: &GlobalArguments, arguments: &ChmodArguments) -> Result<(), Failure> {
    let access = Access { mode: Some(mode(&arguments.mode)?), ..Access::default() };
    set(global, arguments.path.as_ref(), access).await
}

/// `fs chown`.
pub(super) async fn chown(global: &GlobalArguments, arguments: &ChownArguments) -> Result<(), Failure> {
    let (uid, gid) = owner(&arguments.owner)?;
    set(global, arguments.path.as_ref(), Access { mode: None, uid, gid }).await
}

async fn set(global: &GlobalArguments, typed: &std::ffi::OsStr, access: Access) -> Result<(), Failure> {
    let at = path(typed)?;
    let client = Session::begin(global).await?.client;
    let changed = client
        .set_attributes(&at, access)
        .await
        .map_err(|error| Failure::client_or(format!("change {at}"), &error, &[ErrorKind::NotFound], SEE))?;
    let done = if changed { "changed" } else { "was so before" };
    say(global, &format!("{done}: {at}"), || named("path", &at.to_bytes(), json!({ "changed": changed })))
}

fn say(global: &GlobalArguments, line: &str, document: impl FnOnce() -> Value) -> Result<(), Failure> {
    match global.output {
        OutputFormat::Json => print_json(&document()),
        OutputFormat::Text => print_line(line),
    }
}

fn mode(text: &str) -> Result<u32, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mode.filter(|mode| *mode <= MODE_BITS).ok_or_else(|| {
        Failure::usage(format!(
            "the mode {text} is no octal number up to {MODE_BITS:o}; write one such as 755"
        ))
    })
}

fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "the owner {text} is none; write numbers as UID, UID:GID or :GID, such as 1000:100"
        ))
    };
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        // The highest one means "as it was" to the kernel.
        text.parse().ok().filter(|number| digits && *number != u32::MAX).ok_or_else(wrong)
    };
    match text.split_once(':') {
        None => Ok((Some(number(text)?), None)),
        Some(("", gid)) => Ok((None, Some(number(gid)?))),
        Some((uid, gid)) => Ok((Some(number(uid)?), Some(number(gid)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_an_octal_number() {
        for (text, expected) in
            [("755", 0o755), ("0", 0), ("1777", 0o1777), ("00700", 0o700), ("7777", 0o7777)]
        {
            assert_eq!(mode(text).expect(text), expected);
        }
        for text in ["", "10000", "789", "u+x", "-1", "+755", "0o755", "7 5"] {
            let refused = mode(text).expect_err(text);
            assert_eq!(refused.exit_code(), crate::failure::USAGE, "{text}");
        }
    }

    #[test]
    fn an_owner_is_a_user_or_a_group_or_both() {
        for (text, expected) in [
            ("0", (Some(0), None)),
            ("1000:100", (Some(1000), Some(100))),
            (":100", (None, Some(100))),
            ("4294967294", (Some(u32::MAX - 1), None)),
        ] {
            assert_eq!(owner(text).expect(text), expected);
        }
        for text in ["", ":", "1:", "root", "1:2:3", "-1", "+1", "4294967295", "4294967296", "1.5"] {
            assert_eq!(owner(text).expect_err(text).exit_code(), crate::failure::USAGE, "{text}");
        }
    }
}
