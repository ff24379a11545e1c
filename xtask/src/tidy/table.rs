//! The names in the first column of a document's tables: rows that begin with a bar and a name between backticks.

/// Each name with its offset in the document.
pub(super) fn first_column(document: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let mut offset = 0;
    for line in document.split_inclusive('\n') {
        let cell = line.strip_prefix('|').map(str::trim_start).and_then(|cell| cell.strip_prefix('`'));
        if let Some((name, _)) = cell.and_then(|cell| cell.split_once('`')) {
            names.push((offset, name));
        }
        offset += line.len();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::first_column;

    #[test]
    fn only_rows_that_begin_with_a_name_count() {
        let document = "`a`\n| `b` | `c` |\n|---|---|\n|`d`|\n| e | `f` |\n";
        assert_eq!(first_column(document), [(4, "b"), (28, "d")]);
    }
}
