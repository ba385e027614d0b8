//! The connection to a server of ipam.v1, for a process that lives for one call. It is made again when it breaks, so
//! that a server, or an agent before it, that is just restarted gets the same request a moment later.

use std::future::Future;
use std::time::{Duration, Instant};

use cni::error::{said, with_causes};
use dial::Connector;
use dial::address::{Address, Target};
use dial::files::Files;
use dial::refusal::Refusal;
use dial::resolver;
use dial::stream::Noted;
use futures_util::future::join_all;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::{GetPoolRequest, Pool};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::config::Server;
use super::failure::IpamFailure;
use crate::{limits, rpc, trace};

/// The pause before a call that found the server away is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// Leases.
pub type Leases = LeaseServiceClient<Channel>;

/// The files of a TLS connection, and what was said of them.
#[derive(Clone)]
struct Trust {
    files: Files,
    noted: Noted,
}

/// A connection that is open.
pub struct Client {
    runtime: Runtime,
    channel: Channel,
    tls: Option<Trust>,
    address: String,
    deadline: Instant,
    patient: bool,
}

impl Client {
    /// Connects. `patient`: here and in each call, whoever is away is tried again until the time is over. Else a server
    /// that is not running is reported at once.
    ///
    /// # Errors
    /// [`IpamFailure::Unreachable`]; [`IpamFailure::Files`]; [`IpamFailure::Certificate`].
    pub fn connect(server: &Server, limit: Duration, patient: bool) -> Result<Client, IpamFailure> {
        let unreachable = |source| IpamFailure::Unreachable {
            server: server.address.clone(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| unreachable(Box::new(source)))?;
        let deadline = Instant::now() + limit.min(limits::left());
        let tls = server.files().map(|files| Trust {
            files,
            noted: Noted::default(),
        });
        let channel = runtime.block_on(async {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let connected = tokio::time::timeout(left, dial(server, tls.as_ref())).await;
                match connected
                    .unwrap_or_else(|_| Err(unreachable("it did not answer in time".into())))
                {
                    Err(IpamFailure::Unreachable { .. }) if patient && left > PAUSE => {
                        tokio::time::sleep(PAUSE).await;
                    }
                    connected => return connected,
                }
            }
        })?;
        Ok(Client {
            runtime,
            channel,
            tls,
            address: server.address.clone(),
            deadline,
            patient,
        })
    }

    /// Makes a call; again, with the same request, as long as the server is away for a moment and time is left.
    ///
    /// # Errors
    /// The server's answer, or UNAVAILABLE with why it cannot be reached.
    pub fn call<Q, A, F>(
        &self,
        question: Q,
        call: impl Fn(Leases, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.ask(question, |channel, request| {
            call(LeaseServiceClient::new(channel), request)
        })
    }

    /// Makes calls all at once, each once and with `limit` for its answer: one that is stuck delays no other.
    /// The answers come in the order of the questions.
    pub fn call_all<Q, A, F>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        limit: Duration,
        call: impl Fn(Leases, Request<Q>) -> F,
    ) -> Vec<Result<A, Status>>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let limit = limit.min(self.left());
        let calls = questions.into_iter().map(|question| {
            let mut request = Request::new(question);
            request.set_timeout(limit);
            trace::mark(&mut request);
            let call = call(LeaseServiceClient::new(self.channel.clone()), request);
            async move {
                match tokio::time::timeout(limit, call).await {
                    Ok(answer) => answer.map(Response::into_inner),
                    Err(_) => Err(Status::deadline_exceeded(format!(
                        "{} is silent",
                        self.address
                    ))),
                }
            }
        });
        self.runtime.block_on(async { join_all(calls).await })
    }

    /// Looks at a pool.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn pool(&self, name: &str) -> Result<Pool, Status> {
        let question = GetPoolRequest {
            name: name.to_owned(),
        };
        self.ask(question, |channel, request| async move {
            PoolServiceClient::new(channel).get_pool(request).await
        })
    }

    /// Makes a call of any service of the server, as [`Client::call`] does.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(crate) fn ask<Q, A, F>(
        &self,
        question: Q,
        call: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.runtime.block_on(async {
            let mut away = None;
            loop {
                let left = self.left();
                let mut request = Request::new(question.clone());
                request.set_timeout(left);
                trace::mark(&mut request);
                // The channel's own limit, from the request, does not count the time to connect again.
                let call = tokio::time::timeout(left, call(self.channel.clone(), request));
                let status = match call.await {
                    Ok(Ok(answer)) => return Ok(answer.into_inner()),
                    Ok(Err(status)) => status,
                    Err(_) => Status::deadline_exceeded(format!("{} is silent", self.address)),
                };
                if let Some(refused) = self.refused() {
                    return Err(refused);
                }
                if self.left().is_zero() {
                    return Err(away.unwrap_or(status));
                }
                let Some(gone) = self.away(&status) else {
                    return Err(status);
                };
                if !self.patient {
                    return Err(gone);
                }
                away = Some(gone);
                tokio::time::sleep(PAUSE.min(self.left())).await;
            }
        })
    }

    /// How much of the time for everything is left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What the server said of our certificate before it closed: under TLS 1.3 the first call gets it.
    fn refused(&self) -> Option<Status> {
        let refusal = self.tls.as_ref()?.refusal(&self.address)?;
        let code = match refusal.is_about_us() {
            true => Code::Unauthenticated,
            false => Code::Unavailable,
        };
        Some(Status::new(code, with_causes(&refusal)))
    }

    /// Whether another try may find the server; what it says itself of being away, or why the connection broke.
    fn away(&self, status: &Status) -> Option<Status> {
        // Only what the transport reports has a cause: a broken connection has one of several codes.
        match std::error::Error::source(status) {
            Some(broken) => Some(Status::unavailable(format!(
                "{} closed the connection and does not answer: {}",
                self.address,
                cause(broken)
            ))),
            None => (status.code() == Code::Unavailable).then(|| status.clone()),
        }
    }
}

