//! Certificates for tests.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};

/// Whoever issues certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub file: PathBuf,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Whose a certificate is.
struct Subject<'a> {
    host: &'a str,
    common: &'a str,
    uris: &'a [&'a str],
}

impl<'a> Subject<'a> {
    fn of(host: &'a str, common: &'a str) -> Subject<'a> {
        Subject {
            host,
            common,
            uris: &[],
        }
    }
}

/// The years with whose beginning certificates begin and end to be valid.
const YEARS: (i32, i32) = (2000, 4000);

impl Authority {
    /// A new one, whose certificate is in `folder`.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        let file = folder.join(format!("{name}.ca"));
        fs::write(&file, cert.pem()).expect("write an authority");
        Authority {
            issuer: Issuer::new(params, key),
            file,
        }
    }

    /// A certificate for this host and of the node NAME, in `folder/NAME.crt` and `.key`: it replaces what is there.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn issue(&self, folder: &Path, name: &str, host: &str) -> Identity {
        let common = format!("system:node:{name}");
        self.write(folder, name, &Subject::of(host, &common), YEARS)
    }

    /// A certificate of this common name and these URIs, in `folder/NAME.crt` and `.key`.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn issue_to(&self, folder: &Path, name: &str, common: &str, uris: &[&str]) -> Identity {
        let subject = Subject {
            uris,
            ..Subject::of("client", common)
        };
        self.write(folder, name, &subject, YEARS)
    }

    /// The same, but its time is over.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn issue_expired(&self, folder: &Path, name: &str, host: &str) -> Identity {
        self.issue_until(folder, name, host, 2001)
    }

    /// The same, valid until a year begins.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn issue_until(&self, folder: &Path, name: &str, host: &str, year: i32) -> Identity {
        let common = format!("system:node:{name}");
        self.write(folder, name, &Subject::of(host, &common), (YEARS.0, year))
    }

    fn write(
        &self,
        folder: &Path,
        name: &str,
        subject: &Subject<'_>,
        years: (i32, i32),
    ) -> Identity {
        let hosts = vec![subject.host.to_owned()];
        let mut params = CertificateParams::new(hosts).expect("a host");
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, subject.common);
        for &uri in subject.uris {
            let uri = SanType::URI(uri.try_into().expect("a URI"));
            params.subject_alt_names.push(uri);
        }
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let identity = Identity {
            cert: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&identity.key, key.serialize_pem()).expect("write a key");
        fs::write(&identity.cert, cert.pem()).expect("write a certificate");
        identity
    }
}
