//! Tells code, comments and string literals of a Rust file apart, so that a rule about one never trips on another.
//!
//! It knows just enough of the language: nested comments, raw strings, and that `'a` is not always a letter.

/// A file in two disguises, each as long as the file itself (so offsets agree), with blanks for all that is left out.
#[derive(Debug)]
pub(crate) struct Views {
    /// Without comments and without what stands in string and character literals.
    pub(crate) code: String,
    /// Comments alone.
    pub(crate) comments: String,
    /// The contents of string literals as written, with the offset of each.
    pub(crate) strings: Vec<(usize, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Takes a file apart. What is no Rust comes out in some form, without a panic.
pub(crate) fn views(text: &str) -> Views {
    let bytes = text.as_bytes();
    let mut kinds = vec![Kind::Code; bytes.len()];
    let mut strings = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = token(bytes, at);
        kinds[at..end].fill(kind);
        if kind == Kind::Literal && bytes[at] != b'\'' {
            let (begin, end) = inside(bytes, at, end);
            strings.push((at, text[begin..end].to_owned()));
        }
        at = end;
    }
    let view = |wanted: Kind| {
        let seen = |(byte, kind): (&u8, &Kind)| if *kind == wanted || *byte == b'\n' { *byte } else { b' ' };
        let bytes: Vec<u8> = bytes.iter().zip(&kinds).map(seen).collect();
        String::from_utf8(bytes).expect("a letter is of one kind as a whole")
    };
    Views { code: view(Kind::Code), comments: view(Kind::Comment), strings }
}

/// The kind and the end of what begins at `at`.
fn token(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        return (Kind::Comment, at + length);
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, block_comment_end(bytes, at));
    }
    if rest[0] == b'"' {
        return (Kind::Literal, quoted_end(bytes, at, b'"'));
    }
    if let Some(hashes) = raw_string_hashes(bytes, at) {
        return (Kind::Literal, raw_string_end(bytes, at, hashes));
    }
    if rest[0] == b'\'' && is_character(rest) {
        return (Kind::Literal, quoted_end(bytes, at, b'\''));
    }
    (Kind::Code, at + 1)
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0_usize, at);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// How many `#` a raw string that begins at `at` has; `None` if none begins there.
fn raw_string_hashes(bytes: &[u8], at: usize) -> Option<usize> {
    let before_is_word =
        at > 0 && is_word(bytes[at - 1]) && !(bytes[at - 1] == b'b' || bytes[at - 1] == b'c');
    if bytes[at] != b'r' || before_is_word {
        return None;
    }
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string_end(bytes: &[u8], at: usize, hashes: usize) -> usize {
    let closing = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let begin = at + 2 + hashes;
    let found = bytes[begin..].windows(closing.len()).position(|window| window == closing);
    found.map_or(bytes.len(), |position| begin + position + closing.len())
}

/// Whether a `'` begins a character and not a lifetime.
fn is_character(rest: &[u8]) -> bool {
    let Some(first) = rest.get(1) else { return false };
    let length = match first {
        b'\\' => return true,
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    };
    rest.get(1 + length) == Some(&b'\'')
}

/// Where the contents of a string literal begin and end.
fn inside(bytes: &[u8], begin: usize, end: usize) -> (usize, usize) {
    let hashes = raw_string_hashes(bytes, begin);
    let (opening, closing) = hashes.map_or((1, 1), |hashes| (2 + hashes, 1 + hashes));
    let begin = begin + opening;
    // The file may end inside the literal.
    (begin, end.saturating_sub(closing).max(begin))
}

/// Whether a byte can stand in an identifier.
pub(crate) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `needle` stands in `code` and is not a part of a longer word.
pub(crate) fn words<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(needle).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        let joins = |left: Option<&u8>, right: Option<&u8>| {
            left.is_some_and(|byte| is_word(*byte)) && right.is_some_and(|byte| is_word(*byte))
        };
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let end = at + needle.len();
        !joins(before, bytes.get(*at)) && !joins(bytes.get(end - 1), bytes.get(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        views(text).code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        assert_eq!(code("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(code(r#"x = "a \" b"; y"#), "x = ; y");
        assert_eq!(code(r###"x(r#"a " b"#, br"c\", r#type) y"###), "x( , b , r#type) y");
        assert_eq!(code(r"f('a', '\'', 'é', b'x') as &'a str"), "f( , , , b ) as &'a str");
        assert_eq!(code("for 'outer: loop { break 'outer }"), "for 'outer: loop { break 'outer }");
    }

    #[test]
    fn views_keep_the_offsets() {
        let text = "let a = \"é // no\"; // é yes\nb";
        let views = views(text);
        assert_eq!((views.code.len(), views.comments.len()), (text.len(), text.len()));
        assert_eq!(views.comments.trim(), "// é yes");
        assert_eq!(views.strings, [(8, "é // no".to_owned())]);
        assert!(views.code.ends_with("\nb"));
    }

    #[test]
    fn a_file_that_ends_too_early_is_no_panic() {
        for text in ["\"a", "\"a\\", "r#\"a", "r\"", "/* a /*", "'", "'\\", "r#", "\""] {
            assert_eq!(views(text).code.len(), text.len(), "{text}");
        }
    }

    #[test]
    fn words_are_whole() {
        let found: Vec<_> = words("Status::new ExitStatus::new Status::newer", "Status::new").collect();
        assert_eq!(found, [0]);
    }
}
