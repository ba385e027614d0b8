//! Text of strangers on its way to a terminal: characters that steer one, or that hide what is written, become visible.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a text has no character that steers a terminal.
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(steers)
}

/// A text of one line for a terminal.
pub fn shown(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for character in text.chars() {
        match steers(character) {
            // Rust's form of it, such as `\u{1b}`.
            true => out.extend(character.escape_default()),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// JSON for a terminal: what JSON lets through within its strings is escaped as JSON does. Lines stay.
pub fn in_json(json: &str) -> Cow<'_, str> {
    let hidden = |character| steers(character) && character != '\n';
    if !json.chars().any(hidden) {
        return Cow::Borrowed(json);
    }
    let mut out = String::new();
    for character in json.chars() {
        match hidden(character) {
            true => {
                // All of them are one UTF-16 unit; writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Text of several lines for a terminal.
pub fn in_lines(text: &str) -> Cow<'_, str> {
    let is_hidden = |character| steers(character) && character != '\n';
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text.split('\n').map(shown).collect();
    Cow::Owned(lines.join("\n"))
}

/// Control characters (C0, DEL, C1), line and paragraph separators, what turns the direction of a text around, and what has no
/// width, but for the joiners that words of some scripts and emoji need.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_all_else_stays() {
        for (text, expected) in [
            ("default/web-0", "default/web-0"),
            ("Zürich 東京 🙂", "Zürich 東京 🙂"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nb\rc\t", "a\\nb\\rc\\t"),
            ("\u{7f}\u{9b}", "\\u{7f}\\u{9b}"),
            ("\u{202e}abc\u{2069}", "\\u{202e}abc\\u{2069}"),
        ] {
            assert_eq!(shown(text), expected);
            assert_eq!(is_plain(text), text == expected);
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "{\n  \"pod\": \"[2J\u{9b}\u{7f}\u{202e}é\"\n}";
        let safe = in_json(text);
        assert!(safe.lines().all(is_plain), "{safe:?}");
        assert_eq!(safe, "{\n  \"pod\": \"[2J\\u009b\\u007f\\u202eé\"\n}");
    }

    #[test]
    fn lines_stay_lines() {
        let text = "one\u{1b}[2J\r\ntwo\n";
        assert_eq!(in_lines(text), "one\\u{1b}[2J\\r\ntwo\n");
        assert_eq!(in_lines("one\ntwo\n"), "one\ntwo\n");
    }
}
