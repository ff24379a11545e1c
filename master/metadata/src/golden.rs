//! Golden lines: bytes that some version wrote, kept as text beside the code, which each later version must read.
//!
//! For the tests of the crates that own a format. A file has a line for each kind of value, in the order in which they
//! came: a name, the bytes in hex, and a checksum of this line and of all before it. So no line can be changed, moved or
//! removed without changing all that follow, which nobody does by accident. Lines that begin with `#` are for people.

use std::collections::BTreeMap;

use forebay_types::crc32c;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// One kind of value, and what this version makes of it.
pub struct Case<'c> {
    name: String,
    written: Option<Vec<u8>>,
    read: Box<Read<'c>>,
}

/// Says what is wrong with how bytes are read, if anything is.
type Read<'c> = dyn Fn(&[u8]) -> Result<(), String> + 'c;

impl<'c> Case<'c> {
    /// A value that this version writes, and what says whether bytes are read as it.
    pub fn written(
        name: impl Into<String>,
        bytes: Vec<u8>,
        read: impl Fn(&[u8]) -> Result<(), String> + 'c,
    ) -> Self {
        Self { name: name.into(), written: Some(bytes), read: Box::new(read) }
    }

    /// A value that only earlier versions wrote.
    pub fn only_read(name: impl Into<String>, read: impl Fn(&[u8]) -> Result<(), String> + 'c) -> Self {
        Self { name: name.into(), written: None, read: Box::new(read) }
    }
}

/// Compares what `decoded` gave with what was expected.
///
/// # Errors
/// What differs, for [`Case`].
pub fn expect<T: PartialEq + std::fmt::Debug, E: std::fmt::Display>(
    decoded: Result<T, E>,
    expected: &T,
) -> Result<(), String> {
    match decoded {
        Ok(value) if value == *expected => Ok(()),
        Ok(value) => Err(format!("they are read as {value:?} instead of {expected:?}")),
        Err(error) => Err(format!("they are not read: {error}")),
    }
}

/// Checks that each line of a golden file is read as its case says, that what is written today is what stands there, and
/// that each of `kinds` has a case of its name, or of its name, a `/` and more.
///
/// # Panics
/// With what to do about it, when one of this is not so.
pub fn check(file: &str, text: &str, kinds: &[&str], cases: &[Case<'_>]) {
    let (lines, mut chain) = lines(file, text);
    for kind in kinds {
        let has_case = cases.iter().any(|case| {
            case.name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        assert!(
            has_case,
            "{kind} has no golden line: add a case of that name, with every field filled, to the test of {file}; the \
             test then prints the line to append"
        );
    }
    let mut new = String::new();
    for Case { name, written, read } in cases {
        let Some(golden) = lines.get(name.as_str()) else {
            let written = written.as_ref().unwrap_or_else(|| {
                panic!("{file} has no line {name}, which this version cannot write: put the line back")
            });
            chain = link(chain, name, written);
            new.push_str(&format!("{name} {} {chain:08x}\n", hex(written)));
            continue;
        };
        if let Some(written) = written {
            assert_eq!(
                hex(written),
                hex(golden),
                "{name} is written in other bytes than {file} has, so logs and states that exist could not be read, or \
                 not by masters that are not upgraded yet: undo the change, and append a variant or a format instead"
            );
        }
        if let Err(problem) = read(golden) {
            panic!("the bytes of {name} in {file} have changed their meaning: {problem}");
        }
    }
    assert!(new.is_empty(), "append these lines to {file}:\n{new}");
    for name in lines.keys() {
        let is_checked = cases.iter().any(|case| case.name == *name);
        assert!(is_checked, "the line {name} of {file} has no case: what was once written is read for ever");
    }
}

/// The variants of an enum, as serde knows them. None of what is no enum.
#[must_use]
pub fn variants<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    let _ = T::deserialize(Variants(&mut found));
    found
}

/// The bytes of each line by its name, for who makes more of them than [`check`] does.
///
/// # Panics
/// As [`check`], where the file was changed.
#[must_use]
pub fn read<'t>(file: &str, text: &'t str) -> BTreeMap<&'t str, Vec<u8>> {
    lines(file, text).0
}

