//! A file is read in one sitting: 800 lines at the very most, and 80 for a `lib.rs`, which is a table of contents.
//!
//! The length of a function is clippy's (`too_many_lines`).

use super::Finding;
use crate::tree::Tree;

const FILE_LINES_MAX: usize = 800;
const LIB_LINES_MAX: usize = 80;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let too_long = |(file, _): (&crate::tree::SourceFile, _)| {
        let max = if file.name() == "lib.rs" { LIB_LINES_MAX } else { FILE_LINES_MAX };
        let lines = file.text.lines().count();
        (lines > max)
            .then(|| Finding::about(&file.path, format!("has {lines} lines, {max} are allowed: split it")))
    };
    tree.rust().filter_map(too_long).collect()
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn files_beyond_their_length_are_found() {
        let lines = |count: usize| "//! a\n".repeat(count);
        assert_eq!(said(check, &[("a/b.rs", &lines(800)), ("a/lib.rs", &lines(80))]), [""; 0]);
        assert_eq!(
            said(check, &[("a/b.rs", &lines(801))]),
            ["a/b.rs:1: has 801 lines, 800 are allowed: split it"]
        );
        assert_eq!(
            said(check, &[("a/lib.rs", &lines(81))]),
            ["a/lib.rs:1: has 81 lines, 80 are allowed: split it"]
        );
    }
}
