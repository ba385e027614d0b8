//! The connection to the API server: the HTTP client, and one request with its tries. What is asked and what
//! the answer means is left to `requests.rs`.

use std::time::Instant;

use dial::resolver;
use http::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, Client, ConfigExt as _};
use tower::{BoxError, ServiceBuilder};

use super::failure::{Again, Failure};
use super::retry::Patience;
use super::source::{Source, SourceError};
use crate::random::dice;

/// A request that can be made more than once.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

impl Call {
    /// A GET of the object as it is now (no resourceVersion: never from a cache).
    pub(super) fn get(path: String) -> Call {
        Call {
            method: Method::GET,
            path,
            content_type: None,
            body: Vec::new(),
        }
    }

    /// A JSON merge patch (RFC 7396).
    pub(super) fn merge_patch(path: String, body: &serde_json::Value) -> Call {
        Call {
            method: Method::PATCH,
            path,
            content_type: Some("application/merge-patch+json"),
            body: body.to_string().into_bytes(),
        }
    }

    /// A POST of a new object.
    pub(super) fn create(path: String, body: &serde_json::Value) -> Call {
        Call {
            method: Method::POST,
            path,
            content_type: Some("application/json"),
            body: body.to_string().into_bytes(),
        }
    }

    fn request(&self) -> Result<Request<Body>, http::Error> {
        let mut builder = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT);
        if let Some(content_type) = self.content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        builder.body(Body::from(self.body.clone()))
    }
}

/// How the API server's audit log names us.
const USER_AGENT: &str = concat!("meta-cni/", env!("CARGO_PKG_VERSION"));

/// A client of the API server.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    server: String,
    patience: Patience,
}

impl Connection {
    /// Reads the configuration and makes the client, within an async runtime. Nothing is sent.
    pub(super) fn open(source: &Source, patience: Patience) -> Result<Connection, SourceError> {
        let config = source.config()?;
        let client = new_client(source, &config)?;
        Ok(Connection::over(client, &config, patience))
    }

    /// A connection over a client that is there.
    pub fn over(client: Client, config: &kube::Config, patience: Patience) -> Connection {
        let server = config.cluster_url.to_string();
        Connection {
            client,
            server: server.trim_end_matches('/').to_owned(),
            patience,
        }
    }

    /// The URL of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The body of the answer to `call`, asked for as often as this connection's patience and the
    /// failures allow.
    pub(super) async fn ask(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        self.ask_within(call, &self.patience).await
    }

    /// As [`Connection::ask`], with another patience.
    pub(super) async fn ask_within(
        &self,
        call: &Call,
        patience: &Patience,
    ) -> Result<Vec<u8>, Failure> {
        let started = Instant::now();
        let mut made = 0;
        loop {
            let limit = patience.limit(started.elapsed());
            let failure = match tokio::time::timeout(limit, self.once(call)).await {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::TimedOut { limit },
            };
            made += 1;
            let pause = match failure.again() {
                Again::No => None,
                Again::After(asked) => patience.pause(made, started.elapsed(), asked, dice()),
            };
            let Some(pause) = pause else {
                return Err(failure);
            };
            tracing::debug!(method = %call.method, path = call.path, made, ?pause, %failure, "asking the API server again");
            tokio::time::sleep(pause).await;
        }
    }

    /// The body of the answer to one request, without a time limit.
    pub(super) async fn once(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let request = call.request().map_err(|e| Failure::from_transport(&e))?;
        let response = self.client.send(request).await;
        let (head, body) = response
            .map_err(|error| Failure::from_transport(&error))?
            .into_parts();
        let body = body.collect_bytes().await;
        let body = body.map_err(|error| Failure::from_transport(&error))?;
        match head.status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => Ok(body.to_vec()),
            status => Err(Failure::from_answer(status, &head.headers, &body)),
        }
    }
}

/// A client of what `config`, which was read from `source`, names; within an async runtime.
pub fn new_client(source: &Source, config: &kube::Config) -> Result<Client, SourceError> {
    // The only failure is that a provider was chosen before: it is then the one to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    client(config).map_err(|error| source.explain_client(error))
}

/// kube's client, but with our own resolver below it.
fn client(config: &kube::Config) -> Result<Client, kube::Error> {
    let https = config.rustls_https_connector_with_connector(resolver::connector())?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(HttpClient::builder(TokioExecutor::new()).build(https));
    Ok(Client::new(service, config.default_namespace.clone()))
}
