//! What a command wants, in a few words for people who read a log. No secret is ever in them.

use forebay_types::NamespacePath;

use super::{ApplyListing, Command, Format};
use crate::mount::{MountOptions, OptionValue};

/// Paths and names that are shown of one command; of the rest only the number is told.
const SHOWN_MAX: usize = 4;

impl Command {
    /// Its essential arguments in one line. Names are escaped as `Display` of paths does it or quoted.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Format(Format { cluster, incarnation, .. }) => {
                format!("cluster {cluster}, incarnation {incarnation}")
            }
            Self::MountBefore(command) => mount(&command.clone().into()),
            Self::MountWithoutAdmission(command) => mount(&command.clone().into()),
            Self::Mount(command) => mount(command),
            Self::ChangeMountBefore(command) => change(&command.clone().into()),
            Self::ChangeMountWithoutAdmission(command) => change(&command.clone().into()),
            Self::ChangeMount(command) => change(command),
            Self::Unmount(command) => quoted(&command.path),
            Self::ApplyListing(command) => listing(command),
            Self::SupersedeVersion(command) => {
                let what = if command.fingerprint.is_some() { "has new content" } else { "is gone" };
                format!("{}, version {}, {what}", command.inode, command.seen)
            }
            Self::ForgetDirectory(command) => {
                format!("{}, up to {} names", command.directory, command.limit)
            }
            Self::ExpireSessions(command) => format!("not used since {}", command.before),
            Self::Reap(command) => format!("up to {} rows", command.limit),
            Self::AdmitWorker(_) => String::new(),
            Self::BeginLoad(command) => paths(&command.paths, command.last),
            Self::BeginMetadataLoad(command) => paths(&command.load.paths, command.load.last),
            Self::ExtendLoad(command) => {
                let more = paths(&command.paths, command.last);
                format!("{}, after {} paths: {more}", command.job, command.paths_before)
            }
            Self::AdvanceJob(command) => advance(command),
            Self::AdvanceMetadataLoad(command) => {
                format!("{}, {} directories done", advance(&command.advance), command.directories_done)
            }
            Self::EndJob(command) => end(command),
            Self::EndMetadataLoad(command) => {
                format!("{}, {} directories done", end(&command.end), command.directories_done)
            }
            Self::DescribeMount(command) => {
                let access = access(command.mode, command.uid, command.gid);
                format!("{}, listed from {}, {access}", command.root, command.begun_at)
            }
            Self::TrimOutbox(command) => format!("through {}", command.through),
            Self::MakeDirectory(command) => {
                let parents = if command.parents { ", and what is missing above" } else { "" };
                let access = access(command.mode, command.uid, command.gid);
                format!("{}{parents}, {access}", quoted(&command.path))
            }
            Self::RemoveDirectory(command) => quoted(&command.path),
            Self::Rename(command) => {
                let (from, to) = (quoted(&command.from), quoted(&command.to));
                format!("{from} to {to}, {} mounts sealed anew", command.resealed.len())
            }
            Self::SetAttributes(command) => {
                let access = access(command.mode, command.uid, command.gid);
                format!("{}, {access}", quoted(&command.path))
            }
            Self::Pin(command) => quoted(&command.path),
            Self::Unpin(command) => quoted(&command.path),
            Self::SetFeatureLevel(command) => format!("to {}", command.level),
        }
    }
}

fn quoted(path: &NamespacePath) -> String {
    format!("\"{}\"", path.to_string().escape_debug())
}

fn access(mode: Option<u32>, uid: Option<u32>, gid: Option<u32>) -> String {
    let text = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let mode = mode.map_or("-".to_owned(), |mode| format!("{mode:o}"));
    format!("mode {mode}, owner {}:{}", text(uid), text(gid))
}

fn mount(command: &super::Mount) -> String {
    let options = options(&command.options);
    format!("{} at {}{options}", command.uri, quoted(&command.path))
}

