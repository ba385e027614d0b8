//! Reaching ipam-server: over a Unix socket, over TLS, or over plain TCP on loopback. It counts as reached once it has
//! answered a first question: under TLS 1.3 only then is it known whether it takes our certificate.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::body::Body;
use cni::error::{one_line, with_causes};
use dial::ConnectError;
use dial::address::{Address, Target};
use dial::files::{Credentials, FilesError};
use dial::refusal::Refusal;
use dial::resolver;
use dial::stream::{Noted, Stream};
use http::uri::PathAndQuery;
use http::{Request, header};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::super::blocking;
use super::upstream::Upstream;

/// For connecting, the handshake and the first answer together.
const LIMIT: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(5);
/// What may be on its way back to one caller who does not take it.
const STREAM_WINDOW: u32 = 128 << 10;
/// What may be on its way back to all of them: more than the 200 calls that ipam-server takes over one connection
/// (hyper's default) can hold back together, so that no caller waits for another one.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// The first question.
const FIRST: PathAndQuery = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
/// A gRPC message without content: no compression, no bytes.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// Why ipam-server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Our files cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Nobody answers.
    #[error(
        "ipam-server at {server} cannot be reached; does it run, and is --ipam-server of meta-cnid right?"
    )]
    Away {
        server: Address,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// One side refuses the other one's certificate.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// Somebody else answers.
    #[error(
        "what answers at {server} is no ipam-server: it does not speak gRPC; correct --ipam-server of meta-cnid"
    )]
    Stranger { server: Address },
}

impl DialError {
    /// The error that a caller gets. To try again helps, unless the server refuses the agent's certificate or token.
    pub(super) fn to_status(&self) -> Status {
        let code = match self {
            DialError::Refusal(refusal) if refusal.is_about_us() => Code::Unauthenticated,
            _ => Code::Unavailable,
        };
        Status::new(code, one_line(&with_causes(self)))
    }
}

/// A connection that ipam-server has answered on.
pub(super) struct Opened {
    pub(super) sender: SendRequest<Body>,
    /// Carries the calls; ends when no more can be made on it.
    pub(super) connection: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Our files, as they were used.
    pub(super) credentials: Option<Credentials>,
}

impl Upstream {
    /// Reads our files, connects, and has a first question answered.
    pub(super) async fn open(&self) -> Result<Opened, DialError> {
        let credentials = self.credentials().await?;
        let opened = tokio::time::timeout(LIMIT, self.connect(credentials)).await;
        opened.unwrap_or_else(|_| {
            Err(self.away(format!("it does not answer within {} s", LIMIT.as_secs())))
        })
    }

    /// Our files as they are now, if there are any.
    pub(super) async fn credentials(&self) -> Result<Option<Credentials>, FilesError> {
        let Some(files) = self.files().cloned() else {
            return Ok(None);
        };
        blocking(move || files.read()).await.map(Some)
    }

