//! A layer around all services: a request that its caller may not make is answered here, every other one carries its
//! [`Grant`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tower::{Layer, Service};

use super::identity::Identity;
use super::operations::Operation;
use super::{Access, Grant};
use crate::error::Error;
use crate::metrics::Metrics;

/// Decides about requests to what it is laid around.
#[derive(Clone)]
pub struct Authorize {
    /// Who decides.
    pub access: Arc<Access>,
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
    fn decide<B>(&self, request: &http::Request<B>) -> Result<Grant, Status> {
        let path = request.uri().path();
        // A method without a row is reached by nobody.
        let Some(operation) = Operation::of(path) else {
            return Err(Status::unimplemented("this server has no such method"));
        };
        let identity = Identity::of(request.extensions());
        self.access.decide(&identity, operation).map_err(|error| {
            self.access.log(&identity, &error);
            self.metrics.refused_caller(&error);
            Status::from(error)
        })
    }
}

impl<S, B, R> Service<http::Request<B>> for Authorized<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        match self.of.decide(&request) {
            Ok(grant) => {
                request.extensions_mut().insert(grant);
                Box::pin(self.inner.call(request))
            }
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}

/// A refusal by what is wrong, for the metric.
pub fn why(error: &Error) -> &'static str {
    match error {
        Error::NoIdentity { .. } => "no_identity",
        _ => "not_allowed",
    }
}
