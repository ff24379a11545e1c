//! A link of a document to a file or heading of this repository leads somewhere.
//!
//! Targets are relative to the document, or to the repository where they begin with a slash. Links to other places are
//! not looked at: a check of ours needs no network.

use super::Finding;
use super::markdown::{anchors, prose, without_code};
use crate::tree::{SourceFile, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.name().ends_with(".md")) {
        for (at, target) in links(&file.text) {
            findings.extend(fault(tree, file, target).map(|message| Finding::at(file, at, message)));
        }
    }
    findings
}

/// The targets of a document's links and pictures, in prose and in definitions, with their offsets.
fn links(document: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (offset, line) in prose(document) {
        let seen = without_code(line);
        let inline = seen.match_indices("](").map(|(at, opening)| (at + opening.len(), ')'));
        let is_definition = seen.starts_with('[') && !seen.starts_with("[^");
        let definition = seen.find("]: ").filter(|_| is_definition).map(|at| (at + "]: ".len(), '\n'));
        for (begin, end) in inline.chain(definition) {
            let target = line[begin..].split(end).next().unwrap_or_default();
            // A title may follow the target.
            let target = target.split(' ').next().unwrap_or_default();
            links.push((offset + begin, target.trim_start_matches('<').trim_end_matches('>')));
        }
    }
    links
}

/// What is wrong with a target.
fn fault(tree: &Tree, from: &SourceFile, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let path = if path.is_empty() { Some(from.path.clone()) } else { resolve(&from.path, path) };
    let Some(path) = path.filter(|path| path.is_empty() || tree.paths.contains(path)) else {
        return Some(format!("the link `{target}` leads to no file: write its path as seen from here"));
    };
    let anchor = anchor.filter(|_| path.ends_with(".md"))?;
    let known = tree.file(&path).map(|file| anchors(&file.text)).unwrap_or_default();
    let is_known = known.iter().any(|known| known == anchor);
    (!is_known).then(|| format!("the link `{target}` leads to no heading: {path} has {}", known.join(", ")))
}

/// A target's path in the repository; `None` if it leads out of it. The repository itself is the empty path.
fn resolve(document: &str, path: &str) -> Option<String> {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let begin = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = begin.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    const OTHER: (&str, &str) = ("docs/adr/0001-a.md", "# A decision\n## Why\n");

    #[test]
    fn links_that_lead_somewhere_are_left_alone() {
        let document = "# Here\n[a](adr/0001-a.md) [b](adr/0001-a.md#why \"why\") [c](#here) [d](adr) [e](../docs/x.md)\n\
                        [f](https://host/a#b) ![g](/docs/adr/0001-a.md) [h](mailto:a@b) `[i](gone.md)` [j](..)\n\
                        ```\n[k](gone.md)\n```\n[l]: <adr/0001-a.md#a-decision>\n[^1]: a note\n";
        assert_eq!(said(check, &[OTHER, ("docs/x.md", document)]), [""; 0]);
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        for (target, path) in [("gone.md", "gone.md"), ("../../x.md", "../../x.md"), ("adr/0001-a.md/b", "")]
        {
            let found = said(check, &[OTHER, ("docs/x.md", &format!("# X\n[a]({target})\n"))]);
            assert!(found.len() == 1 && found[0].starts_with("docs/x.md:2: the link `"), "{found:?}");
            assert!(found[0].contains(path) && found[0].contains("leads to no file"), "{found:?}");
        }
        assert_eq!(said(check, &[("docs/x.md", "[a]: gone.md\n")]).len(), 1);
    }

    #[test]
    fn a_link_to_no_heading_is_found_with_those_that_there_are() {
        let found = said(check, &[OTHER, ("docs/x.md", "[a](adr/0001-a.md#whence)\n[b](#here)\n")]);
        let expected = [
            "docs/x.md:1: the link `adr/0001-a.md#whence` leads to no heading: docs/adr/0001-a.md has a-decision, why",
            "docs/x.md:2: the link `#here` leads to no heading: docs/x.md has ",
        ];
        assert_eq!(found, expected);
    }
}