    async fn connect(&self, credentials: Option<Credentials>) -> Result<Opened, DialError> {
        let noted = Noted::default();
        let stream = self.stream(credentials.as_ref(), &noted).await?;
        let (mut sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(dial::HEADER_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_LIMIT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.away(error))?;
        let mut connection = Box::pin(async move {
            if let Err(error) = connection.await {
                let error = with_causes(&error);
                tracing::debug!(error, "the connection to ipam-server broke");
            }
        });
        let answered = {
            let mut first = pin!(sender.send_request(self.first()));
            tokio::select! {
                answered = &mut first => answered,
                () = &mut connection => first.await,
            }
        };
        match (answered, noted.get()) {
            (Ok(answer), _) if speaks_grpc(answer.headers()) => Ok(Opened {
                sender,
                connection,
                credentials,
            }),
            (Ok(_), _) => Err(DialError::Stranger {
                server: self.address.clone(),
            }),
            (Err(_), Some(tls)) => Err(self.tls_failure(tls.clone())),
            (Err(error), None) => Err(self.away(error)),
        }
    }

    async fn stream(
        &self,
        credentials: Option<&Credentials>,
        noted: &Noted,
    ) -> Result<Box<dyn Stream>, DialError> {
        match (self.address.target(), self.files().zip(credentials)) {
            (Target::Unix(path), _) => {
                let stream = UnixStream::connect(path).await;
                Ok(Box::new(stream.map_err(|error| self.away(error))?))
            }
            (Target::Tls(uri), Some((files, credentials))) => {
                let config = files.config(credentials)?.into();
                let connected = dial::connect(uri, config, noted).await;
                Ok(Box::new(connected.map_err(|error| match error {
                    ConnectError::Tls(tls) => self.tls_failure(tls),
                    error => self.away(error),
                })?))
            }
            (Target::Loopback(uri) | Target::Tls(uri), _) => Ok(Box::new(self.tcp(uri).await?)),
        }
    }

    async fn tcp(&self, uri: &http::Uri) -> Result<tokio::net::TcpStream, DialError> {
        let connected = resolver::connector().oneshot(uri.clone()).await;
        let stream = connected.map_err(|error| self.away(error))?;
        Ok(stream.into_inner())
    }

    fn first(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(EMPTY_MESSAGE));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri(FIRST);
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, GRPC);
        headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
        request
    }

    fn away(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DialError {
        DialError::Away {
            server: self.address.clone(),
            source: source.into(),
        }
    }

    fn tls_failure(&self, source: rustls::Error) -> DialError {
        let Some(files) = self.files() else {
            return self.away(source);
        };
        let server = format!("ipam-server at {}", self.address);
        match Refusal::of(source, files, server) {
            Ok(refusal) => refusal.into(),
            Err(source) => self.away(source),
        }
    }
}

const GRPC: header::HeaderValue = header::HeaderValue::from_static("application/grpc");

fn speaks_grpc(headers: &http::HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes()))
}

#[cfg(test)]
mod tests {
    use dial::files::Files;
    use rustls::{AlertDescription, CertificateError};

    use super::*;
    use crate::proxy::{NAMES, Upstreams};

    #[test]
    fn what_tls_says_is_reported_with_the_file_and_what_to_do_in_one_line() {
        let identity = |name: &str| {
            (
                format!("/etc/{name}.crt").into(),
                format!("/etc/{name}.key").into(),
            )
        };
        let with = |identity| {
            let files = Files {
                ca: "/etc/ca.crt".into(),
                identity,
                names: NAMES,
            };
            let address = "https://ipam.storage.example.org:7443";
            let upstreams = Upstreams::new(address, Some(files)).unwrap();
            upstreams.into_parts().1.remove(0)
        };
        let alert = rustls::Error::AlertReceived;
        let invalid = rustls::Error::InvalidCertificate;
        for (upstream, error, code, words) in [
            (
                with(Some(identity("node"))),
                alert(AlertDescription::CertificateExpired),
                Code::Unauthenticated,
                ["/etc/node.crt", "renew it", "CertificateExpired"],
            ),
            (
                with(None),
                alert(AlertDescription::CertificateRequired),
                Code::Unauthenticated,
                ["--ipam-cert", "--ipam-key", "CertificateRequired"],
            ),
            (
                with(None),
                alert(AlertDescription::ProtocolVersion),
                Code::Unavailable,
                ["cannot be reached", "--ipam-server", "ProtocolVersion"],
            ),
            (
                with(None),
                invalid(CertificateError::UnknownIssuer),
                Code::Unavailable,
                ["/etc/ca.crt", "--ipam-ca", "UnknownIssuer"],
            ),
            (
                with(None),
                invalid(CertificateError::Expired),
                Code::Unavailable,
                ["/etc/ca.crt", "renew its certificate", "xpired"],
            ),
        ] {
            let shown = upstream.tls_failure(error).to_status();
            assert_eq!(shown.code(), code, "{shown}");
            for word in words
                .into_iter()
                .chain(["https://ipam.storage.example.org:7443"])
            {
                assert!(shown.message().contains(word), "{word}: {shown}");
            }
            assert!(shown.message().len() < 300, "{shown}");
        }
    }
}
