//! `forebay admin journal inspect`: a master's log, or its state, read from its folder for people.
//!
//! What cannot be read is named in its place, the rest is shown, and the command then ends as failed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use forebay_master::journal::{
    Journal, JournalBody, JournalCommand, JournalHeading, JournalLine, StateJournal, StateLine,
};
use serde_json::{Value, json};

use crate::args::{GlobalArguments, InspectArguments, OutputFormat};
use crate::failure::Failure;
use crate::output::{self, print_listed, time};
use crate::settings::Settings;

pub(super) fn run(global: &GlobalArguments, arguments: &InspectArguments) -> Result<(), Failure> {
    let dir = folder(global, arguments)?;
    if let (Some(from), Some(to)) = (arguments.from, arguments.to)
        && from > to
    {
        return Err(Failure::usage(format!("--from {from} --to {to}: the first entry comes after the last")));
    }
    if arguments.state { inspect_state(global, &dir) } else { inspect_log(global, &dir, arguments) }
}

/// The folder that was named, or else the one that a master would use.
fn folder(global: &GlobalArguments, arguments: &InspectArguments) -> Result<PathBuf, Failure> {
    if let Some(dir) = &arguments.dir {
        return Ok(dir.clone());
    }
    let settings = Settings::resolve(global, toml::Table::new(), "error")?;
    settings.master.dir.ok_or_else(|| Failure::usage("say with --dir which master's folder to look into"))
}

fn inspect_log(global: &GlobalArguments, dir: &Path, arguments: &InspectArguments) -> Result<(), Failure> {
    let journal = Journal::open(dir).map_err(|error| cannot(dir, error))?;
    let heading = journal.heading();
    let mut shown = Shown::new(global.output, heading.damage.clone());
    shown.begin(heading_lines(&heading), heading_document(&heading), "entries")?;
    for line in journal.lines(arguments.from, arguments.to) {
        match &line {
            JournalLine::Unreadable { first, last, .. } => shown.unreadable += last - first + 1,
            JournalLine::Entry { body: JournalBody::Commands(commands), .. } => {
                shown.unreadable += u64::from(commands.iter().any(Result::is_err));
            }
            JournalLine::Entry { .. } => {}
        }
        let lines: Vec<_> = line.to_string().lines().map(str::to_owned).collect();
        if shown.item(&lines, || line_document(&line))?.is_break() {
            return Ok(());
        }
    }
    shown.end(dir, "entries")
}

fn inspect_state(global: &GlobalArguments, dir: &Path) -> Result<(), Failure> {
    let state = StateJournal::open(dir).map_err(|error| cannot(dir, error))?;
    let applied = state.applied().unwrap_or_else(|error| error.to_string());
    let members = state.members().unwrap_or_else(|error| error.to_string());
    let mut shown = Shown::new(global.output, state.damage());
    let heading = vec![format!("# applied {applied}"), format!("# {members}")];
    shown.begin(heading, json!({ "applied": applied, "members": members }), "rows")?;
    for row in state.rows() {
        let (text, document) = match &row {
            Ok(StateLine { table, key, checksum, value }) => {
                let (words, what) = match value {
                    Ok(words) => (words.clone(), "value"),
                    Err(problem) => (format!("UNREADABLE  {problem}"), "problem"),
                };
                shown.unreadable += u64::from(value.is_err());
                let checksum = format!("{checksum:08x}");
                let words_or_problem = value.as_ref().unwrap_or_else(|problem| problem);
                let document =
                    json!({ "table": table, "key": key, "crc32c": checksum, what: words_or_problem });
                (format!("{table} {key} {checksum} {words}"), document)
            }
            Err(error) => {
                shown.unreadable += 1;
                (format!("UNREADABLE  {error}"), json!({ "problem": error.to_string() }))
            }
        };
        if shown.item(&[text], || document)?.is_break() {
            return Ok(());
        }
    }
    shown.end(dir, "rows")
}

