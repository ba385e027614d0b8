//! Who a caller is: the user on a Unix socket, the names of a client certificate, the user of a token, or nobody. Here
//! certificates are read, a server's own included.

use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::text;

/// A caller as its connection proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A user of this machine.
    User(u32),
    /// The names of a certificate that an authority of --tls-client-ca signed.
    Certificate(Vec<String>),
    /// The user of a token, and the node that the token is bound to.
    Token {
        /// `system:serviceaccount:NAMESPACE:NAME`, or any other user.
        name: String,
        /// The node.
        node: Option<String>,
    },
    /// Nothing is proved. The address is for the log only.
    Nobody(Option<IpAddr>),
}

impl Identity {
    /// For the history and the log.
    pub fn shown(&self) -> String {
        match self {
            Identity::User(uid) => format!("uid:{uid}"),
            Identity::Certificate(names) => names
                .first()
                .map_or_else(|| "a certificate without a name".to_owned(), Clone::clone),
            Identity::Token { name, .. } => name.clone(),
            Identity::Nobody(Some(address)) => address.to_string(),
            Identity::Nobody(None) => "unknown".to_owned(),
        }
    }
}

/// From when to when a certificate is valid; none: it cannot be read, or a time is before 1970.
pub(crate) fn validity(certificate: &[u8]) -> Option<Range<SystemTime>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let at = |seconds: i64| {
        let seconds = u64::try_from(seconds).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    };
    let validity = parsed.validity();
    Some(at(validity.not_before.timestamp())?..at(validity.not_after.timestamp())?)
}

/// The SPIFFE URIs and the common name of a certificate. A name with a character that steers a terminal is left out: it would reach logs
/// and terminals.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let alternative = alternative.map(|extension| extension.value.general_names.as_slice());
    let uris = alternative.unwrap_or_default().iter().filter_map(|name| {
        let GeneralName::URI(uri) = name else {
            return None;
        };
        uri.starts_with("spiffe://").then(|| (*uri).to_owned())
    });
    let common = parsed.subject().iter_common_name();
    // Two common names would be two identities of one certificate.
    let common = match common.collect::<Vec<_>>().as_slice() {
        [one] => one.as_str().ok().map(str::to_owned),
        _ => None,
    };
    let all = uris.chain(common);
    all.filter(|name| !name.is_empty() && text::is_plain(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common: &str, uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["host".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        for &uri in uris {
            let uri = SanType::URI(uri.try_into().unwrap());
            params.subject_alt_names.push(uri);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_names_of_a_certificate_are_its_spiffe_uris_and_its_common_name() {
        for (common, uris, expected) in [
            ("system:node:n1", &[][..], &["system:node:n1"][..]),
            (
                "x",
                &["spiffe://td/node/n1", "https://td/x"],
                &["spiffe://td/node/n1", "x"],
            ),
            ("", &[], &[]),
            ("system:node:\u{1b}[2J", &[], &[]),
        ] {
            assert_eq!(names(&certificate(common, uris)), expected, "{common:?}");
        }
        assert!(names(b"rubbish").is_empty());
    }
}
