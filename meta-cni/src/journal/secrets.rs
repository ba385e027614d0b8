//! What must not be shown: values whose keys speak of secrets, what looks like one by itself, and the same values wherever
//! they turn up again.

mod pairs;

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use pairs::Pair;

/// What stands in place of a secret.
pub const LEFT_OUT: &str = "(left out)";
/// Parts of keys whose values are secret, wherever they stand in the key.
const PARTS: [&str; 7] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "authorization",
];
/// Words that make a key secret if they are one of its words, or its end.
const WORDS: [&str; 5] = ["key", "keys", "pass", "pwd", "psk"];
/// What ends a part of a text.
const ENDS: [char; 5] = [';', ' ', '&', '\n', ','];
/// Shorter values would be found in texts that are none.
const LEAST_BYTES: usize = 4;

/// More of a text that is no JSON is dropped: it is searched word by word.
const LONGEST_BYTES: usize = 64 << 10;

/// The secrets of this call's configurations.
static LEARNED: Mutex<Secrets> = Mutex::new(Secrets(Vec::new()));

/// Remembers the secrets of a configuration for `without_learned`.
pub(crate) fn learn(conf: &Map<String, Value>) {
    let mut learned = LEARNED.lock().unwrap_or_else(PoisonError::into_inner);
    learned.hide_fields(&mut conf.clone());
}

/// A text without the secrets of this call's configurations: for error objects, Events and logs, which plugins can make
/// repeat them.
pub(crate) fn without_learned(text: &str) -> String {
    let learned = LEARNED.lock().unwrap_or_else(PoisonError::into_inner);
    learned.0.iter().fold(text.to_owned(), |text, secret| {
        match text.contains(secret.as_str()) {
            true => text.replace(secret.as_str(), LEFT_OUT),
            false => text,
        }
    })
}

/// Leaves secrets out, and remembers them so that a text which repeats one is found as well.
#[derive(Debug, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Leaves out all secrets of a JSON value.
    pub fn hide(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => self.hide_fields(fields),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide(item)),
            Value::String(text) => *text = self.hidden(text),
            _ => {}
        }
    }

    /// Leaves out all secrets of an object.
    pub fn hide_fields(&mut self, fields: &mut Map<String, Value>) {
        for (key, value) in fields {
            if is_secret(key) && !value.as_str().is_some_and(|text| is_key_file(key, text)) {
                self.leave_out(value);
            } else {
                self.hide(value);
            }
        }
    }

    /// The text without secrets: JSON as [`Secrets::hide`] has it, else pairs of a key and a value, passwords in URLs, and
    /// what was left out before.
    pub fn hidden(&mut self, text: &str) -> String {
        if text.trim_start().starts_with(['{', '['])
            && let Ok(mut value) = serde_json::from_str::<Value>(text)
        {
            self.hide(&mut value);
            return value.to_string();
        }
        // What is behind is not shown either.
        let text = &text[..text.floor_char_boundary(LONGEST_BYTES)];
        if is_private_key(text) {
            return LEFT_OUT.to_owned();
        }
        // The words first, of which more is known than that they stand behind a key: they are remembered.
        let mut plain = self.hidden_words(text);
        plain = self.hidden_pairs(&plain);
        for secret in &self.0 {
            if plain.contains(secret.as_str()) {
                plain = plain.replace(secret.as_str(), LEFT_OUT);
            }
        }
        plain
    }

    /// Without what looks like a secret by itself.
    fn hidden_words(&mut self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        let mut previous = "";
        for part in text.split_inclusive(ENDS) {
            let body = part.trim_end_matches(ENDS);
            // RFC 6750, section 2.1: "Authorization: Bearer …".
            let is_bearer = previous.eq_ignore_ascii_case("bearer") && !LEFT_OUT.starts_with(body);
            if is_bearer || is_web_token(body) || is_encoded_pem(body) {
                self.remember(body);
                plain.push_str(LEFT_OUT);
                plain.push_str(&part[body.len()..]);
            } else {
                plain.push_str(&self.hidden_url(part));
            }
            previous = body;
        }
        plain
    }

    /// Without the password of a URL: scheme://user:password@host (RFC 3986, section 3.2.1).
    fn hidden_url(&mut self, part: &str) -> String {
        if let Some((scheme, rest)) = part.split_once("://") {
            let authority = rest.split(['/', ' ']).next().unwrap_or_default();
            if let Some((user, host)) = authority.rsplit_once('@')
                && let Some((_, password)) = user.split_once(':')
            {
                self.remember(password);
                let path = &rest[authority.len()..];
                return format!("{scheme}://{LEFT_OUT}@{host}{path}");
            }
        }
        part.to_owned()
    }

    /// Without the values whose keys speak of secrets.
    fn hidden_pairs(&mut self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        let mut done = 0;
        for Pair { at, mut value } in pairs::all(text) {
            if done <= at.start {
                plain.push_str(&text[done..at.start]);
                plain.push_str(LEFT_OUT);
            }
            done = done.max(at.end);
            self.leave_out(&mut value);
        }
        plain.push_str(&text[done..]);
        plain
    }

    fn leave_out(&mut self, value: &mut Value) {
        match value {
            // Whether there is one is not secret.
            Value::Null | Value::Bool(_) => return,
            Value::String(text) => self.remember(text),
            Value::Object(fields) => fields.values_mut().for_each(|inner| self.leave_out(inner)),
            Value::Array(items) => items.iter_mut().for_each(|inner| self.leave_out(inner)),
            Value::Number(_) => {}
        }
        *value = LEFT_OUT.into();
    }

    /// Also as JSON has it, in which a plugin may quote what it was given; longer ones first, of which others are a part.
    fn remember(&mut self, secret: &str) {
        let quoted = Value::from(secret).to_string();
        for form in [secret, &quoted[1..quoted.len() - 1]] {
            let is_known = self.0.iter().any(|known| known == form);
            if form.len() >= LEAST_BYTES && !LEFT_OUT.contains(form) && !is_known {
                let at = self.0.partition_point(|known| known.len() > form.len());
                self.0.insert(at, form.to_owned());
            }
        }
    }
}

