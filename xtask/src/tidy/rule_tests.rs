//! Each rule of docs/semantics.md names the tests that show it, and there are tests of these names.
//!
//! A rule is an item of a list, which ends with ``(test: `name`, `name`)``, or a row of a table, whose last column is
//! `test`. A paragraph may end as an item does; one that does not is an explanation. A test is a `fn` with an attribute
//! that makes the compiler run it, in a `proptest!` as anywhere else.

use std::collections::BTreeSet;

use super::Finding;
use super::markdown::prose;
use crate::lexer::is_word;
use crate::tree::{SourceFile, Tree};

const DOCUMENT: &str = "docs/semantics.md";
const OPENING: &str = "(test: ";
const COLUMN: &str = "test";
const NO_TEST: &str =
    "the rule names no test: end it with (test: `name`), and write that test if there is none";
const NO_COLUMN: &str =
    "the table has no last column `test`: each of its rows is a rule, and names a test there";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file(DOCUMENT) else { return Vec::new() };
    let tests = tests(tree);
    let mut findings = Vec::new();
    for part in parts(&file.text) {
        let names = match part.kind {
            Kind::Item | Kind::Paragraph => after_opening(part.text),
            Kind::Row => part.text.trim_end_matches('|').rfind('|').map(|bar| bar + 1),
            Kind::HeadOfTable => {
                let is_there =
                    part.text.split('|').map(str::trim).rfind(|cell| !cell.is_empty()) == Some(COLUMN);
                findings.extend((!is_there).then(|| Finding::at(file, part.offset, NO_COLUMN)));
                continue;
            }
        };
        let names = names.map(|begin| quoted(part.offset + begin, &part.text[begin..])).unwrap_or_default();
        if names.is_empty() && part.kind != Kind::Paragraph {
            findings.push(Finding::at(file, part.offset, NO_TEST));
        }
        findings.extend(
            names.into_iter().filter(|(_, name)| !tests.contains(*name)).map(|found| gone(file, found)),
        );
    }
    findings
}

fn gone(file: &SourceFile, (at, name): (usize, &str)) -> Finding {
    Finding::at(
        file,
        at,
        format!("no test is called `{name}`: name the one that shows this rule, or write it"),
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Item,
    Paragraph,
    HeadOfTable,
    Row,
}

/// Lines of the document that belong together.
#[derive(Debug)]
struct Part<'a> {
    kind: Kind,
    offset: usize,
    text: &'a str,
}

/// The document taken apart: items up to the next item or empty line, paragraphs, and the lines of tables but for the
/// one that only draws.
fn parts(document: &str) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    // Whether a line may go on with the last part.
    let mut is_open = false;
    for (offset, line) in prose(document) {
        let kind = match line.trim_start() {
            "" => None,
            text if text.starts_with('#') => None,
            text if text.starts_with("|--") => continue,
            text if text.starts_with('|') => {
                let is_in_table =
                    is_open && matches!(parts.last(), Some(Part { kind: Kind::HeadOfTable | Kind::Row, .. }));
                Some(if is_in_table { Kind::Row } else { Kind::HeadOfTable })
            }
            text if is_item(text) => Some(Kind::Item),
            _ if is_open => {
                if let Some(part) = parts.last_mut() {
                    part.text = &document[part.offset..offset + line.len()];
                }
                continue;
            }
            _ => Some(Kind::Paragraph),
        };
        is_open = kind.is_some();
        parts.extend(kind.map(|kind| Part { kind, offset, text: line }));
    }
    parts
}

/// Whether a line begins an item: `- ` or `12. `.
fn is_item(line: &str) -> bool {
    let after_number = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
    line.starts_with("- ") || (after_number.len() < line.len() && after_number.starts_with(". "))
}

/// Where the names begin of a text that ends with them.
fn after_opening(text: &str) -> Option<usize> {
    let begin = text.rfind(OPENING).filter(|_| text.ends_with("`)"))? + OPENING.len();
    (!text[begin..text.len() - 1].contains(')')).then_some(begin)
}

