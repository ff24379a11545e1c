//! Documents and comments lead a reader only to what is in the repository.

use super::Finding;
use crate::tree::Tree;

/// Notes that the builders had beside the repository and that no reader has.
const PRIVATE: [&str; 7] =
    ["../shared", "/work/shared", "DESIGN.md", "STYLE.md", "LIMITS.md", "INTERFACE.md", "LAB.md"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let text = file.views.as_ref().map_or(&file.text, |views| &views.comments);
        for path in PRIVATE {
            let message =
                format!("`{path}` is not in the repository: say it here, or link to a page that is");
            findings.extend(text.match_indices(path).map(|(at, _)| Finding::at(file, at, message.clone())));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn a_path_that_no_reader_has_is_found() {
        let message = "`../shared` is not in the repository: say it here, or link to a page that is";
        assert_eq!(said(check, &[("docs/a.md", "b\nsee ../shared/x")]), [format!("docs/a.md:2: {message}")]);
        assert_eq!(said(check, &[("a.rs", "// see ../shared/x")]), [format!("a.rs:1: {message}")]);
        assert_eq!(
            said(check, &[("a.rs", "let a = \"../shared\";"), ("docs/b.md", "the shared part")]),
            [""; 0]
        );
    }
}
