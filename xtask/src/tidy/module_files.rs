//! A module lies in `foo.rs` and the ones below it in `foo/`, so that no two open files have the same name.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let named_mod = tree.files.iter().filter(|file| file.name() == "mod.rs");
    named_mod.map(|file| Finding::about(&file.path, "write foo.rs beside foo/, not foo/mod.rs")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn a_file_called_mod_is_found() {
        assert_eq!(said(check, &[("a/foo.rs", ""), ("a/foo/bar.rs", "")]), [""; 0]);
        assert_eq!(
            said(check, &[("a/foo/mod.rs", "")]),
            ["a/foo/mod.rs:1: write foo.rs beside foo/, not foo/mod.rs"]
        );
    }
}
