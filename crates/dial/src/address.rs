//! The address of a server as people write it, read once for every program that reaches one.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use rustls::pki_types::ServerName;

/// `unix:///path`, `https://host[:port]`, or `http://host[:port]` on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: Arc<str>,
    target: Target,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A socket of this machine, by its absolute path.
    Unix(PathBuf),
    /// TLS: the host of the URI is the name or address in the server's certificate.
    Tls(Uri),
    /// TCP without TLS, on loopback.
    Loopback(Uri),
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A socket without an absolute path.
    #[error("{address}: the path of the socket must be absolute, as unix:///run/ipam.sock")]
    Relative {
        /// The text.
        address: String,
    },
    /// TCP without TLS to another machine.
    #[error("{address}: http is for loopback only; use https")]
    NoTls {
        /// The text.
        address: String,
    },
    /// A host that is neither a name nor an address, or no URI at all.
    #[error("{address} is not an address; write https://host:port")]
    Uri {
        /// The text.
        address: String,
    },
    /// One of several addresses is the same as another one.
    #[error("{address} is named twice")]
    Twice {
        /// The address.
        address: String,
    },
    /// Another scheme, or none.
    #[error("{address} is not unix:///path, https://host:port or http://127.0.0.1:port")]
    Scheme {
        /// The text.
        address: String,
    },
}

impl Address {
    /// The socket at an absolute path.
    pub fn unix(path: &Path) -> Address {
        Address {
            text: format!("unix://{}", path.display()).into(),
            target: Target::Unix(path.to_owned()),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the server is reached.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the server shows a certificate.
    pub fn is_tls(&self) -> bool {
        matches!(self.target, Target::Tls(_))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let address = || text.to_owned();
        let uri = || -> Result<Uri, AddressError> {
            let wrong = |_| AddressError::Uri { address: address() };
            let uri: Uri = text.parse().map_err(wrong)?;
            match ServerName::try_from(bare_host(&uri).to_owned()) {
                Ok(_) => Ok(uri),
                Err(_) => Err(AddressError::Uri { address: address() }),
            }
        };
        let target = match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Target::Unix(path.into()),
            Some(("unix", _)) => return Err(AddressError::Relative { address: address() }),
            Some(("https", _)) => Target::Tls(uri()?),
            Some(("http", _)) => match uri()? {
                uri if is_loopback(&uri) => Target::Loopback(uri),
                _ => return Err(AddressError::NoTls { address: address() }),
            },
            _ => return Err(AddressError::Scheme { address: address() }),
        };
        Ok(Address {
            text: text.into(),
            target,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The host of a URI, without the brackets of an IPv6 address.
pub(crate) fn bare_host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(uri: &Uri) -> bool {
    let host = bare_host(uri);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_a_socket_tls_or_loopback() {
        for text in [
            "unix:///run/meta-cni/ipam.sock",
            "unix:///with space",
            "https://ipam:7443",
            "https://ipam.example.org",
            "https://10.0.0.1:7443",
            "https://[fd00::1]:7443",
            "http://localhost:1",
            "http://127.0.0.1:7443",
            "http://127.8.0.1:7443",
            "http://[::1]:7443",
        ] {
            let address: Address = text.parse().unwrap();
            let scheme = match address.target() {
                Target::Unix(path) => format!("unix://{}", path.display()),
                Target::Tls(uri) | Target::Loopback(uri) => {
                    uri.to_string().trim_end_matches('/').to_owned()
                }
            };
            assert_eq!(scheme, text);
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_tls(), text.starts_with("https"), "{text}");
        }
        let socket = Address::unix(Path::new("/run/a.sock"));
        assert_eq!(Ok(socket), "unix:///run/a.sock".parse());
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (text, words) in [
            ("", "is not unix:///path"),
            ("10.0.0.1:7443", "is not unix:///path"),
            ("ftp://a:1", "is not unix:///path"),
            ("unix://run/ipam.sock", "must be absolute"),
            ("unix://", "must be absolute"),
            ("http://10.0.0.1:7443", "use https"),
            ("http://127.0.0.1.example.org:1", "use https"),
            ("https://a b:1", "is not an address"),
            ("https://", "is not an address"),
            ("https://-:x", "is not an address"),
            ("http://", "is not an address"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.starts_with(text) && error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(unix|https?)?(://)?\\PC{0,30}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.as_str(), text);
            }
        }
    }
}
