//! All servers that `--server` names, as one: a call goes to the server that answered last, and on to the next one when that server
//! fails, drains or is silent ([`dial::several`]).

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dial::address::AddressError;
use dial::several::{self, Addresses, Away, Preferred, Repeated, Time};
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceExt as _;

use super::dial::{Server, dial, files, unreachable};
use super::flags::RemoteFlags;
use crate::error::CliError;

/// How long all servers are tried again and again while none is of use, as while each is replaced by its next version.
const HOLD: Duration = Duration::from_secs(1);
/// The call whose request is a stream: it cannot be sent twice.
const IMPORT: &str = "/ipam.v1.AdminService/Import";

/// The servers. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Servers(Arc<Inner>);

struct Inner {
    addresses: Addresses,
    all: Vec<One>,
    preferred: Preferred,
    timeout: Duration,
}

/// A server, dialled when it is first needed.
struct One {
    server: Server,
    channel: OnceCell<Channel>,
}

/// A server that cannot answer a call.
enum Useless {
    /// It says so.
    Answer(Response<Body>),
    /// It cannot be reached, or the connection broke.
    Failed(BoxError),
}

type BoxError = Box<dyn Error + Send + Sync>;

impl One {
    async fn channel(&self, timeout: Duration) -> Result<Channel, Away<CliError>> {
        let channel = self.channel.get_or_try_init(|| dial(&self.server, timeout));
        channel.await.cloned().map_err(|why| Away {
            is_transient: matches!(why, CliError::Unreachable { .. }),
            why,
        })
    }
}

impl Servers {
    /// Reads `--server` and the TLS flags; dials nothing.
    pub(super) fn parse(flags: RemoteFlags, timeout: Duration) -> Result<Servers, CliError> {
        let wrong = |error: AddressError| CliError::argument("--server", error.to_string());
        let addresses: Addresses = flags.server.parse().map_err(wrong)?;
        let files = addresses.is_tls().then(|| files(flags)).transpose()?;
        let all = addresses.all().iter().map(|address| One {
            server: Server::new(address.clone(), files.as_ref()),
            channel: OnceCell::new(),
        });
        Ok(Servers(Arc::new(Inner {
            all: all.collect(),
            addresses,
            preferred: Preferred::default(),
            timeout,
        })))
    }

    /// Whether all servers show a certificate.
    pub(super) fn are_tls(&self) -> bool {
        self.0.addresses.all().iter().all(|one| one.is_tls())
    }

    /// The addresses as the caller wrote them.
    pub(super) fn name(&self) -> &str {
        self.0.addresses.as_str()
    }

    /// Connects to one of them, if there is no connection yet.
    pub(super) async fn connect(&self) -> Result<(), CliError> {
        let inner = &*self.0;
        let time = inner.time(Some(inner.timeout));
        let connected = several::ask(inner.all.len(), &inner.preferred, time, |at| async move {
            inner.all[at].channel(inner.timeout).await.map(drop)
        });
        match connected.await {
            Ok(()) => Ok(()),
            Err(Some(CliError::Unreachable { why, remedy, .. })) => Err(CliError::Unreachable {
                server: self.name().to_owned(),
                why,
                remedy,
            }),
            Err(Some(error)) => Err(error),
            Err(None) => Err(CliError::Deadline {
                server: self.name().to_owned(),
                seconds: inner.timeout.as_secs(),
            }),
        }
    }

    /// What an error of the connection means to a person.
    pub(super) fn unreachable(&self, error: &(dyn Error + 'static)) -> CliError {
        let refusal = self.0.all.iter().find_map(|one| one.server.refusal());
        unreachable(self.name(), refusal, error)
    }
}

impl Inner {
    /// A single server is asked once.
    fn time(&self, limit: Option<Duration>) -> Time {
        let now = Instant::now();
        Time {
            deadline: limit.map(|limit| now + limit),
            patience: match self.all.len() {
                1 => now,
                _ => now + HOLD,
            },
        }
    }

    /// Sends a request that cannot be sent twice: to a server that has answered a question before.
    async fn send_once(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        if self.all.len() > 1 {
            let limit = several::time_limit(request.headers()).unwrap_or(self.timeout);
            self.send_any(question().await?, Some(limit)).await?;
        }
        let one = &self.all[self.preferred.get()];
        let channel = one.channel(self.timeout).await;
        let channel = channel.map_err(|away| away.why)?;
        Ok(channel.oneshot(request).await?)
    }

    /// Sends a request; to the next server if one is of no use.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        if self.all.len() == 1 || request.uri().path() == IMPORT {
            return self.send_once(request).await;
        }
        let repeated = Repeated::read(request).await?;
        let limit = several::time_limit(repeated.headers());
        self.send_any(repeated, limit).await
    }

    async fn send_any(
        &self,
        repeated: Repeated,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, BoxError> {
        let time = self.time(limit);
        let answer = several::ask(self.all.len(), &self.preferred, time, |at| {
            let request = repeated.request().map(Body::new);
            async move {
                let channel = self.all[at].channel(self.timeout).await;
                let channel = channel.map_err(|away| Away {
                    why: Useless::Failed(away.why.into()),
                    is_transient: away.is_transient,
                })?;
                let away = |why| Away {
                    why,
                    is_transient: true,
                };
                let answer = channel.oneshot(request).await;
                let answer = answer.map_err(|error| away(Useless::Failed(error.into())))?;
                match several::is_unavailable(answer.headers()) {
                    true => Err(away(Useless::Answer(answer))),
                    false => Ok(answer),
                }
            }
        });
        match answer.await {
            Ok(answer) | Err(Some(Useless::Answer(answer))) => Ok(answer),
            Err(Some(Useless::Failed(error))) => Err(error),
            Err(None) => Err(silent()),
        }
    }
}

/// A question that each server answers, be it by UNIMPLEMENTED.
async fn question() -> Result<Repeated, BoxError> {
    // A message without content: no compression, no bytes (gRPC over HTTP/2, Length-Prefixed-Message).
    let body = Body::new(Full::new(Bytes::from_static(&[0; 5])));
    let request = Request::post("/grpc.health.v1.Health/Check")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .body(body)?;
    Ok(Repeated::read(request).await?)
}

fn silent() -> BoxError {
    Status::deadline_exceeded("no server answers in time").into()
}

impl tower::Service<Request<Body>> for Servers {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.send(request).await })
    }
}
