//! Where, in a text that is no JSON, the value of a secret key stands: JSON that is broken or within a sentence, YAML,
//! `KEY=VALUE`. Where a value may end in several places, it ends at the last one: rather too much is left out.

use std::ops::Range;

use serde_json::Value;

use super::{ENDS, LEFT_OUT, is_key_file, is_secret};

/// What a quoted text begins with, or with a backslash more for each time that it was quoted again.
const QUOTES: [char; 3] = ['"', '\'', '\\'];
const BLANKS: [char; 2] = [' ', '\t'];

/// A secret in a text.
pub(super) struct Pair {
    /// Where it stands; its quotes are not part of it.
    pub(super) at: Range<usize>,
    /// The value; null if its end cannot be found.
    pub(super) value: Value,
}

/// All secrets of a text, in order; one may begin within another, and end behind it.
pub(super) fn all(text: &str) -> impl Iterator<Item = Pair> {
    let separators = text.match_indices([':', '=']);
    separators.filter_map(|(separator, _)| pair(text, separator))
}

fn pair(text: &str, separator: usize) -> Option<Pair> {
    let before = text[..separator].trim_end_matches(BLANKS);
    let named = before.trim_end_matches(QUOTES);
    let is_quoted = named.len() < before.len();
    let key = match is_quoted {
        true => named.rsplit(QUOTES).next()?,
        false => named.rsplit(|c| !is_of_key(c)).next()?,
    };
    let behind = &text[separator + 1..];
    let is_assigned = text[separator..].starts_with('=');
    let around = &named[..named.len() - key.len()];
    let is_key = is_quoted || is_assigned || !is_subject(key, around);
    if !is_key || !is_secret(key) {
        return None;
    }
    let begin = text.len() - behind.trim_start().len();
    if text[begin..].starts_with(LEFT_OUT) {
        return None;
    }
    let is_close = before.len() == separator && begin == separator + 1;
    let found = match quoted(text, begin, is_quoted) {
        Some(found) => found,
        None if is_assigned && is_close => assigned(text, begin, around.chars().next_back()),
        None => to_the_end(text, begin, behind.trim_start_matches(BLANKS)),
    };
    let value = &text[found.at.clone()];
    // Whether there is one is not secret.
    let is_shown = matches!(value, "true" | "false" | "null")
        || value.starts_with("empty, ")
        || is_key_file(key, value);
    (!value.is_empty() && !is_shown).then_some(found)
}

fn is_of_key(c: char) -> bool {
    c.is_alphanumeric() || "_-./".contains(c)
}

/// Not a key but the subject of a problem: a file (`/etc/tls/client.key: …`), a field of a configuration
/// (`ipam.tls.key: …`), or what we have ourselves (`our credentials: …`).
fn is_subject(key: &str, before: &str) -> bool {
    key.contains('/') || key.ends_with(".key") || before.ends_with(" our ")
}

/// A value in quotes or brackets; of a key in quotes, any JSON.
fn quoted(text: &str, begin: usize, is_key_quoted: bool) -> Option<Pair> {
    let rest = &text[begin..];
    if is_key_quoted || rest.starts_with(['"', '[', '{']) {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        if let Some(Ok(value)) = values.next() {
            let end = begin + values.byte_offset();
            let at = match value {
                Value::String(_) => begin + 1..end - 1,
                _ => begin..end,
            };
            return Some(Pair { at, value });
        }
    }
    if rest.starts_with(['[', '{']) {
        return Some(unknown(begin..text.len()));
    }
    let bare = rest.trim_start_matches('\\');
    if !bare.starts_with(['"', '\'']) {
        return None;
    }
    let (quote, inner) = rest.split_at(rest.len() - bare.len() + 1);
    let mut ends = inner.match_indices(quote);
    let end = ends.find(|(at, _)| !inner[..*at].ends_with('\\'));
    let value = &inner[..end.map_or(inner.len(), |(at, _)| at)];
    let begin = begin + quote.len();
    Some(Pair {
        at: begin..begin + value.len(),
        value: value.into(),
    })
}

/// `KEY=VALUE`, with `around` before it. In CNI_ARGS only a semicolon ends it (CNI specification 1.1.0, "Parameters").
fn assigned(text: &str, begin: usize, around: Option<char>) -> Pair {
    let rest = &text[begin..];
    let end = match around {
        None | Some(';' | '=' | '\n') => rest.find([';', '\n']),
        Some(quote @ ('"' | '\'')) => rest.find([';', '\n', quote]),
        Some(_) => rest.find(ENDS),
    };
    let value = &rest[..end.unwrap_or(rest.len())];
    Pair {
        at: begin..begin + value.len(),
        value: value.into(),
    }
}

/// A value that ends with its line, or if it does not even begin there, with the text.
fn to_the_end(text: &str, begin: usize, behind: &str) -> Pair {
    let is_block = behind.starts_with(['\n', '\r', '|', '>']);
    let end = text[begin..].find('\n').filter(|_| !is_block);
    unknown(begin..end.map_or(text.len(), |end| begin + end))
}

fn unknown(at: Range<usize>) -> Pair {
    Pair {
        at,
        value: Value::Null,
    }
}
