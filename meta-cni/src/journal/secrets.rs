//! What must not be told: values whose keys speak of secrets, what looks like one by itself, and the same values wherever
//! they turn up again.

use serde_json::{Map, Value};

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

/// More of a text that is no JSON is dropped: it is looked at word by word.
const LONGEST_BYTES: usize = 64 << 10;

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
            if is_secret(key) {
                self.leave_out(value);
            } else {
                self.hide(value);
            }
        }
    }

    /// The text without secrets: JSON as [`Secrets::hide`] has it, else `KEY=VALUE` pairs, passwords in URLs, and what
    /// was left out before.
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
        let mut plain = String::with_capacity(text.len());
        let mut previous = "";
        for part in text.split_inclusive(ENDS) {
            let body = part.trim_end_matches(ENDS);
            // RFC 6750, section 2.1: "Authorization: Bearer …".
            if previous.eq_ignore_ascii_case("bearer") && !body.is_empty() || is_web_token(body) {
                self.remember(body);
                plain.push_str(LEFT_OUT);
                plain.push_str(&part[body.len()..]);
            } else {
                plain.push_str(&self.hidden_part(part));
            }
            previous = body;
        }
        for secret in &self.0 {
            if plain.contains(secret.as_str()) {
                plain = plain.replace(secret.as_str(), LEFT_OUT);
            }
        }
        plain
    }

    fn hidden_part(&mut self, part: &str) -> String {
        let body = part.trim_end_matches(ENDS);
        let end = &part[body.len()..];
        if let Some((key, value)) = body.split_once('=')
            && is_secret(key)
            && !value.is_empty()
        {
            self.remember(value);
            return format!("{key}={LEFT_OUT}{end}");
        }
        // scheme://user:password@host (RFC 3986, section 3.2.1).
        if let Some((scheme, rest)) = body.split_once("://") {
            let authority = rest.split('/').next().unwrap_or_default();
            if let Some((user, host)) = authority.rsplit_once('@')
                && let Some((_, password)) = user.split_once(':')
            {
                self.remember(password);
                let path = &rest[authority.len()..];
                return format!("{scheme}://{LEFT_OUT}@{host}{path}{end}");
            }
        }
        part.to_owned()
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

    fn remember(&mut self, secret: &str) {
        if secret.len() >= LEAST_BYTES && secret != LEFT_OUT {
            self.0.push(secret.to_owned());
        }
    }
}

/// A private key in PEM (RFC 7468).
fn is_private_key(text: &str) -> bool {
    text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----")
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
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_left_out_by_their_keys() {
        for (name, given, told) in [
            (
                "a password",
                json!({"password": "abc"}),
                json!({"password": LEFT_OUT}),
            ),
            (
                "in any case",
                json!({"bmcPassWord": "abc"}),
                json!({"bmcPassWord": LEFT_OUT}),
            ),
            (
                "a token",
                json!({"authToken": "abc"}),
                json!({"authToken": LEFT_OUT}),
            ),
            (
                "a secret",
                json!({"client_secret": "abc"}),
                json!({"client_secret": LEFT_OUT}),
            ),
            (
                "credentials",
                json!({"credentials": {"a": 1}}),
                json!({"credentials": LEFT_OUT}),
            ),
            (
                "a list",
                json!({"keys": ["a", "b"]}),
                json!({"keys": LEFT_OUT}),
            ),
            ("a key", json!({"key": "abc"}), json!({"key": LEFT_OUT})),
            (
                "a key of two words",
                json!({"apiKey": "a", "private-key": 7}),
                json!({"apiKey": LEFT_OUT, "private-key": LEFT_OUT}),
            ),
            (
                "a key in one word",
                json!({"apikey": "a"}),
                json!({"apikey": LEFT_OUT}),
            ),
            (
                "nested",
                json!({"ipam": {"tls": [{"key": "k"}]}}),
                json!({"ipam": {"tls": [{"key": LEFT_OUT}]}}),
            ),
            (
                "runtimeConfig",
                json!({"runtimeConfig": {"vpn": {"psk": "k"}}}),
                json!({"runtimeConfig": {"vpn": {"psk": LEFT_OUT}}}),
            ),
            (
                "args",
                json!({"args": {"cni": {"pwd": "k"}}}),
                json!({"args": {"cni": {"pwd": LEFT_OUT}}}),
            ),
            (
                "JSON in a text",
                json!({"config": "{\"token\":\"t\"}"}),
                json!({"config": "{\"token\":\"(left out)\"}"}),
            ),
            (
                "CNI_ARGS",
                json!("IgnoreUnknown=1;SECRET=x y;K8S_POD_NAME=web"),
                json!("IgnoreUnknown=1;SECRET=(left out) y;K8S_POD_NAME=web"),
            ),
            (
                "a URL",
                json!({"server": "https://me:geheim@host/path"}),
                json!({"server": "https://(left out)@host/path"}),
            ),
            (
                "a private key by its looks",
                json!({"tls": "-----BEGIN EC PRIVATE KEY-----\nMHc"}),
                json!({"tls": LEFT_OUT}),
            ),
            (
                "a web token by its looks",
                json!({"auth": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2ln"}),
                json!({"auth": LEFT_OUT}),
            ),
            (
                "a bearer",
                json!("sent Authorization: Bearer abcdef, refused"),
                json!("sent Authorization: Bearer (left out), refused"),
            ),
            (
                "JSON behind white space",
                json!("\n [{\"psk\":\"k\"}]"),
                json!("[{\"psk\":\"(left out)\"}]"),
            ),
            (
                "whether there is one",
                json!({"token": true, "key": null}),
                json!({"token": true, "key": null}),
            ),
            (
                "what is none",
                json!({"type": "macvlan", "mode": "passthru", "keyed": 1, "compass": "n", "mac": "02:00"}),
                json!({"type": "macvlan", "mode": "passthru", "keyed": 1, "compass": "n", "mac": "02:00"}),
            ),
        ] {
            let mut value = given;
            Secrets::default().hide(&mut value);
            assert_eq!(value, told, "{name}");
        }
    }

    #[test]
    fn a_secret_that_is_repeated_elsewhere_is_left_out_there_as_well() {
        let mut secrets = Secrets::default();
        secrets.hide(
            &mut json!({"login": {"password": "correct horse"}, "token": {"deep": "battery"}}),
        );
        let told = secrets.hidden("login with correct horse failed (battery)");
        assert_eq!(told, "login with (left out) failed ((left out))");
    }

    #[test]
    fn a_text_without_secrets_stays_as_it_is() {
        let text =
            "network default/red (net1): bridge ADD: failed, mtu=1500; see http://10.0.0.1/x";
        assert_eq!(Secrets::default().hidden(text), text);
    }
}
