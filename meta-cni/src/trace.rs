//! What a request did, step by step: spans of `tracing` are the one instrumentation for logs, the journal and traces.
//! [`Steps`] is the layer that collects them; the trace that they belong to comes and is passed on as W3C Trace Context
//! (<https://www.w3.org/TR/trace-context/>, section 3.2, "traceparent").

mod context;
mod steps;
pub mod words;

pub use context::{SpanId, TraceId, TraceParent};
pub(crate) use steps::{Collected, collected, evidence, note, step};
pub use steps::{Step, Steps, TRACEPARENT_FIELD};

/// The environment variable that carries the context of a trace to a process.
pub const TRACEPARENT_VARIABLE: &str = "TRACEPARENT";
/// The same in the metadata of a gRPC call and among the headers of an HTTP request.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// The context of whoever started this process, if it said one.
pub fn parent_process() -> Option<TraceParent> {
    let text = std::env::var(TRACEPARENT_VARIABLE).ok()?;
    text.parse().ok()
}

/// The context for a call or a process that is started now: the current span, if its steps are collected, else
/// whoever started this process.
pub fn current_traceparent() -> Option<TraceParent> {
    steps::current().or_else(parent_process)
}

/// Marks a gRPC request with [`current_traceparent`].
pub fn mark<T>(request: &mut tonic::Request<T>) {
    let value = current_traceparent().and_then(|parent| parent.to_string().parse().ok());
    if let Some(value) = value {
        request.metadata_mut().insert(TRACEPARENT_HEADER, value);
    }
}
