//! A layer around all services: a request that its caller may not make is answered here, every other one carries its
//! [`Grant`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::{Code, Status};
use tower::{Layer, Service};

use super::connection;
use super::operations::Operation;
use super::token::Reviewer;
use super::{Access, Grant};
use crate::error::Error;
use crate::identity::Identity;
use crate::listen::incoming::note_caller;
use crate::metrics::Metrics;

/// Decides about requests to what it is laid around.
#[derive(Clone)]
pub struct Authorize {
    /// Who decides.
    pub access: Arc<Access>,
    /// Says whose tokens are; none: tokens are not read.
    pub reviewer: Option<Arc<Reviewer>>,
    /// Counts refusals.
    pub metrics: Arc<Metrics>,
}

/// See [`Authorize`].
#[derive(Clone)]
pub struct Authorized<S> {
    inner: S,
    of: Authorize,
}

impl<S> Layer<S> for Authorize {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        let of = self.clone();
        Authorized { inner, of }
    }
}

impl Authorize {
    /// The operation of a request.
    fn operation<B>(request: &http::Request<B>) -> Result<&'static Operation, Status> {
        // A method without a row is reached by nobody.
        Operation::of(request.uri().path())
            .ok_or_else(|| Status::unimplemented("this server has no such method"))
    }

    fn decide(&self, identity: &Identity, operation: &Operation) -> Result<Grant, Status> {
        let decided = self.access.decide(identity, operation);
        decided.map_err(|error| self.refuse(identity, error))
    }

    fn refuse(&self, identity: &Identity, error: Error) -> Status {
        self.access.log(identity, &error.to_string());
        self.metrics.refused_caller(why(&error));
        Status::from(error)
    }

    /// Notes that a service refused what it was asked for: a lease of another node, for example.
    fn note_refusal<R>(&self, identity: &Identity, response: &http::Response<R>) {
        let status = response.headers().get("grpc-status");
        let code = status.map(|value| Code::from_bytes(value.as_bytes()));
        if code == Some(Code::PermissionDenied) {
            let message = Status::from_header_map(response.headers());
            let message = message.map(|status| status.message().to_owned());
            self.access.log(identity, &message.unwrap_or_default());
            self.metrics.refused_caller("not_allowed");
        }
    }

    /// The token of a request, if tokens are read.
    fn token<B>(&self, request: &http::Request<B>) -> Option<(Arc<Reviewer>, String)> {
        let reviewer = self.reviewer.clone()?;
        let header = request.headers().get(http::header::AUTHORIZATION)?;
        let token = header.to_str().ok()?.strip_prefix("Bearer ")?;
        Some((reviewer, token.trim().to_owned()))
    }
}

impl<S, B, R> Service<http::Request<B>> for Authorized<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let connection = connection::identity(request.extensions());
        let operation = match Authorize::operation(&request) {
            Ok(operation) => operation,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        // What everybody may do costs no review.
        let token = self.of.token(&request).filter(|_| !operation.is_open);
        // The service that is ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let of = self.of.clone();
        Box::pin(async move {
            let identity = match token {
                Some((reviewer, token)) => match reviewer.review(&token).await {
                    Ok(identity) => identity,
                    Err(error) => return Ok(of.refuse(&connection, error).into_http()),
                },
                None => connection,
            };
            let grant = match of.decide(&identity, operation) {
                Ok(grant) => grant,
                Err(status) => return Ok(status.into_http()),
            };
            if grant.role.is_some() {
                note_caller(request.extensions());
            }
            request.extensions_mut().insert(grant);
            let response = inner.call(request).await?;
            of.note_refusal(&identity, &response);
            Ok(response)
        })
    }
}

/// A refusal by what is wrong, for the metric.
fn why(error: &Error) -> &'static str {
    match error {
        Error::NoIdentity { .. } | Error::BadBearer => "no_identity",
        Error::Unreviewed => "not_reviewed",
        _ => "not_allowed",
    }
}