fn options(options: &MountOptions) -> String {
    let mut words = format!(", {:?}, {:?}", options.freshness, options.coherence);
    for (name, value) in &options.options {
        let name = name.escape_debug();
        match value {
            OptionValue::Plain(text) => words.push_str(&format!(", {name}=\"{}\"", text.escape_debug())),
            OptionValue::Reference(text) => words.push_str(&format!(", {name} from {}", text.escape_debug())),
            OptionValue::Sealed(_) => words.push_str(&format!(", {name} sealed")),
        }
    }
    words
}

fn change(command: &super::ChangeMount) -> String {
    let super::ChangeMount { path, freshness, coherence, on_outage, mode, admission } = command;
    let mut words = quoted(path);
    let changes = [
        freshness.map(|to| format!("{to:?}")),
        coherence.map(|to| format!("{to:?}")),
        on_outage.map(|to| format!("on_outage {to:?}")),
        mode.map(|to| format!("mode {to:?}")),
        admission.as_ref().map(|to| format!("caches {}", to.rule)),
    ];
    for change in changes.into_iter().flatten() {
        words.push_str(", ");
        words.push_str(&change);
    }
    words
}

fn listing(command: &ApplyListing) -> String {
    let ApplyListing { directory, begun_at, upserts, removals, complete } = command;
    let new = list(upserts.len(), upserts.iter().map(|entry| entry.name.to_string()));
    let gone = list(removals.len(), removals.iter().map(ToString::to_string));
    let rest = if *complete { "complete" } else { "more follows" };
    format!("{directory}, listed from {begun_at}: {new} found, {gone} gone, {rest}")
}

fn paths(paths: &[NamespacePath], last: bool) -> String {
    let rest = if last { "" } else { ", more follow" };
    format!("{}{rest}", list(paths.len(), paths.iter().map(ToString::to_string)))
}

/// How many, and the first of them.
fn list(count: usize, names: impl Iterator<Item = String>) -> String {
    let shown: Vec<_> = names.take(SHOWN_MAX).map(|name| format!("\"{}\"", name.escape_debug())).collect();
    match (count, shown.len()) {
        (0, _) => "0".to_owned(),
        (_, all) if all == count => format!("{count} ({})", shown.join(", ")),
        _ => format!("{count} ({}, ...)", shown.join(", ")),
    }
}

fn advance(command: &super::AdvanceJob) -> String {
    let progress = command.progress;
    let begins = if command.begins { ", begins" } else { "" };
    let (done, total, failures) = (progress.files_done, progress.files_total, command.failures.len());
    format!("{}{begins}, {done} of {total} files done, {failures} new failures", command.job)
}

fn end(command: &super::EndJob) -> String {
    let reason =
        command.reason.as_ref().map_or(String::new(), |reason| format!(": {}", reason.escape_debug()));
    format!("{} {}{reason}", command.job, command.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{name, path, uri};
    use forebay_types::{InodeId, LogIndex};

    #[test]
    fn secrets_are_not_told_and_names_cannot_forge_lines() {
        let options = [
            ("key".to_owned(), OptionValue::Sealed(b"sesame".to_vec())),
            ("end\n".to_owned(), OptionValue::Plain("a\nb".to_owned())),
        ];
        let options = MountOptions { options: options.into(), ..MountOptions::default() };
        let command = super::super::Mount { path: path("/d\nx"), uri: uri("s3://b"), options };
        let said = Command::Mount(command).summary();
        assert!(said.contains("key sealed") && !said.contains("sesame"), "{said}");
        assert!(!said.contains('\n'), "{said}");
        let secret = Command::Format(crate::testing::format(7)).summary();
        assert!(!secret.contains(&format!("{:?}", [7_u8; 4])[1..11]), "{secret}");
    }

    #[test]
    fn of_many_names_a_few_are_told() {
        let removals = ["a", "b", "c", "d", "e"].map(name).into();
        let (directory, begun_at) = (InodeId::new(4), LogIndex::new(9));
        let command = ApplyListing { directory, begun_at, upserts: vec![], removals, complete: true };
        let said = Command::ApplyListing(command).summary();
        assert!(said.ends_with("0 found, 5 (\"a\", \"b\", \"c\", \"d\", ...) gone, complete"), "{said}");
    }
}
