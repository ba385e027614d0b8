//! One server: dialled when it is first needed, and what its failures mean.

use cni::error::{said, with_causes};
use dial::Connector;
use dial::address::{Address, Target};
use dial::files::Files;
use dial::refusal::Refusal;
use dial::resolver;
use dial::several::Away;
use dial::stream::Noted;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::super::failure::IpamFailure;
use crate::rpc;

/// A server.
pub(super) struct One {
    address: Address,
    tls: Option<Trust>,
    channel: OnceCell<Channel>,
}

/// The files of a TLS connection, and what was said of them.
struct Trust {
    files: Files,
    noted: Noted,
}

impl One {
    /// Nothing is dialled yet.
    pub(super) fn new(address: &Address, files: Option<&Files>) -> One {
        let files = files.filter(|_| address.is_tls());
        One {
            address: address.clone(),
            tls: files.map(|files| Trust {
                files: files.clone(),
                noted: Noted::default(),
            }),
            channel: OnceCell::new(),
        }
    }

    /// Connects, if there is no connection yet.
    pub(super) async fn connect(&self) -> Result<(), Away<IpamFailure>> {
        self.channel().await.map(drop)
    }

    /// The connection, made now if there is none.
    pub(super) async fn channel(&self) -> Result<Channel, Away<IpamFailure>> {
        let channel = self.channel.get_or_try_init(|| self.dial()).await;
        channel.cloned().map_err(|why| Away {
            is_transient: matches!(why, IpamFailure::Unreachable { .. }),
            why,
        })
    }

    /// What a server that cannot be dialled is for a call.
    pub(super) fn status(&self, failure: &IpamFailure) -> Status {
        let refusal = self.refused();
        refusal.unwrap_or_else(|| Status::unavailable(with_causes(failure)))
    }

    /// The error of a call, if it is an answer; else why the server is of no use.
    pub(super) fn is_of_use(&self, status: Status) -> Result<Status, Away<Status>> {
        let away = |why, is_transient| Err(Away { why, is_transient });
        if let Some(refused) = self.refused() {
            return away(refused, false);
        }
        // Only what the transport reports has a cause: a broken connection has one of several codes.
        match std::error::Error::source(&status) {
            Some(broken) => {
                let gone = Status::unavailable(format!(
                    "{} closed the connection and does not answer: {}",
                    self.address,
                    cause(broken)
                ));
                away(gone, true)
            }
            None if status.code() == Code::Unavailable => away(status, true),
            None => Ok(status),
        }
    }

    /// What the server said of our certificate before it closed: under TLS 1.3 the first call gets it.
    fn refused(&self) -> Option<Status> {
        let refusal = self.refusal()?;
        let code = match refusal.is_about_us() {
            true => Code::Unauthenticated,
            false => Code::Unavailable,
        };
        Some(Status::new(code, with_causes(&refusal)))
    }

    /// What TLS refused, if it did.
    fn refusal(&self) -> Option<Refusal> {
        let Trust { files, noted } = self.tls.as_ref()?;
        let source = noted.get()?.clone();
        Refusal::of(source, files, format!("ipam-server at {}", self.address)).ok()
    }

    async fn dial(&self) -> Result<Channel, IpamFailure> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| IpamFailure::Unreachable {
            server: self.address.to_string(),
            source: cause(error),
        };
        let (uri, tls) = match (self.address.target(), &self.tls) {
            (Target::Unix(path), _) => {
                let connected = rpc::unix_channel(path).await;
                return connected.map_err(|error| unreachable(&error));
            }
            (Target::Tls(uri), Some(tls)) => (uri.clone(), tls),
            (Target::Loopback(uri) | Target::Tls(uri), _) => {
                let endpoint = Endpoint::from(uri.clone());
                let endpoint = endpoint.http2_max_header_list_size(dial::HEADER_BYTES);
                let connected = endpoint.connect_with_connector(resolver::connector()).await;
                return connected.map_err(|error| unreachable(&error));
            }
        };
        let config = tls.files.config(&tls.files.read()?)?;
        let connector = Connector::new(uri.clone(), config, tls.noted.clone());
        // tonic would want to speak TLS itself if it saw https; requests are addressed to it all the same.
        let endpoint = Endpoint::from_static("http://ipam-server")
            .http2_max_header_list_size(dial::HEADER_BYTES)
            .origin(uri);
        let connected = endpoint.connect_with_connector(connector).await;
        connected.map_err(|error| match self.refusal() {
            Some(refusal) => refusal.into(),
            None => unreachable(&error),
        })
    }
}

/// The innermost cause: what surrounds it says only that a transport failed.
fn cause(error: &(dyn std::error::Error + 'static)) -> Box<dyn std::error::Error + Send + Sync> {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    said(inner).into()
}
