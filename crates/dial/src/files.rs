//! The files that authenticate an https server to us and us to the server. Others renew the files at any time, so their
//! content is kept to be compared.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::regular;

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Authorities of the server.
    pub ca: PathBuf,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How errors call them.
    pub names: Names,
}

/// The flags or keys that name each file, such as `--tls-ca`: errors name them beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Of the authorities.
    pub ca: &'static str,
    /// Of the certificate.
    pub cert: &'static str,
    /// Of its key.
    pub key: &'static str,
}

impl Names {
    /// A file as errors have it.
    pub(crate) fn file(&self, name: &'static str, path: &Path) -> String {
        Names::named(name, path)
    }

    pub(crate) fn named(name: &str, path: &Path) -> String {
        format!("{} ({name})", path.display())
    }
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// One cannot be read.
    Read {
        /// The file and what names it.
        file: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// One holds something else.
    Content {
        /// The file and what names it.
        file: String,
        /// What it should hold.
        what: &'static str,
    },
    /// One holds no token.
    Token {
        /// The file and what names it.
        file: String,
    },
    /// They do not go together.
    Identity {
        /// The certificate and what names it.
        cert: String,
        /// The key and what names it.
        key: String,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// Authorities of clients cannot be used.
    Authorities {
        /// The file and what names it.
        file: String,
        /// Why not.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    /// TLS cannot be had at all.
    Tls(#[source] rustls::Error),
}

impl FilesError {
    /// What cannot be used, without its cause and without what to do.
    pub fn what(&self) -> String {
        match self {
            FilesError::Read { file, .. } => format!("reading {file}"),
            FilesError::Content { file, what } => format!("{file} holds no {what} as PEM"),
            FilesError::Token { file } => format!("{file} holds no token"),
            FilesError::Identity { cert, key, .. } => format!("{cert} does not go with {key}"),
            FilesError::Authorities { file, .. } => {
                format!("{file} cannot be used to verify clients")
            }
            FilesError::Tls(_) => "setting up TLS".to_owned(),
        }
    }

    /// What to do about it, if that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            FilesError::Read { .. } => Some("is it there, and mounted?"),
            FilesError::Identity { .. } => Some("write both again"),
            FilesError::Content { .. }
            | FilesError::Token { .. }
            | FilesError::Authorities { .. } => Some("write it again"),
            FilesError::Tls(_) => None,
        }
    }
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        self.remedy()
            .map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

/// The content of the files.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ca: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// [`FilesError::Read`].
    pub fn read(&self) -> Result<Credentials, FilesError> {
        let names = &self.names;
        let read = |name, path: &Path| names.read(name, path);
        let identity = match &self.identity {
            Some((cert, key)) => Some((read(names.cert, cert)?, read(names.key, key)?)),
            None => None,
        };
        Ok(Credentials {
            ca: read(names.ca, &self.ca)?,
            identity,
        })
    }

    /// What TLS needs of their content, for HTTP/2.
    ///
    /// # Errors
    /// Every other variant of [`FilesError`].
    pub fn config(&self, credentials: &Credentials) -> Result<ClientConfig, FilesError> {
        let names = &self.names;
        let roots = names.authorities(&self.ca, &credentials.ca)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(FilesError::Tls)?
            .with_root_certificates(roots);
        let mut config = match (&self.identity, &credentials.identity) {
            (Some((cert, key)), Some((cert_pem, key_pem))) => {
                let (chain, secret) = names.pair((cert, cert_pem), (key, key_pem))?;
                let with_identity = builder.with_client_auth_cert(chain, secret);
                with_identity.map_err(|source| names.strangers(cert, key, source))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

impl Names {
    /// Reads a file that a flag names.
    ///
    /// # Errors
    /// [`FilesError::Read`].
    pub fn read(&self, name: &'static str, path: &Path) -> Result<Vec<u8>, FilesError> {
        regular::read(path).map_err(|source| FilesError::Read {
            file: self.file(name, path),
            source,
        })
    }

    pub(crate) fn authorities(&self, path: &Path, pem: &[u8]) -> Result<RootCertStore, FilesError> {
        let mut roots = RootCertStore::empty();
        for authority in self.certificates(self.ca, path, pem)? {
            let added = roots.add(authority);
            added.map_err(|_| self.content(self.ca, path, "authority's certificate"))?;
        }
        Ok(roots)
    }

    pub(crate) fn pair(
        &self,
        cert: (&Path, &[u8]),
        key: (&Path, &[u8]),
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), FilesError> {
        let chain = self.certificates(self.cert, cert.0, cert.1)?;
        let secret = PrivateKeyDer::from_pem_slice(key.1)
            .map_err(|_| self.content(self.key, key.0, "private key"))?;
        Ok((chain, secret))
    }

    fn certificates(
        &self,
        name: &'static str,
        path: &Path,
        pem: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, FilesError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => Err(self.content(name, path, "certificate")),
        }
    }

    fn content(&self, name: &'static str, path: &Path, what: &'static str) -> FilesError {
        FilesError::Content {
            file: self.file(name, path),
            what,
        }
    }

    pub(crate) fn strangers(&self, cert: &Path, key: &Path, source: rustls::Error) -> FilesError {
        FilesError::Identity {
            cert: self.file(self.cert, cert),
            key: self.file(self.key, key),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_file_is_named_with_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let certified = rcgen::generate_simple_self_signed(["node".to_owned()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        let (cert, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
        let files = Files {
            ca: path("ca"),
            identity: Some((path("cert"), path("key"))),
            names: Names {
                ca: "--ca",
                cert: "--cert",
                key: "--key",
            },
        };
        for (ca, cert, key, words) in [
            (None, &*cert, &*key, "ca (--ca); is it there"),
            (Some("-"), &cert, &key, "ca (--ca) holds no"),
            (Some(&*cert), "", &key, "cert (--cert) holds no"),
            (Some(&cert), &cert, "", "key (--key) holds no"),
            (
                Some(&cert),
                &cert,
                &other.serialize_pem(),
                "does not go with",
            ),
        ] {
            match ca {
                Some(ca) => fs::write(path("ca"), ca).unwrap(),
                None => assert!(!path("ca").exists()),
            }
            fs::write(path("cert"), cert).unwrap();
            fs::write(path("key"), key).unwrap();
            let used = files.read().and_then(|read| files.config(&read));
            let text = used.unwrap_err().to_string();
            assert!(text.contains(words) && text.len() < 300, "{words}: {text}");
        }
        fs::write(path("key"), &key).unwrap();
        let read = files.read().unwrap();
        assert!(files.config(&read).is_ok());
        assert!(files.read().unwrap() == read);
        fs::write(path("cert"), &cert[1..]).unwrap();
        assert!(files.read().unwrap() != read);
    }
}
