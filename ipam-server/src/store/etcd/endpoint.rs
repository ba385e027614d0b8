//! One member of etcd: a connection that is made when it is needed, and made again when it broke. The files of TLS are
//! read for each connection, so renewed ones are used.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dial::files::Files;
use dial::refusal::Refusal;
use dial::resolver;
use dial::stream::{Noted, Overheard};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// How long making a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How often an idle connection is checked. A member closes the connection of a client that asks more often than each 5 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the answer may take.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(5);

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Host and port.
    pub(super) name: Arc<str>,
    pub(super) channel: Channel,
    tls: Option<Tls>,
}

impl Member {
    /// A member by host and port; nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub(super) fn new(name: &str, files: Option<Arc<Files>>) -> Result<Member, String> {
        let scheme = if files.is_some() { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{name}/")
            .parse()
            .map_err(|error| format!("{name}: {error}"))?;
        let endpoint = match &files {
            // tonic would want to speak TLS itself if it saw https; requests are addressed to it all the same.
            Some(_) => Endpoint::from_static("http://etcd").origin(uri.clone()),
            None => Endpoint::from(uri.clone()),
        };
        let endpoint = endpoint
            .http2_max_header_list_size(dial::HEADER_BYTES)
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_LIMIT)
            .keep_alive_while_idle(true);
        let tls = files.map(|files| Tls {
            uri,
            files,
            noted: Arc::default(),
        });
        let channel = match &tls {
            Some(tls) => endpoint.connect_with_connector_lazy(tls.clone()),
            None => endpoint.connect_with_connector_lazy(resolver::connector()),
        };
        Ok(Member {
            name: name.into(),
            channel,
            tls,
        })
    }

    /// What TLS refused on the last connection, if it did: whose certificate, and what to do.
    pub(super) fn refusal(&self) -> Option<String> {
        let tls = self.tls.as_ref()?;
        let noted = tls.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let source = noted.get()?.clone();
        let server = format!("etcd at {}", self.name);
        Some(match Refusal::of(source, &tls.files, server) {
            Ok(refusal) => format!("{}; {}", refusal.what(), refusal.remedy()),
            Err(error) => error.to_string(),
        })
    }
}

/// Connects by TLS, with the files as they are now.
#[derive(Clone, Debug)]
struct Tls {
    uri: Uri,
    files: Arc<Files>,
    /// What TLS refused on the last connection.
    noted: Arc<Mutex<Noted>>,
}

impl tower::Service<Uri> for Tls {
    type Response = TokioIo<Overheard<TlsStream<TcpStream>>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Tls { uri, files, noted } = self.clone();
        Box::pin(async move {
            let fresh = Noted::default();
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
            let config = files.config(&files.read()?)?;
            let stream = dial::connect(&uri, Arc::new(config), &fresh).await?;
            Ok(TokioIo::new(stream))
        })
    }
}