impl Trust {
    /// What TLS refused, if it did.
    fn refusal(&self, address: &str) -> Option<Refusal> {
        let source = self.noted.get()?.clone();
        Refusal::of(source, &self.files, format!("ipam-server at {address}")).ok()
    }
}

async fn dial(server: &Server, tls: Option<&Trust>) -> Result<Channel, IpamFailure> {
    let unreachable = |source| IpamFailure::Unreachable {
        server: server.address.clone(),
        source,
    };
    let address: Address = server
        .address
        .parse()
        .map_err(|error| unreachable(Box::new(error)))?;
    let invalid = |error: tonic::transport::Error| unreachable(cause(&error));
    let (uri, tls) = match (address.target(), tls) {
        (Target::Unix(path), _) => {
            let connected = rpc::unix_channel(path).await;
            return connected.map_err(|error| unreachable(cause(&error)));
        }
        (Target::Tls(uri), Some(tls)) => (uri.clone(), tls),
        (Target::Loopback(uri) | Target::Tls(uri), _) => {
            let endpoint = Endpoint::from(uri.clone());
            let endpoint = endpoint.http2_max_header_list_size(dial::HEADER_BYTES);
            let connected = endpoint.connect_with_connector(resolver::connector()).await;
            return connected.map_err(invalid);
        }
    };
    let config = tls.files.config(&tls.files.read()?)?;
    let connector = Connector::new(uri.clone(), config, tls.noted.clone());
    // tonic would want to speak TLS itself if it saw https; requests are addressed to it all the same.
    let endpoint = Endpoint::from_static("http://ipam-server")
        .http2_max_header_list_size(dial::HEADER_BYTES)
        .origin(uri);
    let connected = endpoint.connect_with_connector(connector).await;
    connected.map_err(|error| match tls.refusal(&server.address) {
        Some(refusal) => refusal.into(),
        None => invalid(error),
    })
}

/// The innermost cause: what surrounds it says only that a transport failed.
fn cause(error: &(dyn std::error::Error + 'static)) -> Box<dyn std::error::Error + Send + Sync> {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    said(inner).into()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use proto::ipam::v1::AllocateRequest;
    use tokio_stream::wrappers::UnixListenerStream;

    use super::*;

    /// Reads from a connection of HTTP/2 until a request comes (RFC 9113, sections 3.4 and 4.1).
    fn wait_for_request(connection: &mut impl Read) {
        const PREFACE: usize = 24;
        const HEADERS: u8 = 1;
        connection.read_exact(&mut [0; PREFACE]).unwrap();
        loop {
            let mut head = [0; 9];
            connection.read_exact(&mut head).unwrap();
            let [a, b, c, kind, ..] = head;
            if kind == HEADERS {
                return;
            }
            let length = u32::from_be_bytes([0, a, b, c]).into();
            io::copy(&mut connection.take(length), &mut io::sink()).unwrap();
        }
    }

    /// Takes one request and closes its connection, then answers every call with UNIMPLEMENTED.
    fn restarting(listener: UnixListener) {
        let (mut connection, _) = listener.accept().unwrap();
        wait_for_request(&mut connection);
        drop(connection);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            tonic::transport::Server::builder()
                .add_routes(tonic::service::Routes::default())
                .serve_with_incoming(UnixListenerStream::new(listener))
                .await
                .unwrap();
        });
    }

    fn asked(patient: bool) -> Status {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ipam.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = Server {
            address: format!("unix://{}", path.display()),
            tls: None,
        };
        // The kernel connects before anybody accepts.
        let client = Client::connect(&server, Duration::from_secs(60), patient).unwrap();
        thread::spawn(move || restarting(listener));
        client
            .call(
                AllocateRequest::default(),
                |mut leases, request| async move { leases.allocate(request).await },
            )
            .unwrap_err()
    }

    #[test]
    fn a_call_whose_connection_breaks_is_made_again_on_another_one() {
        assert_eq!(asked(true).code(), Code::Unimplemented);
    }

    #[test]
    fn who_is_not_patient_learns_at_once_that_the_connection_broke() {
        let status = asked(false);
        assert_eq!(status.code(), Code::Unavailable);
        assert!(
            status.message().contains("closed the connection"),
            "{status}"
        );
    }
}
