//! What a terminal may be shown of names and messages that others chose.

/// Text for a terminal: control characters, line separators and what turns the direction of writing are shown as
/// escapes.
pub(crate) fn printable(text: &str) -> String {
    let is_harmful = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_lines_colours_or_the_direction_of_writing() {
        assert_eq!(printable("a\nb\r\u{1b}[2J\u{9b}\u{7f}"), "a\\nb\\r\\u{1b}[2J\\u{9b}\\u{7f}");
        assert_eq!(printable("gpj.\u{202e}exe\u{2028}"), "gpj.\\u{202e}exe\\u{2028}");
        assert_eq!(printable("ä 漢 \\ 'x'"), "ä 漢 \\ 'x'");
    }
}
