//! Every configuration key stands in docs/config.md, and the document names no key that is gone.
//!
//! The keys are the fields of the struct `FileConfig` and, as `section.key`, those of the configuration structs
//! (`deny_unknown_fields`) that its fields have as types.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::table::first_column;
use crate::lexer::{Views, is_word, words};
use crate::tree::{SourceFile, Tree};

const DOCUMENT: &str = "docs/config.md";
const ROOT: &str = "FileConfig";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let structs = structs(tree);
    let mut keys = BTreeMap::new();
    collect(ROOT, "", &structs, &mut BTreeSet::new(), &mut keys);
    let document = tree.file(DOCUMENT).map_or("", |file| file.text.as_str());
    let documented = first_column(document);
    let missing = keys.iter().filter(|(key, _)| !documented.iter().any(|(_, known)| known == *key));
    let mut findings: Vec<_> = missing
        .map(|(key, (file, at))| Finding::at(file, *at, format!("key `{key}` has no row in {DOCUMENT}")))
        .collect();
    if let Some(file) = tree.file(DOCUMENT) {
        let gone = documented.iter().filter(|(_, key)| !keys.contains_key(*key));
        findings
            .extend(gone.map(|(at, key)| Finding::at(file, *at, format!("no code reads the key `{key}`"))));
    }
    findings
}

struct ConfigStruct<'a> {
    file: &'a SourceFile,
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    offset: usize,
    name: String,
    /// The type as written.
    shape: &'a str,
}

type Keys<'a> = BTreeMap<String, (&'a SourceFile, usize)>;

/// Walks down from one struct; `above` ends the walk of types that contain themselves.
fn collect<'a>(
    name: &str,
    prefix: &str,
    structs: &BTreeMap<&'a str, ConfigStruct<'a>>,
    above: &mut BTreeSet<String>,
    keys: &mut Keys<'a>,
) {
    let Some(found) = structs.get(name) else { return };
    if !above.insert(name.to_owned()) {
        return;
    }
    for field in &found.fields {
        let key = format!("{prefix}{}", field.name);
        let section = field.shape.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        match section.into_iter().find(|word| structs.contains_key(word)) {
            Some(section) => collect(section, &format!("{key}."), structs, above, keys),
            None => {
                keys.insert(key, (found.file, field.offset));
            }
        }
    }
    above.remove(name);
}

/// The configuration structs of the product's code, by name.
fn structs(tree: &Tree) -> BTreeMap<&str, ConfigStruct<'_>> {
    let mut structs = BTreeMap::new();
    for (file, views) in tree.rust().filter(|(file, _)| !file.is_in("xtask")) {
        let code = &views.code[..file.tests_begin()];
        for at in words(code, "struct") {
            let before = code[..at].rfind([';', '}', '{']).map_or(0, |end| end + 1);
            if words(&code[before..at], "deny_unknown_fields").next().is_none() {
                continue;
            }
            let begin = at + "struct".len() + 1;
            let name = &code[begin..begin + word_length(&code[begin..])];
            if let Some(open) =
                code[begin..].find(['{', ';']).filter(|open| code[begin + open..].starts_with('{'))
            {
                let kebab = file.text[before..at].contains("rename_all = \"kebab-case\"");
                let fields = fields(file, views, begin + open + 1, kebab);
                structs.insert(name, ConfigStruct { file, fields });
            }
        }
    }
    structs
}

fn word_length(text: &str) -> usize {
    text.bytes().take_while(|byte| is_word(*byte)).count()
}

/// The fields of the struct whose body begins at `begin`.
fn fields<'a>(file: &'a SourceFile, views: &'a Views, begin: usize, kebab: bool) -> Vec<Field<'a>> {
    let mut fields = Vec::new();
    let (mut depth, mut from) = (0_i32, begin);
    for (at, letter) in views.code[begin..].char_indices().map(|(at, letter)| (begin + at, letter)) {
        let ends = depth == 0 && matches!(letter, ',' | '}');
        if ends {
            fields.extend(field(file, &views.code, from, at, kebab));
            from = at + 1;
        }
        match letter {
            '}' if depth == 0 => break,
            '<' | '(' | '[' | '{' => depth += 1,
            '>' | ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    fields
}

/// The field between two offsets: attributes, visibility, name, colon, type.
fn field<'a>(file: &SourceFile, code: &'a str, from: usize, to: usize, kebab: bool) -> Option<Field<'a>> {
    let after_attributes = code[from..to].rfind("]\n").map_or(from, |end| from + end + 1);
    let attributes = &file.text[from..after_attributes];
    if attributes.contains("skip") {
        return None;
    }
    let colon = after_attributes + code[after_attributes..to].find(':')?;
    let name = code[after_attributes..colon].trim().rsplit(' ').next()?;
    let renamed = attributes.split("rename = \"").nth(1).and_then(|rest| rest.split('"').next());
    let name = match renamed {
        Some(renamed) => renamed.to_owned(),
        None if kebab => name.replace('_', "-"),
        None => name.to_owned(),
    };
    let offset = colon - 1;
    Some(Field { offset, name, shape: &code[colon + 1..to] })
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    const CODE: &str = "//! Settings.
/// All settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// How much is said; { not a body, } nor its end.
    pub log_level: String,
    #[serde(rename = \"fuse-bridge\")]
    pub(crate) fuse: Option<FuseSection>,
    #[serde(skip)]
    origin: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = \"kebab-case\"
)]
struct FuseSection {
    #[serde(deserialize_with = \"a::b\")]
    attr_timeout: Option<Duration>,
    options: BTreeMap<String, (u8, u8)>,
}

struct Other { unrelated: u8 }
";

    fn document(rows: &[&str]) -> String {
        rows.iter().map(|row| format!("| `{row}` | x |\n")).collect()
    }

    #[test]
    fn each_key_needs_a_row() {
        let all = document(&["log_level", "fuse-bridge.attr-timeout", "fuse-bridge.options"]);
        assert_eq!(said(check, &[("cli/src/config.rs", CODE), ("docs/config.md", &all)]), [""; 0]);
        let found = said(check, &[("cli/src/config.rs", CODE)]);
        let missing = |line: u8, key: &str| {
            format!("cli/src/config.rs:{line}: key `{key}` has no row in docs/config.md")
        };
        assert_eq!(
            found,
            [
                missing(21, "fuse-bridge.attr-timeout"),
                missing(22, "fuse-bridge.options"),
                missing(7, "log_level")
            ]
        );
    }

    #[test]
    fn a_row_without_a_key_is_found() {
        let found = said(check, &[("docs/config.md", &document(&["gone"]))]);
        assert_eq!(found, ["docs/config.md:1: no code reads the key `gone`"]);
    }

    #[test]
    fn the_structs_of_tests_are_no_settings() {
        let code = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{CODE}\n}}\n");
        assert_eq!(
            said(check, &[("runtime/src/config.rs", &code), ("runtime/src/config/tests.rs", CODE)]),
            [""; 0]
        );
    }
}
