//! TLS of a server, by files: its certificate and key, and the authorities of its clients.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;

use crate::files::{FilesError, Names};

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's certificate chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of clients; without them no certificate is asked for.
    pub clients: Option<PathBuf>,
    /// Whether a client may come without a certificate, and prove by something else who it is.
    pub is_certificate_optional: bool,
    /// How errors call the files.
    pub names: Names,
}

/// What TLS needs of the files, as they were when they were read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// For HTTP/2.
    pub config: Arc<ServerConfig>,
    /// The server's certificate, and those of authorities between it and a root.
    pub chain: Vec<CertificateDer<'static>>,
}

impl ServerFiles {
    /// All files, to see whether they changed.
    pub fn paths(&self) -> Vec<PathBuf> {
        let own = [self.cert.clone(), self.key.clone()];
        own.into_iter().chain(self.clients.clone()).collect()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn load(&self) -> Result<Loaded, FilesError> {
        let names = &self.names;
        let cert_pem = names.read(names.cert, &self.cert)?;
        let key_pem = names.read(names.key, &self.key)?;
        let (chain, secret) = names.pair((&self.cert, &cert_pem), (&self.key, &key_pem))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(FilesError::Tls)?;
        let builder = match &self.clients {
            Some(path) => {
                let pem = names.read(names.ca, path)?;
                let roots = Arc::new(names.authorities(path, &pem)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match self.is_certificate_optional {
                    true => verifier.allow_unauthenticated(),
                    false => verifier,
                };
                let verifier = verifier.build().map_err(|source| FilesError::Authorities {
                    file: names.file(names.ca, path),
                    source,
                })?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain.clone(), secret)
            .map_err(|source| names.strangers(&self.cert, &self.key, source))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A session that is resumed is not verified again: an authority that was removed would count for a day.
        config.send_tls13_tickets = 0;
        Ok(Loaded {
            config: Arc::new(config),
            chain,
        })
    }
}
