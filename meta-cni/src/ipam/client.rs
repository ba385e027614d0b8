//! One connection to a server of ipam.v1, made when it is first needed, for a process that lives for one call.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response, Status};

use super::config::{Server, Tls};
use super::failure::IpamFailure;

/// The pause before a call that found the server away is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// Leases.
pub type Leases = LeaseServiceClient<Channel>;

/// A connection that is open.
pub struct Client {
    runtime: Runtime,
    channel: Channel,
    deadline: Instant,
}

impl Client {
    /// Connects. `patient`: tries again until the time is over if nobody answers.
    ///
    /// # Errors
    /// [`IpamFailure::Unreachable`]; [`IpamFailure::Certificate`].
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
        let deadline = Instant::now() + limit;
        let channel = runtime.block_on(async {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let connected = tokio::time::timeout(left, dial(server)).await;
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
            deadline,
        })
    }

    /// Makes a call; again, with the same request, as long as the server is away for a moment and time is left.
    ///
    /// # Errors
    /// The server's answer.
    pub fn call<Q, A, F>(
        &self,
        question: Q,
        call: impl Fn(Leases, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.runtime.block_on(async {
            loop {
                let left = self.deadline.saturating_duration_since(Instant::now());
                let mut request = Request::new(question.clone());
                request.set_timeout(left);
                let answered = call(LeaseServiceClient::new(self.channel.clone()), request).await;
                match answered {
                    Err(status) if status.code() == Code::Unavailable && left > PAUSE => {
                        tokio::time::sleep(PAUSE).await;
                    }
                    answered => return answered.map(Response::into_inner),
                }
            }
        })
    }

    /// Looks at a pool.
    ///
    /// # Errors
    /// The server's answer.
    pub fn pool(&self, name: &str) -> Result<proto::ipam::v1::Pool, Status> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut request = Request::new(proto::ipam::v1::GetPoolRequest {
            name: name.to_owned(),
        });
        request.set_timeout(left);
        let mut pools = PoolServiceClient::new(self.channel.clone());
        self.runtime
            .block_on(pools.get_pool(request))
            .map(Response::into_inner)
    }
}

async fn dial(server: &Server) -> Result<Channel, IpamFailure> {
    let unreachable = |source| IpamFailure::Unreachable {
        server: server.address.clone(),
        source,
    };
    let Some(path) = server.address.strip_prefix("unix://") else {
        let invalid = |error: tonic::transport::Error| unreachable(cause(&error));
        let mut endpoint = Endpoint::from_shared(server.address.clone()).map_err(invalid)?;
        if server.address.starts_with("https://") {
            endpoint = endpoint
                .tls_config(tls(server.tls.as_ref())?)
                .map_err(invalid)?;
        }
        return endpoint.connect().await.map_err(invalid);
    };
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| unreachable(Box::new(error)))?;
    // One connection, made above so that its error is told as it is; the address names nothing.
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = stream
            .take()
            .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset));
        async move { stream }
    });
    let endpoint = Endpoint::from_static("http://ipam-server");
    endpoint
        .connect_with_connector(connector)
        .await
        .map_err(|error| unreachable(cause(&error)))
}

/// The innermost cause: what surrounds it says only that a transport failed.
fn cause(error: &dyn std::error::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string().into()
}

fn tls(files: Option<&Tls>) -> Result<ClientTlsConfig, IpamFailure> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| IpamFailure::Certificate {
            path: path.clone(),
            source,
        })
    };
    let mut config = ClientTlsConfig::new();
    let Some(files) = files else {
        return Ok(config);
    };
    if let Some(ca) = &files.ca {
        config = config.ca_certificate(Certificate::from_pem(read(ca)?));
    }
    if let (Some(cert), Some(key)) = (&files.cert, &files.key) {
        config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(config)
}
