//! How results look: a JSON document for scripts, aligned columns for people.
//!
//! What people see is one line each, whatever names it has: control characters, which could forge lines, colours or
//! orders to a terminal, are shown as escapes. JSON loses nothing.

use std::io::{self, Write};
use std::ops::ControlFlow;

use forebay_types::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::printable::printable;

/// Prints one JSON document.
pub(crate) fn print_json<T: Serialize>(document: &T) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(document).map_err(|error| Failure::start("cannot print JSON", error))?;
    print_text(&text)
}

/// Prints a line for people. A reader that has gone away, such as `head`, is no failure.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print_text(&printable(line))
}

/// Prints one of many lines for people. `Break` when nobody reads them any more, so that no others need be made.
pub(crate) fn print_listed(line: &str) -> Result<ControlFlow<()>, Failure> {
    match write(&printable(line)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        written => printed(written).map(ControlFlow::Continue),
    }
}

/// Prints text as it is, with a line end.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    printed(write(text))
}

/// What becomes of a command whose output ended so.
pub(crate) fn printed(written: io::Result<()>) -> Result<(), Failure> {
    match written.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::start("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}

/// Prints to standard error. If that cannot be written to either, there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints rows under a heading, each column as wide as its widest cell.
pub(crate) fn print_table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    table(heading, rows).iter().try_for_each(|line| print_text(line))
}

fn table(heading: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let printable_row = |row: &Vec<String>| row.iter().map(|cell| printable(cell)).collect();
    let mut all: Vec<Vec<String>> = vec![heading.iter().map(|&cell| cell.to_owned()).collect()];
    all.extend(rows.iter().map(printable_row));
    let width =
        |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..heading.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

/// A name or path as people see it: bytes that are not UTF-8 are replaced.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Adds a name or path to a document: as text under `key` and, where that would lose bytes which are not UTF-8, whole
/// in hexadecimal under `KEY_hex`.
pub(crate) fn named(key: &str, bytes: &[u8], mut document: Value) -> Value {
    document[key] = shown(bytes).into();
    if std::str::from_utf8(bytes).is_err() {
        document[format!("{key}_hex")] = hex(bytes).into();
    }
    document
}

/// A time as RFC 3339.
pub(crate) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.nanos()))
        .map_or_else(|_| at.nanos().to_string(), |at| at.to_string())
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_rfc_3339_also_before_1970() {
        assert_eq!(time(Timestamp::from_parts(0, 5)), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(time(Timestamp::from_parts(-1, 0)), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn a_cell_of_a_table_stays_in_its_line_and_column() {
        let rows = [vec!["/a\n/b".to_owned(), "1".to_owned()], vec!["/c".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["PATH", "N"], &rows), ["PATH    N", "/a\\n/b  1", "/c      2"]);
    }

    #[test]
    fn names_that_are_not_utf_8_differ_in_the_document() {
        assert_eq!(named("name", "ä".as_bytes(), json!({})), json!({"name": "ä"}));
        let (one, other) = (named("name", b"a\xfe", json!({})), named("name", b"a\xff", json!({})));
        assert_eq!(one, json!({"name": "a\u{fffd}", "name_hex": "61fe"}));
        assert_eq!(other["name_hex"], "61ff");
        // Also where the name really has the replacement character.
        assert_eq!(named("name", "a\u{fffd}".as_bytes(), json!({})), json!({"name": "a\u{fffd}"}));
    }
}
