//! The bearer token that says who we are instead of a certificate: a file that is renewed, such as a projected token of a
//! service account (Kubernetes writes it anew after four fifths of its life).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::files::{FilesError, Names};
use crate::regular;

/// How long a token is used before its file is read again.
const MAX_AGE: Duration = Duration::from_secs(5);
/// The longest token that ipam-server takes.
const TOKEN_BYTES: usize = 16 << 10;

/// A token in a file. Clones share what was read.
#[derive(Clone, Debug)]
pub struct Token {
    path: PathBuf,
    /// The flag or key that names the file.
    name: &'static str,
    cached: Arc<Mutex<Cached>>,
}

#[derive(Debug)]
struct Cached {
    read: Instant,
    value: HeaderValue,
    has_failed: bool,
}

impl Token {
    /// Reads a token for the first time. `name` is the flag or key that names the file, such as `--token-file`.
    ///
    /// # Errors
    /// [`FilesError::Read`]; [`FilesError::Token`] if the file holds no token.
    pub fn open(path: PathBuf, name: &'static str) -> Result<Token, FilesError> {
        let cached = Cached {
            read: Instant::now(),
            value: read(&path, name)?,
            has_failed: false,
        };
        Ok(Token {
            path,
            name,
            cached: Arc::new(Mutex::new(cached)),
        })
    }

    /// The value of the header `authorization`, at most 5 s old. While the file cannot be read, the last token is used, and
    /// the failure is logged once.
    pub fn authorization(&self) -> HeaderValue {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.read.elapsed() >= MAX_AGE {
            cached.read = Instant::now();
            match read(&self.path, self.name) {
                Ok(value) => {
                    cached.value = value;
                    cached.has_failed = false;
                }
                Err(error) if !cached.has_failed => {
                    cached.has_failed = true;
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "the last token is still used");
                }
                Err(_) => {}
            }
        }
        cached.value.clone()
    }
}

fn read(path: &Path, name: &'static str) -> Result<HeaderValue, FilesError> {
    let file = || Names::named(name, path);
    let bytes = regular::read(path).map_err(|source| FilesError::Read {
        file: file(),
        source,
    })?;
    let text = bytes.trim_ascii();
    if text.is_empty() || text.len() > TOKEN_BYTES || text.iter().any(u8::is_ascii_whitespace) {
        return Err(FilesError::Token { file: file() });
    }
    let value = HeaderValue::from_bytes(&[b"Bearer ", text].concat());
    let mut value = value.map_err(|_| FilesError::Token { file: file() })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_without_a_token_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let refused = || Token::open(path.clone(), "--token-file").unwrap_err();
        assert!(matches!(refused(), FilesError::Read { .. }));
        for content in ["", " \n", "two words", "a\nb"] {
            fs::write(&path, content).unwrap();
            let text = refused().to_string();
            assert!(text.contains("token (--token-file)"), "{content:?}: {text}");
            assert!(!text.contains("words"), "{text}");
        }
    }

    #[test]
    fn a_token_that_is_renewed_is_used_and_one_that_is_gone_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "one\n").unwrap();
        let token = Token::open(path.clone(), "--token-file").unwrap();
        let age = || {
            let mut cached = token.cached.lock().unwrap();
            cached.read = cached.read.checked_sub(MAX_AGE).unwrap();
        };
        assert_eq!(token.authorization(), "Bearer one");
        fs::write(&path, "two").unwrap();
        age();
        assert_eq!(token.authorization(), "Bearer two");
        fs::remove_file(&path).unwrap();
        age();
        assert_eq!(token.authorization(), "Bearer two");
        assert!(!format!("{token:?}").contains("two"));
    }
}
