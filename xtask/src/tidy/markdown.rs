//! What the rules about documents know of Markdown: which lines are prose, what in them is code, and the anchors that
//! GitHub gives to headings.
//!
//! It knows what our documents use: headings that begin with `#`, fenced code, code between single backticks.

use std::collections::BTreeMap;

/// The lines of a document that stand in no fenced code, each with its offset and without its end.
pub(super) fn prose(document: &str) -> Vec<(usize, &str)> {
    let (mut lines, mut offset, mut is_fenced) = (Vec::new(), 0, false);
    for line in document.split_inclusive('\n') {
        let is_fence = line.trim_start().starts_with("```");
        if !is_fence && !is_fenced {
            lines.push((offset, line.trim_end()));
        }
        is_fenced ^= is_fence;
        offset += line.len();
    }
    lines
}

/// A line with blanks for what stands between backticks, as long as it was.
pub(super) fn without_code(line: &str) -> String {
    let parts = line.split('`').enumerate();
    let blanked = parts.map(|(number, part)| match number % 2 {
        0 => part.to_owned(),
        _ => " ".repeat(part.len()),
    });
    blanked.collect::<Vec<_>>().join("`")
}

/// What a link may say after `#` to lead to a heading of this document.
///
/// GitHub keeps letters, digits, `-` and `_` of the heading's text, in lower case, with a `-` for each blank; a text that
/// comes again gets a number (github.com/gjtorikian/html-pipeline, `toc_filter.rb`).
pub(super) fn anchors(document: &str) -> Vec<String> {
    let mut times = BTreeMap::new();
    let headings = prose(document).into_iter().filter_map(|(_, line)| heading(line));
    headings
        .map(|text| {
            let anchor = anchor(&text);
            let before: &mut usize = times.entry(anchor.clone()).or_default();
            *before += 1;
            if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
        })
        .collect()
}

/// The text of a heading, of whose links only the words are part.
fn heading(line: &str) -> Option<String> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    let text = text.strip_prefix(' ').filter(|_| (1..=6).contains(&level))?;
    let mut words = String::new();
    for part in text.trim().split_inclusive("](") {
        // What follows a `](` is the rest of a target, up to its `)`.
        let part =
            if words.ends_with("](") { part.split_once(')').map_or("", |(_, rest)| rest) } else { part };
        words.push_str(part);
    }
    Some(words)
}

fn anchor(text: &str) -> String {
    let kept = text.to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fenced_code_is_no_prose() {
        let document = "a\n```sh\n# b\n```\n  c\n";
        assert_eq!(prose(document), [(0, "a"), (16, "  c")]);
    }

    #[test]
    fn code_between_backticks_is_blank_and_offsets_agree() {
        assert_eq!(without_code("a `b(é)` c `d"), "a `     ` c ` ");
    }

    #[test]
    fn headings_have_the_anchors_that_github_gives_them() {
        let document = "# Backup, restore and format\n## `forebay admin backup FILE`\n### A [b c](d.md#e) f\n\
                        #no heading\n## Names only\n## Names only\n```\n# not one\n```\n## it's 100_% – so\n";
        let expected = [
            "backup-restore-and-format",
            "forebay-admin-backup-file",
            "a-b-c-f",
            "names-only",
            "names-only-1",
            "its-100_--so",
        ];
        assert_eq!(anchors(document), expected);
    }
}
