//! Every Rust file says in its first line what it is.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let bare = |text: &str| text.strip_prefix("//! ").is_none_or(|rest| rest.trim().is_empty());
    tree.rust()
        .filter(|(file, _)| bare(file.text.lines().next().unwrap_or_default()))
        .map(|(file, _)| Finding::about(&file.path, "begins without `//!` and a sentence on what it owns"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn a_file_that_does_not_say_what_it_is_is_found() {
        assert_eq!(said(check, &[("a/src/b.rs", "//! Owns b.\nfn a() {}")]), [""; 0]);
        for text in ["", "use a;\n//! late", "//!\nfn a() {}", "/// other\n"] {
            let expected = "a/src/b.rs:1: begins without `//!` and a sentence on what it owns";
            assert_eq!(said(check, &[("a/src/b.rs", text)]), [expected]);
        }
    }
}
