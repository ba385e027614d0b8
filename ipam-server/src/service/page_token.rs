//! Page tokens. A token is the last key of a page, bound to the request that it was made for. Tokens hold across restarts.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::Error;

/// The token that goes on behind `key`, for a request with the same `binding` (its filter and the like).
pub fn token(key: &str, binding: &impl Hash) -> String {
    let text = format!("{:016x}{key}", sum(key, binding));
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The key of a token; none for the empty one.
///
/// # Errors
/// [`Error::BadToken`] for a text that is no token, or one of another request.
pub fn key(token: &str, binding: &impl Hash) -> Result<Option<String>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = unhex(token).ok_or(Error::BadToken)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::BadToken)?;
    let (check, key) = text.split_at_checked(16).ok_or(Error::BadToken)?;
    if u64::from_str_radix(check, 16) != Ok(sum(key, binding)) {
        return Err(Error::BadToken);
    }
    Ok(Some(key.to_owned()))
}

fn sum(key: &str, binding: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    binding.hash(&mut hasher);
    hasher.finish()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_holds_for_its_request_only() {
        let token = token("l7", &"pool=blue");
        assert_eq!(key(&token, &"pool=blue").unwrap().as_deref(), Some("l7"));
        assert!(matches!(key(&token, &"pool=red"), Err(Error::BadToken)));
        assert_eq!(key("", &"x").unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_key_comes_back(text in "\\PC{0,40}") {
            let made = token(&text, &1);
            prop_assert_eq!(key(&made, &1).unwrap(), Some(text));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,60}") {
            let _ = key(&text, &1);
        }
    }
}
