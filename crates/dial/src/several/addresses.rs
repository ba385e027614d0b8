//! The addresses of several servers as people write them: one text, with commas.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::address::{Address, AddressError};

/// What an address begins with: a comma before it ends the address before.
const SCHEMES: [&str; 3] = ["unix://", "https://", "http://"];

/// The addresses of the servers of one service, in the order in which they are tried first: at least one, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    text: Arc<str>,
    all: Vec<Address>,
}

impl Addresses {
    /// As they were written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// All of them.
    pub fn all(&self) -> &[Address] {
        &self.all
    }

    /// Whether one of the servers shows a certificate.
    pub fn is_tls(&self) -> bool {
        self.all.iter().any(Address::is_tls)
    }
}

impl FromStr for Addresses {
    type Err = AddressError;

    /// Reads `https://a:7443,https://b:7443`. A comma that no scheme follows belongs to its address, such as to the path of a
    /// socket.
    fn from_str(text: &str) -> Result<Addresses, AddressError> {
        let mut all = Vec::new();
        let mut known = BTreeSet::new();
        for one in split(text) {
            if !known.insert(one) {
                return Err(AddressError::Twice {
                    address: one.to_owned(),
                });
            }
            all.push(one.parse()?);
        }
        Ok(Addresses {
            text: text.into(),
            all,
        })
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn split(text: &str) -> Vec<&str> {
    let begins = |at: usize| {
        let rest = text[at..].trim_start();
        SCHEMES.iter().any(|scheme| rest.starts_with(scheme))
    };
    let commas = text.match_indices(',').map(|(at, _)| at);
    let mut found = Vec::new();
    let mut begin = 0;
    for at in commas.filter(|&at| begins(at + 1)) {
        found.push(&text[begin..at]);
        begin = at + 1;
    }
    found.push(&text[begin..]);
    match found.len() {
        // One address is taken as it is.
        1 => found,
        _ => found.into_iter().map(str::trim).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_separated_by_commas_before_a_scheme() {
        for (text, expected) in [
            ("https://a:1", &["https://a:1"][..]),
            (
                "https://a:1,https://b:2, unix:///run/c",
                &["https://a:1", "https://b:2", "unix:///run/c"],
            ),
            ("unix:///with,comma", &["unix:///with,comma"]),
            (
                "unix:///with,comma,http://[::1]:3",
                &["unix:///with,comma", "http://[::1]:3"],
            ),
        ] {
            let read: Addresses = text.parse().unwrap();
            let all: Vec<_> = read.all().iter().map(Address::as_str).collect();
            assert_eq!(all, expected);
            assert_eq!(read.to_string(), text);
            assert_eq!(read.is_tls(), text.contains("https"));
        }
    }

    #[test]
    fn one_wrong_address_is_named() {
        for (text, words) in [
            ("", "is not unix:///path"),
            ("https://a:1,b:2", "https://a:1,b:2 is not an address"),
            ("https://a:1,http://b:2", "http://b:2: http is for loopback"),
            ("https://a:1,https://", "https:// is not an address"),
            ("https://a:1,https://a:1", "https://a:1 is named twice"),
            (",https://a:1", "is not unix:///path"),
        ] {
            let error = text.parse::<Addresses>().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