/// A private key in PEM (RFC 7468).
fn is_private_key(text: &str) -> bool {
    text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----")
}

/// The same, or a certificate, as a Secret of Kubernetes has it: "-----BEGIN" in base64.
fn is_encoded_pem(text: &str) -> bool {
    text.starts_with("LS0tLS1CRUdJTi")
}

/// A JSON Web Token (RFC 7519): three parts in base64url, of which the first is a JSON object.
fn is_web_token(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.starts_with("eyJ")
        && text.split('.').count() == 3
        && text.split('.').all(|part| part.bytes().all(is_base64url))
}

/// Whether what stands under this key is a secret.
fn is_secret(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    if PARTS.iter().any(|part| lower.contains(part)) {
        return true;
    }
    words(key).any(|word| WORDS.contains(&word.to_ascii_lowercase().as_str()))
        || WORDS[..2].iter().any(|word| lower.ends_with(word))
}

/// Whether a key itself is left out, but not the name of its file: a file that cannot be read is the cause. A secret in base64,
/// which may begin with a slash as well, has capitals or digits, and no other characters than a plus (RFC 4648, section 4).
fn is_key_file(key: &str, value: &str) -> bool {
    key.to_ascii_lowercase().ends_with("key")
        && value.starts_with('/')
        && (value.contains(['.', '-', '_'])
            || value.chars().all(|c| c == '/' || c.is_ascii_lowercase()))
}

/// The words of a key: `apiKey`, `api_key` and `api.key` have two.
fn words(key: &str) -> impl Iterator<Item = &str> {
    let mut rest = key;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        let mut previous_is_lower = false;
        let end = rest.char_indices().find(|(_, c)| {
            let is_end = !c.is_alphanumeric() || (previous_is_lower && c.is_uppercase());
            previous_is_lower = c.is_lowercase();
            is_end
        });
        let (word, behind) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        rest = behind;
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests;
