//! What TLS refuses, as a person can mend it: whose certificate, which file, which flag.

use std::fmt;
use std::sync::Arc;

use rustls::AlertDescription;

use crate::files::Files;

/// One side does not take the other one's certificate.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The server's certificate is not good.
    Untrusted {
        /// The server, as it is called.
        server: Arc<str>,
        /// The file of authorities.
        ca: String,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// Our certificate is not good for it.
    Refused {
        /// The server, as it is called.
        server: Arc<str>,
        /// The file of our certificate.
        cert: String,
        /// What it said.
        #[source]
        source: rustls::Error,
    },
    /// It wants a certificate, and we have none.
    Anonymous {
        /// The server, as it is called.
        server: Arc<str>,
        /// What names the certificate.
        cert: &'static str,
        /// What names its key.
        key: &'static str,
        /// What it said.
        #[source]
        source: rustls::Error,
    },
}

impl Refusal {
    /// Which certificate is refused by whom, without the cause and without what to do.
    pub fn what(&self) -> String {
        match self {
            Refusal::Untrusted { server, ca, .. } => format!("{server} is not trusted by {ca}"),
            Refusal::Refused { server, cert, .. } => format!("{server} refuses {cert}"),
            Refusal::Anonymous { server, .. } => format!("{server} wants a certificate"),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Refusal::Untrusted { .. } => {
                "renew its certificate, or correct the authority or the address".to_owned()
            }
            Refusal::Refused { .. } => {
                "renew it; has it expired, or is it of another authority?".to_owned()
            }
            Refusal::Anonymous { cert, key, .. } => format!("set {cert} and {key}"),
        }
    }

    /// What an error of TLS means with these files; the error itself if it is not about a certificate. `server` is how
    /// the server is called, such as `ipam-server at https://host:7443`.
    ///
    /// # Errors
    /// The error itself.
    pub fn of(
        source: rustls::Error,
        files: &Files,
        server: impl Into<Arc<str>>,
    ) -> Result<Refusal, rustls::Error> {
        let server = server.into();
        let names = &files.names;
        match (&source, &files.identity) {
            (rustls::Error::AlertReceived(alert), Some((cert, _))) if is_about_us(*alert) => {
                let cert = names.file(names.cert, cert);
                Ok(Refusal::Refused {
                    server,
                    cert,
                    source,
                })
            }
            (rustls::Error::AlertReceived(alert), None) if is_about_us(*alert) => {
                Ok(Refusal::Anonymous {
                    server,
                    cert: names.cert,
                    key: names.key,
                    source,
                })
            }
            (rustls::Error::InvalidCertificate(_), _) => Ok(Refusal::Untrusted {
                server,
                ca: names.file(names.ca, &files.ca),
                source,
            }),
            _ => Err(source),
        }
    }

    /// Whether we are the ones who are refused: trying again does not help.
    pub fn is_about_us(&self) -> bool {
        !matches!(self, Refusal::Untrusted { .. })
    }
}

/// Whether the peer closed for our certificate (RFC 8446 §6.2).
fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription::*;
    matches!(
        alert,
        BadCertificate
            | UnsupportedCertificate
            | CertificateRevoked
            | CertificateExpired
            | CertificateUnknown
            | UnknownCA
            | AccessDenied
            | CertificateRequired
    )
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self {
            Refusal::Untrusted { .. } => ";",
            Refusal::Refused { .. } | Refusal::Anonymous { .. } => ":",
        };
        write!(f, "{}{separator} {}", self.what(), self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;
    use crate::files::Names;

    #[test]
    fn a_refusal_names_the_file_and_the_flag_and_what_to_do() {
        let with = |is_known: bool| Files {
            ca: "/etc/ca.crt".into(),
            identity: is_known.then(|| ("/etc/node.crt".into(), "/etc/node.key".into())),
            names: Names {
                ca: "--ca",
                cert: "--cert",
                key: "--key",
            },
        };
        let alert = rustls::Error::AlertReceived;
        let invalid = rustls::Error::InvalidCertificate;
        for (files, error, is_about_us, words) in [
            (
                with(true),
                alert(AlertDescription::CertificateExpired),
                true,
                "refuses /etc/node.crt (--cert): renew it",
            ),
            (
                with(false),
                alert(AlertDescription::CertificateRequired),
                true,
                "wants a certificate: set --cert and --key",
            ),
            (
                with(false),
                invalid(CertificateError::UnknownIssuer),
                false,
                "not trusted by /etc/ca.crt (--ca); renew",
            ),
            (
                with(true),
                invalid(CertificateError::Expired),
                false,
                "not trusted by /etc/ca.crt (--ca); renew",
            ),
        ] {
            let refusal = Refusal::of(error, &files, "the server at x:1").unwrap();
            let text = refusal.to_string();
            assert!(text.contains(words), "{text}");
            assert!(text.starts_with("the server at x:1 "), "{text}");
            assert_eq!(refusal.is_about_us(), is_about_us, "{text}");
        }
        let other = alert(AlertDescription::ProtocolVersion);
        assert!(Refusal::of(other, &with(true), "x").is_err());
    }
}
