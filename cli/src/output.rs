//! How results look: a JSON document for scripts, aligned columns for people.

use serde::Serialize;

use crate::failure::Failure;

/// Prints one JSON document.
pub(crate) fn print_json<T: Serialize>(document: &T) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(document).map_err(|error| Failure::start("cannot print JSON", error))?;
    print_line(&text)
}

/// Prints a line. A reader that has gone away, such as `head`, is no failure.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::start("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Prints rows under a heading, each column as wide as its widest cell.
pub(crate) fn print_table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>();
        padded.join("  ").trim_end().to_owned()
    };
    print_line(&line(&mut heading.iter().copied()))?;
    rows.iter().try_for_each(|row| print_line(&line(&mut row.iter().map(String::as_str))))
}

/// Text for a terminal: control characters, which could forge lines or colours, are shown as escapes.
pub(crate) fn printable(text: &str) -> String {
    let show = |letter: char| {
        if letter.is_control() { letter.escape_default().collect::<String>() } else { letter.to_string() }
    };
    text.chars().map(show).collect()
}

/// A path as people and JSON see it: bytes that are not UTF-8 are replaced.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