/// The lines by their names, and the checksum of the last.
fn lines<'t>(file: &str, text: &'t str) -> (BTreeMap<&'t str, Vec<u8>>, u32) {
    let (mut lines, mut chain) = (BTreeMap::new(), 0);
    for (at, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parts: Vec<_> = line.split(' ').collect();
        let [name, digits, sum] = parts[..] else {
            panic!("{file}:{at}: a line has a name, bytes in hex and a checksum");
        };
        let bytes = unhex(digits).unwrap_or_else(|| panic!("{file}:{at}: the bytes are no hex"));
        chain = link(chain, name, &bytes);
        assert_eq!(
            sum,
            format!("{chain:08x}"),
            "{file}:{at}: this line, or one before it, was changed, moved or removed: golden lines never are; put back \
             what was there, and append"
        );
        assert!(lines.insert(name, bytes).is_none(), "{file}:{at}: {name} is there twice");
    }
    (lines, chain)
}

fn link(chain: u32, name: &str, bytes: &[u8]) -> u32 {
    let with_name = crc32c::crc32c_append(chain, name.as_bytes());
    crc32c::crc32c_append(with_name, bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

/// Notes the variants that an enum asks for, and gives it nothing.
struct Variants<'f>(&'f mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Variants<'_> {
    type Error = de::value::Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = variants;
        Err(de::Error::custom("only its variants were asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("it is no enum"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl std::fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[derive(Debug, Deserialize)]
    enum Kind {
        #[allow(dead_code, reason = "only its name is of use")]
        One,
        #[allow(dead_code, reason = "only its name is of use")]
        Two(u8),
    }

    const FILE: &str = "# for people\nOne 0a 2d0a1c5e\n";

    fn line(chain: u32, name: &str, bytes: &[u8]) -> String {
        format!("{name} {} {:08x}\n", hex(bytes), link(chain, name, bytes))
    }

    fn said(text: &str, kinds: &[&str], cases: &[Case<'_>]) -> String {
        match catch_unwind(AssertUnwindSafe(|| check("file", text, kinds, cases))) {
            Ok(()) => String::new(),
            Err(panic) => *panic.downcast::<String>().expect("a message"),
        }
    }

    fn any(_: &[u8]) -> Result<(), String> {
        Ok(())
    }

    #[test]
    fn variants_are_those_of_the_enum() {
        assert_eq!(variants::<Kind>(), ["One", "Two"]);
        assert_eq!(variants::<u8>(), [""; 0]);
    }

    #[test]
    fn what_is_as_it_was_passes_and_a_new_kind_is_asked_for_and_printed() {
        let one = line(0, "One", &[10]);
        let cases = || vec![Case::written("One", vec![10], any)];
        assert_eq!(said(&one, &["One"], &cases()), "");
        assert!(said(&one, &["One", "Two"], &cases()).starts_with("Two has no golden line"));
        let mut more = cases();
        more.push(Case::written("Two/more", vec![11], any));
        let asked = said(&one, &["One", "Two"], &more);
        let two = line(link(0, "One", &[10]), "Two/more", &[11]);
        assert_eq!(asked, format!("append these lines to file:\n{two}"));
        assert_eq!(said(&format!("{one}{two}"), &["One", "Two"], &more), "");
    }

    #[test]
    fn a_line_that_was_changed_moved_or_removed_is_found() {
        let (one, two) = (line(0, "One", &[10]), line(link(0, "One", &[10]), "Two", &[11]));
        let cases = || vec![Case::written("One", vec![10], any), Case::written("Two", vec![11], any)];
        assert_eq!(said(&format!("{one}{two}"), &[], &cases()), "");
        for text in [format!("{two}{one}"), two.clone(), one.replace("0a", "0b"), FILE.to_owned()] {
            assert!(said(&text, &[], &cases()).contains("was changed, moved or removed"), "{text}");
        }
        assert!(said(&format!("{one}{two}"), &[], &cases()[..1]).contains("has no case"));
    }

    #[test]
    fn other_bytes_another_meaning_and_lines_that_cannot_be_written_anew_are_told() {
        let one = line(0, "One", &[10]);
        assert!(said(&one, &[], &[Case::written("One", vec![9], any)]).contains("other bytes"));
        let read = |_: &[u8]| expect(Ok::<_, String>(1), &2);
        let told = said(&one, &[], &[Case::only_read("One", read)]);
        assert!(told.contains("read as 1 instead of 2"), "{told}");
        let told = said("", &[], &[Case::only_read("One", any)]);
        assert!(told.contains("put the line back"), "{told}");
    }
}
