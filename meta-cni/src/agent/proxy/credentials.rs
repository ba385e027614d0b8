//! The files that an https server is trusted by and that tell it who we are. They are renewed under us, so their content
//! is kept to be compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Which files; each is named in errors with the flag that gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Authorities of the server.
    pub ca: PathBuf,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialsError {
    /// One cannot be read.
    #[error("reading {} ({flag} of meta-cnid); is it there, and mounted?", .path.display())]
    Read {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// One holds something else.
    #[error("{} ({flag} of meta-cnid) holds no {what} as PEM; write it again", .path.display())]
    Content {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// They do not go together.
    #[error(
        "{} (--ipam-cert of meta-cnid) does not go with {} (--ipam-key); write both again", .cert.display(), .key.display()
    )]
    Identity {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// TLS cannot be had at all.
    #[error("making a TLS client")]
    Tls(#[source] rustls::Error),
}

/// The content of the files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    ca: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<Credentials, CredentialsError> {
        let read = |flag, path: &Path| {
            fs::read(path).map_err(|source| CredentialsError::Read {
                flag,
                path: path.to_owned(),
                source,
            })
        };
        let identity = match &self.identity {
            Some((cert, key)) => Some((read("--ipam-cert", cert)?, read("--ipam-key", key)?)),
            None => None,
        };
        Ok(Credentials {
            ca: read("--ipam-ca", &self.ca)?,
            identity,
        })
    }

    /// What TLS needs of their content.
    pub(super) fn config(
        &self,
        credentials: &Credentials,
    ) -> Result<ClientConfig, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("--ipam-ca", &self.ca, &credentials.ca)? {
            let added = roots.add(authority);
            added.map_err(|_| content("--ipam-ca", &self.ca, "authority's certificate"))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CredentialsError::Tls)?
            .with_root_certificates(roots);
        let mut config = match (&self.identity, &credentials.identity) {
            (Some((cert, key)), Some((cert_pem, key_pem))) => {
                let chain = certificates("--ipam-cert", cert, cert_pem)?;
                let secret = PrivateKeyDer::from_pem_slice(key_pem)
                    .map_err(|_| content("--ipam-key", key, "private key"))?;
                let with_identity = builder.with_client_auth_cert(chain, secret);
                with_identity.map_err(|source| CredentialsError::Identity {
                    cert: cert.clone(),
                    key: key.clone(),
                    source,
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(
    flag: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(content(flag, path, "certificate")),
    }
}

fn content(flag: &'static str, path: &Path, what: &'static str) -> CredentialsError {
    CredentialsError::Content {
        flag,
        path: path.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
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
        };
        for (ca, cert, key, words) in [
            (
                None,
                &*cert,
                &*key,
                "ca (--ipam-ca of meta-cnid); is it there",
            ),
            (
                Some("-"),
                &cert,
                &key,
                "ca (--ipam-ca of meta-cnid) holds no",
            ),
            (
                Some(&*cert),
                "",
                &key,
                "cert (--ipam-cert of meta-cnid) holds no",
            ),
            (
                Some(&cert),
                &cert,
                "",
                "key (--ipam-key of meta-cnid) holds no",
            ),
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
            let told = crate::cni::error::with_causes(&used.unwrap_err());
            assert!(told.contains(words) && told.len() < 300, "{words}: {told}");
        }
        fs::write(path("key"), &key).unwrap();
        let read = files.read().unwrap();
        assert!(files.config(&read).is_ok());
        assert!(files.read().unwrap() == read);
        fs::write(path("cert"), &cert[1..]).unwrap();
        assert!(files.read().unwrap() != read);
    }
}