fn cannot(dir: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!(
        "cannot look into {}: {error}; nothing was changed, and --dir takes the folder that `forebay master --dir` was given",
        dir.display()
    ))
}

fn heading_lines(heading: &JournalHeading) -> Vec<String> {
    let JournalHeading { node, vote, purged, range, .. } = heading;
    let range = range.map_or("none".to_owned(), |(first, last)| format!("{first} to {last}"));
    vec![format!("# node {node}, {vote}"), format!("# purged {purged}; entries {range}")]
}

fn heading_document(heading: &JournalHeading) -> Value {
    let JournalHeading { node, vote, purged, range, .. } = heading;
    let (first, last) = range.unzip();
    json!({ "node": node, "vote": vote, "purged": purged, "first": first, "last": last })
}

fn line_document(line: &JournalLine) -> Value {
    match line {
        JournalLine::Unreadable { first, last, problem } => {
            json!({ "index": first, "last": last, "problem": problem })
        }
        JournalLine::Entry { index, term, body } => {
            let mut document = json!({ "index": index, "term": term });
            match body {
                JournalBody::NewLeader => document["kind"] = "new_leader".into(),
                JournalBody::Members(words) => {
                    document["kind"] = "members".into();
                    document["members"] = words.as_str().into();
                }
                JournalBody::Commands(commands) => {
                    document["kind"] = "commands".into();
                    document["commands"] = commands.iter().map(command_document).collect();
                }
            }
            document
        }
    }
}

fn command_document(command: &Result<JournalCommand, String>) -> Value {
    match command {
        Ok(JournalCommand { at, session, name, arguments }) => json!({
            "time": time(*at),
            "session": session.map(|(session, _)| session.get()),
            "sequence": session.map(|(_, sequence)| sequence.get()),
            "command": name,
            "arguments": arguments,
        }),
        Err(problem) => json!({ "problem": problem }),
    }
}

/// What was shown so far: lines for people, or one document that is written piece by piece, however long it is.
struct Shown {
    format: OutputFormat,
    damage: Option<String>,
    items: u64,
    unreadable: u64,
}

impl Shown {
    const fn new(format: OutputFormat, damage: Option<String>) -> Self {
        Self { format, damage, items: 0, unreadable: 0 }
    }

    fn begin(&self, heading: Vec<String>, mut document: Value, list: &str) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Text => {
                let damage = self.damage.iter().map(|damage| format!("# DAMAGED  {damage}"));
                heading.into_iter().chain(damage).try_for_each(|line| output::print_line(&line))
            }
            OutputFormat::Json => {
                document["damage"] = self.damage.clone().into();
                let text = document.to_string();
                let open = text.strip_suffix('}').unwrap_or(&text);
                output::print_text(&format!("{open},\"{list}\":["))
            }
        }
    }

    fn item(
        &mut self,
        lines: &[String],
        document: impl FnOnce() -> Value,
    ) -> Result<ControlFlow<()>, Failure> {
        let separator = if self.items == 0 { "" } else { "," };
        self.items += 1;
        match self.format {
            OutputFormat::Text => {
                for line in lines {
                    if print_listed(line)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            OutputFormat::Json => output::print_text(&format!("{separator}{}", document()))?,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(self, dir: &Path, what: &str) -> Result<(), Failure> {
        if self.format == OutputFormat::Json {
            output::print_text("]}")?;
        }
        let way_out = "the rest is shown; start another master from a backup, or let it be sent a snapshot, rather than go \
                       on with a damaged folder";
        match (self.unreadable, self.damage) {
            (0, None) => Ok(()),
            (0, Some(damage)) => {
                Err(Failure::new(format!("{} is damaged: {damage}; {way_out}", dir.display())))
            }
            (count, _) => {
                Err(Failure::new(format!("{count} {what} in {} cannot be read; {way_out}", dir.display())))
            }
        }
    }
}
