//! A layer around all RPCs: how long each took and how it ended, as metrics and in the log.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tonic::Code;
use tower::{Layer, Service};

use crate::listen::incoming::note_request;
use crate::metrics::Metrics;
use crate::service::status;

/// Measures what it is laid around.
#[derive(Clone)]
pub struct Measure(pub Arc<Metrics>);

/// See [`Measure`].
#[derive(Clone)]
pub struct Measured<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured {
            inner,
            metrics: self.0.clone(),
        }
    }
}

impl<S, B, R> Service<http::Request<B>> for Measured<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let began = Instant::now();
        note_request(request.extensions());
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let metrics = self.metrics.clone();
        // Of W3C Trace Context: the trace of the pod's ADD, for example.
        let traceparent = request.headers().get("traceparent").cloned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = status::of_codec(answer.await?);
            // A refusal has its status at the head; a success has it at the end, which is not waited for.
            let status = response.headers().get("grpc-status");
            let code = status.map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()));
            let took = began.elapsed();
            // Methods that do not exist must not become labels.
            let method = if code == Code::Unimplemented {
                "unknown"
            } else {
                path.as_str()
            };
            metrics.rpc(method, code, took);
            let milliseconds = took.as_secs_f64() * 1000.0;
            let traceparent = traceparent.as_ref().and_then(|value| value.to_str().ok());
            // Refusals of callers are logged where they are decided, and so many only that they fill no disk.
            let is_of_caller = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
            if code == Code::Ok || is_of_caller {
                tracing::debug!(rpc = method, ?code, milliseconds, traceparent, "answered");
            } else {
                tracing::info!(rpc = method, ?code, milliseconds, traceparent, "refused");
            }
            Ok(response)
        })
    }
}
