//! CNI_ARGS: `KEY=VALUE` pairs separated by semicolons (CNI specification 1.1.0, "Parameters").

use std::fmt;

/// The pairs of CNI_ARGS, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(Vec<(String, String)>);

/// A part of CNI_ARGS that is not a pair.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("CNI_ARGS has {part:?}, which is not of the form KEY=VALUE")]
pub struct ArgsError {
    /// The part between two semicolons.
    pub part: String,
}

impl Args {
    /// Reads CNI_ARGS; the empty text has no pairs, and a semicolon may end the text.
    ///
    /// # Errors
    /// [`ArgsError`] for a part that does not split in two at `=`.
    pub fn parse(text: &str) -> Result<Args, ArgsError> {
        let parts = text.strip_suffix(';').unwrap_or(text);
        if parts.is_empty() {
            return Ok(Args::default());
        }
        let pair = |part: &str| match part.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.contains('=') => {
                Ok((key.to_owned(), value.to_owned()))
            }
            _ => Err(ArgsError {
                part: part.to_owned(),
            }),
        };
        Ok(Args(parts.split(';').map(pair).collect::<Result<_, _>>()?))
    }

    /// The value of `key`, if it is set and not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Puts `key=value` at the end, or in the place of an earlier value of `key`.
    pub fn set(&mut self, key: &str, value: &str) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((key.to_owned(), value.to_owned())),
        }
    }

    /// Removes `key`, if it exists.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(name, _)| name != key);
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator}{key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_keep_their_order() {
        let args = Args::parse("IgnoreUnknown=1;K8S_POD_NAME=web;X=").unwrap();
        assert_eq!(args.get("K8S_POD_NAME"), Some("web"));
        assert_eq!(args.get("X"), None, "an empty value counts as absent");
        assert_eq!(args.to_string(), "IgnoreUnknown=1;K8S_POD_NAME=web;X=");
    }

    #[test]
    fn a_part_that_is_no_pair_is_named() {
        for (text, part) in [
            ("A=1;B", "B"),
            ("=1", "=1"),
            ("A=1;;B=2", ""),
            ("A=1=2", "A=1=2"),
        ] {
            assert_eq!(
                Args::parse(text),
                Err(ArgsError {
                    part: part.to_owned()
                }),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(pairs in proptest::collection::vec(("[A-Z_]{1,8}", "[^;=]{0,8}"), 0..6)) {
            let args = Args(pairs);
            prop_assert_eq!(Args::parse(&args.to_string()), Ok(args));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = Args::parse(&text);
        }
    }
}
