//! The server as commands see it, or several servers of one store: where it is, how it is reached, and how long an answer may
//! take. Nothing is dialled before a command needs it.

mod dial;
mod flags;
mod servers;

use std::future::Future;
use std::time::Duration;

use ::dial::token::Token;
use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::reservation_service_client::ReservationServiceClient;
use proto::ipam::v1::{Lease, ListLeasesRequest};
use tonic::{Code, Request, Response, Status, Streaming};

use self::servers::Servers;
use super::error::CliError;
use super::refusal::Refusal;
pub(crate) use flags::RemoteFlags;

/// Leases of a page at most.
const PAGE: i32 = 1000;
/// A page of 1000 leases with all their labels, of servers that do not limit a page by size.
const MESSAGE_BYTES: usize = 64 << 20;

/// A server, or several of one store.
pub(crate) struct Remote {
    servers: Servers,
    timeout: Duration,
    token: Option<Token>,
}

impl Remote {
    /// Reads the flags and the token; dials nothing.
    ///
    /// # Errors
    /// [`CliError::Argument`] for an address that cannot be used, [`CliError::Tls`] for a file without a token.
    pub(crate) fn new(mut flags: RemoteFlags) -> Result<Remote, CliError> {
        let token_file = flags.token_file.take();
        let timeout = Duration::from_secs(flags.timeout_seconds);
        let servers = Servers::parse(flags, timeout)?;
        if token_file.is_some() && !servers.are_tls() {
            return Err(CliError::argument("--token-file", "goes with https"));
        }
        let token = token_file.map(|file| Token::open(file, "--token-file"));
        Ok(Remote {
            servers,
            timeout,
            token: token.transpose()?,
        })
    }

    /// The address as the caller wrote it.
    pub(crate) fn name(&self) -> &str {
        self.servers.name()
    }

    async fn channel(&self) -> Result<Servers, CliError> {
        self.servers.connect().await?;
        Ok(self.servers.clone())
    }

    /// The pools.
    pub(crate) async fn pools(&self) -> Result<PoolServiceClient<Servers>, CliError> {
        let client = PoolServiceClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES))
    }

    /// The leases.
    pub(crate) async fn leases(&self) -> Result<LeaseServiceClient<Servers>, CliError> {
        let client = LeaseServiceClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES))
    }

    /// The reservations.
    pub(crate) async fn reservations(&self) -> Result<ReservationServiceClient<Servers>, CliError> {
        let client = ReservationServiceClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES))
    }

    /// The administration of the server.
    pub(crate) async fn admin(&self) -> Result<AdminServiceClient<Servers>, CliError> {
        let client = AdminServiceClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES))
    }

    /// All leases that match a filter, page by page, in order of id.
    pub(crate) async fn leases_matching(&self, filter: String) -> Result<Vec<Lease>, CliError> {
        let mut client = self.leases().await?;
        let mut leases = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = self.request(ListLeasesRequest {
                page_size: PAGE,
                page_token,
                filter: filter.clone(),
            });
            let page = self.answer(client.list_leases(request)).await?;
            leases.extend(page.leases);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(leases);
            }
        }
    }

    /// A request with the time that its caller waits, and with the token if there is one.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.stream(message);
        request.set_timeout(self.timeout);
        request
    }

    /// A request without a time limit, for a call that lasts as long as its stream does.
    pub(crate) fn stream<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let value = token.authorization();
            let headers = request.metadata_mut().as_mut();
            headers.insert(http::header::AUTHORIZATION, value);
        }
        request
    }

    /// Waits for the next message of a stream.
    pub(crate) async fn message<T>(
        &self,
        stream: &mut Streaming<T>,
    ) -> Result<Option<T>, CliError> {
        match tokio::time::timeout(self.timeout, stream.message()).await {
            Ok(message) => message.map_err(|status| self.failure(&status)),
            Err(_) => Err(self.late()),
        }
    }

    /// How long one answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits for an answer, or for the first answer of a stream.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer
                .map(Response::into_inner)
                .map_err(|status| self.failure(&status)),
            Err(_) => Err(self.late()),
        }
    }

    /// What a status means to a person.
    pub(crate) fn failure(&self, status: &Status) -> CliError {
        let refusal = Refusal::of(status);
        let bare = refusal.reason().is_empty();
        match status.code() {
            Code::DeadlineExceeded => self.late(),
            Code::Cancelled if bare => self.late(),
            // The transport, not the server, says these.
            Code::Unavailable | Code::Unknown | Code::Internal
                if bare && std::error::Error::source(status).is_some() =>
            {
                self.servers.unreachable(status)
            }
            _ => CliError::Refused(refusal),
        }
    }

    /// The error of an answer that did not come in time.
    pub(crate) fn late(&self) -> CliError {
        CliError::Deadline {
            server: self.servers.name().to_owned(),
            seconds: self.timeout.as_secs(),
        }
    }
}

/// A name for a request that changes something: a request that is sent twice is done once.
pub(crate) fn request_id() -> String {
    format!("ipamctl-{:032x}", fastrand::u128(..))
}
