//! Nothing half done is committed: what is here works, what is not here is absent.

use super::Finding;
use crate::lexer::words;
use crate::tree::Tree;

const MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
const NOTES: [&str; 2] = ["FIXME", "XXX"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, views) in tree.rust() {
        for name in MACROS {
            let found = words(&views.code, name);
            findings.extend(found.map(|at| Finding::at(file, at, format!("`{name}` is left over"))));
        }
        for note in NOTES {
            let found = words(&views.comments, note);
            findings
                .extend(found.map(|at| Finding::at(file, at, format!("`{note}` is left over: mend it now"))));
        }
        let ignored = words(&views.code, "ignore").filter(|at| is_attribute(&views.code, *at));
        findings.extend(ignored.map(|at| Finding::at(file, at, "a test is ignored: mend it or remove it")));
    }
    findings
}

/// Whether the word at `at` begins an attribute, or is the second half of a `cfg_attr`.
fn is_attribute(code: &str, at: usize) -> bool {
    let before = code[..at].trim_end();
    let begin = before.rfind("#[").unwrap_or(0);
    before.ends_with("#[") || (code[begin..].starts_with("#[cfg_attr") && before.ends_with(','))
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn each_sort_of_leftover_is_found() {
        let planted = [
            ("fn a() { todo!() }", "`todo!` is left over"),
            ("fn a() { unimplemented!(\"b\") }", "`unimplemented!` is left over"),
            ("fn a() { dbg!(1); }", "`dbg!` is left over"),
            ("// FIXME: later", "`FIXME` is left over: mend it now"),
            ("#[ignore]", "a test is ignored: mend it or remove it"),
            ("#[ignore = \"slow\"]", "a test is ignored: mend it or remove it"),
            ("#[cfg_attr(miri, ignore)]", "a test is ignored: mend it or remove it"),
        ];
        for (text, message) in planted {
            assert_eq!(said(check, &[("a.rs", text)]), [format!("a.rs:1: {message}")]);
        }
    }

    #[test]
    fn words_that_only_look_like_leftovers_are_not() {
        let text = "//! Says todo! in prose.\nfn ignore() { a.ignore(\"FIXME dbg!\"); m::mytodo!() }";
        assert_eq!(said(check, &[("a.rs", text)]), [""; 0]);
    }
}
