//! Certificates of a test: an authority, and what it signs, as files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority that signs certificates. Its files are in the folder that it was made in.
pub struct Authority {
    folder: PathBuf,
    ca: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate's file.
    pub cert: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one; `name` begins the names of its files.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("make a key");
        let certificate = params.self_signed(&key).expect("sign");
        let folder = folder.join(name);
        fs::create_dir_all(&folder).expect("make a folder");
        let ca = folder.join("ca.crt");
        fs::write(&ca, certificate.pem()).expect("write a certificate");
        Authority {
            folder,
            ca,
            issuer: Issuer::new(params, key),
        }
    }

    /// The file of its own certificate.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Signs a certificate for a host name or address.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn sign(&self, host: &str) -> Identity {
        let key = KeyPair::generate().expect("make a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("sign");
        let identity = Identity {
            cert: self.folder.join(format!("{host}.crt")),
            key: self.folder.join(format!("{host}.key")),
        };
        fs::write(&identity.cert, certificate.pem()).expect("write a certificate");
        fs::write(&identity.key, key.serialize_pem()).expect("write a key");
        identity
    }
}