/// What stands between backticks, with offsets from the document's begin.
fn quoted(offset: usize, text: &str) -> Vec<(usize, &str)> {
    let mut at = offset;
    let parts = text.split('`').map(|part| {
        let begin = at;
        at += part.len() + 1;
        (begin, part)
    });
    parts.skip(1).step_by(2).collect()
}

/// The names of all tests of the repository.
fn tests(tree: &Tree) -> BTreeSet<&str> {
    let mut tests = BTreeSet::new();
    for (_, views) in tree.rust() {
        let code = views.code.as_str();
        for attribute in ["#[test]", "#[tokio::test]", "#[tokio::test("] {
            for (at, _) in code.match_indices(attribute) {
                tests.extend(function_after(&code[at..]));
            }
        }
    }
    tests
}

/// The name of the function that attributes at the begin of `code` belong to.
fn function_after(code: &str) -> Option<&str> {
    let head = &code[..code.find('{')?];
    let at = head.find("fn ")? + "fn ".len();
    let length = head[at..].bytes().take_while(|byte| is_word(*byte)).count();
    Some(&head[at..at + length])
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    const CODE: &str = "//! A.\nfn no_test() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn one() {}\n    \
                        #[tokio::test(flavor = \"multi_thread\")]\n    // Why.\n    #[should_panic(expected = \"{\")]\n    \
                        async fn two() {}\n    proptest! {\n        #[test]\n        fn three(a in 0..9) {}\n    }\n}\n";

    fn of(document: &str) -> Vec<String> {
        said(check, &[("a/src/b.rs", CODE), ("docs/semantics.md", document), ("docs/cli.md", "- A flag.\n")])
    }

    const NO_TEST: &str =
        "the rule names no test: end it with (test: `name`), and write that test if there is none";

    #[test]
    fn rules_of_each_form_with_their_tests_are_left_alone() {
        let document = "# Rules\n\nWords that explain.\n\n- A rule\n  of two lines (and more). (test: `one`,\n  `two`)\n\
                        - Another. (test: `three`)\n\n12. A third. (test: `one`)\n\n\
                        | a | what | test |\n|---|---|---|\n| `b` | c | `one`, `two` |\n\nA last one. (test: `two`)\n\
                        ```\n- no rule\n```\n";
        assert_eq!(of(document), [""; 0]);
    }

    #[test]
    fn a_rule_without_a_test_is_found() {
        for rule in [
            "- A rule.",
            "7. A rule.",
            "- A rule (`one`).",
            "- (test: `one`) A rule.",
            "  - A rule. (test: )",
        ] {
            assert_eq!(
                of(&format!("# Rules\n{rule}\n")),
                [format!("docs/semantics.md:2: {NO_TEST}")],
                "{rule}"
            );
        }
        let rows = "| a | test |\n|---|---|\n| `one` | |\n| b | one |\n";
        assert_eq!(of(rows), [3, 4].map(|line| format!("docs/semantics.md:{line}: {NO_TEST}")));
        let message =
            "the table has no last column `test`: each of its rows is a rule, and names a test there";
        assert_eq!(of("| a | b |\n|---|---|\n| a | `one` |\n"), [format!("docs/semantics.md:1: {message}")]);
    }

    #[test]
    fn a_test_that_does_not_exist_is_found() {
        let message = |line: u8, name: &str| {
            format!(
                "docs/semantics.md:{line}: no test is called `{name}`: name the one that shows this rule, or write it"
            )
        };
        let document = "- A rule. (test: `one`,\n  `no_test`)\n\nWords. (test: `four`)\n\n| a | test |\n|---|---|\n| b | `tests` |\n";
        assert_eq!(of(document), [message(2, "no_test"), message(4, "four"), message(8, "tests")]);
    }
}
