//! A name says what a thing is: words that fit everything (Manager, Helper, ...) are kept out of names.

use super::Finding;
use crate::lexer::words;
use crate::tree::Tree;

const FORBIDDEN: [&str; 11] = [
    "manager", "managers", "handler", "handlers", "helper", "helpers", "util", "utils", "common", "misc",
    "v2",
];
/// The keywords after which a name is given.
const INTRODUCTIONS: [&str; 8] = ["fn", "struct", "enum", "trait", "mod", "type", "union", "macro_rules!"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for part in file.path.split('/') {
            let stem = part.split('.').next().unwrap_or_default();
            if let Some(word) = forbidden(stem) {
                findings
                    .push(Finding::about(&file.path, format!("`{word}` in the path `{part}` says nothing")));
            }
        }
    }
    for (file, views) in tree.rust() {
        for introduction in INTRODUCTIONS {
            for at in words(&views.code, introduction) {
                let rest = views.code[at + introduction.len()..].trim_start();
                let name: String =
                    rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                if let Some(word) = forbidden(&name) {
                    findings.push(Finding::at(
                        file,
                        at,
                        format!("`{word}` in the name `{name}` says nothing"),
                    ));
                }
            }
        }
    }
    findings
}

/// The forbidden word in a name of either case; whole words only, so that `uncommon` is none.
fn forbidden(name: &str) -> Option<&'static str> {
    let letters: Vec<char> = name.chars().collect();
    let is_upper = |at: usize| letters.get(at).is_some_and(|letter| letter.is_uppercase());
    let is_lower = |at: usize| letters.get(at).is_some_and(|letter| letter.is_lowercase());
    let mut spaced = String::new();
    for (at, letter) in letters.iter().enumerate() {
        // In `HTTPServer` the second word begins at the last capital.
        if at > 0 && is_upper(at) && (!is_upper(at - 1) || is_lower(at + 1)) {
            spaced.push('_');
        }
        spaced.extend(letter.to_lowercase());
    }
    FORBIDDEN.into_iter().find(|word| spaced.split(['_', '-']).any(|own| own == *word))
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn names_that_say_nothing_are_found() {
        let planted = [
            ("struct BlockManager;", "`manager` in the name `BlockManager` says nothing"),
            ("fn read_helper() {}", "`helper` in the name `read_helper` says nothing"),
            ("mod utils {}", "`utils` in the name `utils` says nothing"),
            ("enum EventHandler {}", "`handler` in the name `EventHandler` says nothing"),
            ("struct HTTPHandler;", "`handler` in the name `HTTPHandler` says nothing"),
            ("trait MiscOps {}", "`misc` in the name `MiscOps` says nothing"),
            ("struct HeaderV2 { a: u8 }", "`v2` in the name `HeaderV2` says nothing"),
        ];
        for (text, message) in planted {
            assert_eq!(said(check, &[("a/b.rs", text)]), [format!("a/b.rs:1: {message}")]);
        }
        assert_eq!(
            said(check, &[("common/b.rs", "")]),
            ["common/b.rs:1: `common` in the path `common` says nothing"]
        );
    }

    #[test]
    fn longer_words_and_uses_are_not_names() {
        let text = "struct Uncommon; fn utility(handle: FileHandle) { x.common_prefixes() } // Manager";
        assert_eq!(said(check, &[("handles/utility.rs", text)]), [""; 0]);
    }
}
