//! The file of a history: a line for each operation and note, for people and to be checked again.
//!
//! `op CLIENT CALLED RETURNED OPERATION = OUTCOME` and `note AT TEXT`, times in nanoseconds. The first line names the format.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::history::{History, Note, Recorded};
use crate::limits::{LINE_LENGTH_MAX, OPERATIONS_MAX};
use crate::operation::{Answer, Operation, Outcome, Refusal};

const FORMAT: &str = "forebay-history 1";

/// A line of a file that is none of a history.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} is none of a history: {what}")]
pub struct DefectiveLine {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\nseed {}", self.seed)?;
        let mut lines: Vec<(u64, String)> =
            self.notes.iter().map(|note| (note.at, format!("note {} {}", note.at, note.text))).collect();
        lines.extend(self.operations.iter().map(|recorded| (recorded.called, format!("op {recorded}"))));
        lines.sort_by_key(|(at, _)| *at);
        lines.iter().try_for_each(|(_, line)| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, called, returned, operation, outcome } = self;
        write!(f, "{client} {called} {returned} {operation} = {outcome}")
    }
}

impl FromStr for History {
    type Err = DefectiveLine;

    fn from_str(text: &str) -> Result<Self, DefectiveLine> {
        let mut history = Self::default();
        for (position, line) in text.lines().enumerate() {
            let defective = |what: &str| DefectiveLine { line: position + 1, what: what.to_owned() };
            if line.len() > LINE_LENGTH_MAX || history.operations.len() >= OPERATIONS_MAX {
                return Err(defective("too long"));
            }
            if position == 0 {
                if line != FORMAT {
                    return Err(defective("the first one is to name the format"));
                }
            } else {
                history.take(line).ok_or_else(|| defective(line))?;
            }
        }
        if text.is_empty() {
            return Err(DefectiveLine { line: 1, what: "the file is empty".into() });
        }
        Ok(history)
    }
}

impl History {
    fn take(&mut self, line: &str) -> Option<()> {
        match line.split_once(' ')? {
            ("seed", seed) => self.seed = seed.parse().ok()?,
            ("note", rest) => {
                let (at, text) = rest.split_once(' ')?;
                self.notes.push(Note { at: at.parse().ok()?, text: text.to_owned() });
            }
            ("op", rest) => self.operations.push(recorded(rest)?),
            _ => return None,
        }
        Some(())
    }
}

fn recorded(text: &str) -> Option<Recorded> {
    let (asked, outcome) = text.split_once(" = ")?;
    let mut words = asked.split(' ');
    let (client, called) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let returned = words.next()?.parse().ok().filter(|returned| *returned >= called)?;
    let operation = operation(&words.collect::<Vec<_>>())?;
    Some(Recorded { client, called, returned, operation, outcome: self::outcome(outcome)? })
}

fn operation(words: &[&str]) -> Option<Operation> {
    let path = |path: &str| path.starts_with('/').then(|| path.to_owned());
    let mode = |mode: &str| u16::from_str_radix(mode, 8).ok();
    Some(match *words {
        ["mkdir", at, bits] => Operation::MakeDirectory { path: path(at)?, mode: mode(bits)? },
        ["rmdir", at] => Operation::RemoveDirectory { path: path(at)? },
        ["rename", from, to] => Operation::Rename { from: path(from)?, to: path(to)? },
        ["chmod", at, bits] => Operation::SetMode { path: path(at)?, mode: mode(bits)? },
        ["stat", at] => Operation::Stat { path: path(at)? },
        ["list", inode] => Operation::List { inode: inode.parse().ok()? },
        _ => return None,
    })
}

fn outcome(text: &str) -> Option<Outcome> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some(match word {
        "done" if rest.is_empty() => Outcome::Ok(Answer::Done),
        "made" => Outcome::Ok(Answer::Made(rest.parse().ok()?)),
        "seen" => {
            let (inode, mode) = rest.split_once(' ')?;
            Outcome::Ok(Answer::Seen { inode: inode.parse().ok()?, mode: u16::from_str_radix(mode, 8).ok()? })
        }
        "names" => {
            let names = rest.split(' ').filter(|name| !name.is_empty());
            Outcome::Ok(Answer::Names(names.map(str::to_owned).collect()))
        }
        "refused" => Outcome::Refused(Refusal::ALL.into_iter().find(|refusal| refusal.word() == rest)?),
        "unknown" => Outcome::Unknown(rest.to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
forebay-history 1
seed 42
op 1 10 20 mkdir /a 0017 = made 7
note 15 kill master 2
op 2 15 30 rename /a /b/x = refused not-found
op 1 25 40 chmod /a 0020 = unknown no master answered within 2s = at all
op 3 26 27 stat /a = seen 7 0017
op 3 28 29 list 1 = names a b
op 3 30 31 list 7 = names
op 3 32 33 rmdir /b = refused not-empty
";

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let history: History = FILE.parse().unwrap();
        assert_eq!((history.seed, history.operations.len(), history.notes.len()), (42, 7, 1));
        assert_eq!(history.to_string(), FILE);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (file, line) in [
            ("", 1),
            ("forebay-history 2\n", 1),
            ("forebay-history 1\nop 1 2 3 mkdir /a = done\n", 2),
            ("forebay-history 1\nseed 1\nop 1 3 2 rmdir /a = done\n", 3),
            ("forebay-history 1\nop 1 2 3 rmdir a = done\n", 2),
            ("forebay-history 1\nop 1 2 3 rmdir /a = refused maybe\n", 2),
            ("forebay-history 1\nop 1 2 3 rmdir /a\n", 2),
        ] {
            assert_eq!(file.parse::<History>().map_err(|defect| defect.line), Err(line), "{file}");
        }
    }
}
