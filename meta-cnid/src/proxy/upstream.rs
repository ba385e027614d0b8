//! Where the servers of ipam.v1 are, and requests addressed to one of them. How one is reached is left to [`super::dial`].

use axum::body::Body;
use dial::address::{Address, Target};
use dial::files::Files;
use dial::several::Addresses;
use dial::token::Token;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Request, Uri, Version, header};
use meta_cni::ipam::config::check_address;

/// Where calls are passed on to: a server, or several of one store.
#[derive(Clone, Debug)]
pub struct Upstreams {
    addresses: Addresses,
    all: Vec<Upstream>,
}

impl Upstreams {
    /// The servers at `unix:///path`, `https://host:port`, or `http://` on loopback, several with commas. Nothing is connected yet.
    ///
    /// # Errors
    /// [`WrongUpstream`], also if there are no files for https.
    pub fn new(addresses: &str, files: Option<Files>) -> Result<Upstreams, WrongUpstream> {
        let wrong = |problem| WrongUpstream { problem };
        let read = check_address(addresses, files.is_some()).map_err(wrong)?;
        if read.is_tls() && files.is_none() {
            return Err(wrong(format!(
                "{read} is trusted by --ipam-ca: give it too"
            )));
        }
        let all = read.all().iter().map(|address| Upstream {
            files: files.clone().filter(|_| address.is_tls()),
            address: address.clone(),
            token: None,
        });
        Ok(Upstreams {
            all: all.collect(),
            addresses: read,
        })
    }

    /// The same servers, which know us by a token beside our files or instead of them.
    ///
    /// # Errors
    /// [`WrongUpstream`] if one is not reached over TLS: whoever listens could use the token.
    pub fn with_token(mut self, token: &Token) -> Result<Upstreams, WrongUpstream> {
        for upstream in &mut self.all {
            if !upstream.address.is_tls() {
                let problem = format!(
                    "{} takes no token; --ipam-token-file goes with https",
                    upstream.address
                );
                return Err(WrongUpstream { problem });
            }
            upstream.token = Some(token.clone());
        }
        Ok(self)
    }

    /// The addresses as they were written, and each server.
    pub(super) fn into_parts(self) -> (Addresses, Vec<Upstream>) {
        (self.addresses, self.all)
    }
}

/// One server.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) address: Address,
    /// Of a server that is reached over TLS.
    files: Option<Files>,
    token: Option<Token>,
}

/// An address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--ipam-server: {problem}")]
pub struct WrongUpstream {
    /// What is wrong and what it should be.
    pub problem: String,
}

impl Upstream {
    /// Our files, if it is reached over TLS.
    pub(super) fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// The request, addressed to this server.
    pub(super) fn readdress(&self, request: Request<Body>) -> Request<Body> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        parts.uri = self.uri(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        parts.headers.remove(header::HOST);
        // Who calls on this node is nobody to ipam-server: the node is.
        parts.headers.remove(header::AUTHORIZATION);
        if let Some(token) = &self.token {
            let authorization = token.authorization();
            parts.headers.insert(header::AUTHORIZATION, authorization);
        }
        parts.version = Version::HTTP_2;
        // What our own server noted of the caller.
        parts.extensions.clear();
        Request::from_parts(parts, body)
    }

    pub(super) fn uri(&self, path: PathAndQuery) -> Uri {
        let (scheme, authority) = match self.address.target() {
            // A path is no host.
            Target::Unix(_) => (Scheme::HTTP, Some(Authority::from_static("ipam-server"))),
            Target::Loopback(uri) => (Scheme::HTTP, uri.authority().cloned()),
            Target::Tls(uri) => (Scheme::HTTPS, uri.authority().cloned()),
        };
        let mut parts = Parts::default();
        (parts.scheme, parts.authority) = (Some(scheme), authority);
        parts.path_and_query = Some(path);
        // With all three parts it is always a URI.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(address: &str, files: Option<Files>) -> Upstream {
        Upstreams::new(address, files).unwrap().all.remove(0)
    }

    fn files() -> Files {
        Files {
            ca: "/ca".into(),
            identity: None,
            names: crate::proxy::NAMES,
        }
    }

    #[test]
    fn a_request_is_addressed_anew_and_keeps_the_rest() {
        for (address, files, expected) in [
            ("unix:///run/ipam.sock", None, "http://ipam-server/a.B/C?d"),
            (
                "http://127.0.0.1:7443",
                None,
                "http://127.0.0.1:7443/a.B/C?d",
            ),
            (
                "https://[fd00::1]:7443",
                Some(files()),
                "https://[fd00::1]:7443/a.B/C?d",
            ),
            ("https://ipam", Some(files()), "https://ipam/a.B/C?d"),
        ] {
            let upstream = one(address, files);
            let request = Request::post("http://localhost/a.B/C?d")
                .header("grpc-timeout", "5S")
                .header("host", "localhost")
                .header("authorization", "Bearer of a stranger")
                .body(Body::empty())
                .unwrap();
            let request = upstream.readdress(request);
            assert_eq!(request.uri(), expected);
            assert_eq!(request.method(), http::Method::POST);
            assert_eq!(request.headers().len(), 1);
            assert_eq!(request.headers()["grpc-timeout"], "5S");
        }
    }

    #[test]
    fn a_token_goes_with_https_and_is_sent_with_each_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "abc").unwrap();
        let token = Token::open(path, "--ipam-token-file").unwrap();
        let plain = Upstreams::new("http://127.0.0.1:1", None).unwrap();
        let refused = plain.with_token(&token).unwrap_err();
        assert!(refused.to_string().contains("https"), "{refused}");
        let upstreams = Upstreams::new("https://ipam:7443,https://b:1", Some(files())).unwrap();
        let upstreams = upstreams.with_token(&token).unwrap();
        let upstream = &upstreams.all[1];
        let request = Request::post("http://localhost/a.B/C");
        let request = upstream.readdress(request.body(Body::empty()).unwrap());
        assert_eq!(request.headers()["authorization"], "Bearer abc");
    }

    #[test]
    fn an_address_that_cannot_be_used_is_reported_with_the_flag() {
        for (address, files, words) in [
            ("10.0.0.1:7443", None, "is not unix:///path"),
            ("http://10.0.0.1:7443", None, "use https"),
            ("https://ipam:7443", None, "--ipam-ca"),
            ("https://a b:1", Some(files()), "is not an address"),
            ("http://127.0.0.1:1", Some(files()), "goes with https"),
            ("unix:///a,https://b:1", None, "--ipam-ca"),
            ("unix:///a,unix:///a", None, "named twice"),
        ] {
            let shown = Upstreams::new(address, files).unwrap_err().to_string();
            assert!(
                shown.starts_with("--ipam-server: ") && shown.contains(words),
                "{shown}"
            );
        }
    }
}
