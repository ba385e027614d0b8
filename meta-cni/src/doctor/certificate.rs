//! Until when certificates and tokens are good: read from files, from a token itself (RFC 7519), and from what a TLS
//! server shows.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dial::several::Addresses;
use dial::stream::Noted;
use http::Uri;
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::Deserialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::finding::{Area, Finding};

/// What is left of a life is little below this part of it,
const LITTLE_PART: i64 = 5;
/// and below this many seconds: two weeks.
const LITTLE_SECONDS: i64 = 14 * 86_400;

/// From when to when something is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    begin: i64,
    end: i64,
}

/// The claims of a token that say when it is good.
#[derive(Deserialize)]
struct Claims {
    exp: i64,
    #[serde(default)]
    iat: i64,
}

impl Validity {
    /// Of a token, if it is one that says so.
    pub(super) fn of_token(token: &str) -> Option<Validity> {
        let claims = token.split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        Some(Validity {
            begin: claims.iat,
            end: claims.exp,
        })
    }

    /// Of the first certificate of a PEM text.
    pub(super) fn of_pem(pem: &[u8]) -> Option<Validity> {
        Validity::of_der(&CertificateDer::from_pem_slice(pem).ok()?)
    }

    fn of_der(der: &[u8]) -> Option<Validity> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Validity {
            begin: validity.not_before.timestamp(),
            end: validity.not_after.timestamp(),
        })
    }

    /// Whether it is good no more.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.end <= now.as_second()
    }

    /// That `what` has ended, or will soon.
    pub(super) fn finding(
        &self,
        area: Area,
        what: &str,
        now: Timestamp,
        remedy: &str,
    ) -> Option<Finding> {
        let end = Timestamp::from_second(self.end)
            .map_or_else(|_| self.end.to_string(), |end| end.to_string());
        if self.has_ended(now) {
            return Some(Finding::fault(
                area,
                format!("{what} has expired: it was good until {end}"),
                remedy,
            ));
        }
        if self.begin > now.as_second() {
            let cause = format!("{what} is not good yet: is the clock of this node right?");
            return Some(Finding::fault(area, cause, remedy).seen(format!("now it is {now}")));
        }
        let left = self.end - now.as_second();
        let is_little = left < LITTLE_SECONDS && left < (self.end - self.begin) / LITTLE_PART;
        is_little.then(|| Finding::warning(area, format!("{what} expires soon, at {end}"), remedy))
    }
}

/// Of the certificate that ends first, of those that the servers at several addresses show.
pub(super) fn of_servers(addresses: &str, limit: Duration) -> Option<Validity> {
    let addresses: Addresses = addresses.parse().ok()?;
    let shown = thread::scope(|scope| {
        let all = addresses.all().iter();
        let seen = all.map(|one| scope.spawn(|| of_server(one.as_str(), limit)));
        let seen: Vec<_> = seen.collect();
        let seen = seen.into_iter().filter_map(|seen| seen.join().ok()?);
        seen.collect::<Vec<_>>()
    });
    shown.into_iter().min_by_key(|shown| shown.end)
}

/// Of what the server of an `https` URL shows, if it shows something within `limit`. It is not trusted, only read.
pub(super) fn of_server(url: &str, limit: Duration) -> Option<Validity> {
    let url: Uri = url.parse().ok()?;
    if url.scheme_str() != Some("https") {
        return None;
    }
    let onlooker = Arc::new(Onlooker {
        provider: ring::default_provider(),
        seen: Mutex::default(),
    });
    let config = ClientConfig::builder_with_provider(Arc::new(onlooker.provider.clone()))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&onlooker) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let noted = Noted::default();
    let connecting = dial::connect(&url, Arc::new(config), &noted);
    // A server that wants a certificate of ours ends this, once it has shown its own.
    let _ended_by_it = runtime.block_on(async { tokio::time::timeout(limit, connecting).await });
    let seen = onlooker.seen.lock().unwrap_or_else(PoisonError::into_inner);
    Validity::of_der(seen.as_ref()?)
}

/// Looks at a server's certificate and lets it pass: nothing is ever said over the connection.
#[derive(Debug)]
struct Onlooker {
    provider: CryptoProvider,
    seen: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    const HOUR: i64 = 3600;

    fn severity(begin: i64, end: i64) -> Option<Severity> {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let validity = Validity {
            begin: now.as_second() + begin,
            end: now.as_second() + end,
        };
        let found = validity.finding(Area::Cluster, "the token", now, "renew it")?;
        assert!(found.cause.starts_with("the token "), "{found:?}");
        Some(found.severity)
    }

    #[test]
    fn what_ends_soon_is_reported_before_it_has_ended() {
        use Severity::{Fault, Warning};
        for (case, begin, end, expected) in [
            ("an hour's token, new", 0, HOUR, None),
            ("an hour's token, old", -55 * 60, 5 * 60, Some(Warning)),
            ("over", -HOUR, 0, Some(Fault)),
            ("not yet", HOUR, 2 * HOUR, Some(Fault)),
            (
                "a year's, a month left",
                -335 * 24 * HOUR,
                30 * 24 * HOUR,
                None,
            ),
            (
                "a year's, a week left",
                -358 * 24 * HOUR,
                7 * 24 * HOUR,
                Some(Warning),
            ),
        ] {
            assert_eq!(severity(begin, end), expected, "{case}");
        }
    }

    #[test]
    fn a_token_says_until_when_it_is_good() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"iat":10,"exp":70}"#);
        let validity = Validity::of_token(&format!("e30.{claims}.c2ln"));
        assert_eq!(validity, Some(Validity { begin: 10, end: 70 }));
        for opaque in ["", "abc", "a.b.c"] {
            assert_eq!(Validity::of_token(opaque), None, "{opaque}");
        }
    }
}
