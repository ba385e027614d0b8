//! Operations as spans of OpenTelemetry, sent to a collector over OTLP/gRPC (opentelemetry.io/docs/specs/otlp). Nobody
//! waits for the collector: what it does not take in time is dropped, and counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cni::error::with_causes;
use meta_cni::diagnosis::Diagnosis;
use meta_cni::journal::Operation;
use meta_cni::trace::SpanId;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tonic::transport::{Channel, Endpoint, Uri};

/// Operations that may wait.
const WAITING: usize = 512;
/// Operations of one request.
const AT_ONCE: usize = 64;
/// How long the collector may take for a request.
const LIMIT: Duration = Duration::from_secs(5);

/// A collector's address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--otlp-endpoint: {endpoint} is not of the form http://HOST:PORT; a collector on the node takes http, and brings TLS to others"
)]
pub struct WrongEndpoint {
    /// As it was given.
    pub endpoint: String,
}

/// Where operations are put to be sent.
#[derive(Clone)]
pub(super) struct Spans {
    queue: Sender<Operation>,
    dropped: Counter,
}

/// What sends them.
pub(super) struct Exporter {
    queue: Receiver<Operation>,
    client: TraceServiceClient<Channel>,
    endpoint: Arc<str>,
    node: Arc<str>,
    sent: Counter,
    dropped: Counter,
}

/// The two ends of the way to a collector. Nothing is connected yet.
///
/// # Errors
/// [`WrongEndpoint`].
pub(super) fn new(
    endpoint: &str,
    node: Arc<str>,
    registry: &mut Registry,
) -> Result<(Spans, Exporter), WrongEndpoint> {
    let uri: Option<Uri> = endpoint.parse().ok();
    let uri = uri.filter(|uri| uri.scheme_str() == Some("http") && uri.port().is_some());
    let uri = uri.ok_or_else(|| WrongEndpoint {
        endpoint: endpoint.to_owned(),
    })?;
    let (sent, dropped) = (Counter::default(), Counter::default());
    registry.register(
        "meta_cni_spans_sent",
        "Spans that the collector took",
        sent.clone(),
    );
    registry.register(
        "meta_cni_spans_dropped",
        "Spans that were given up because the collector was away or slow",
        dropped.clone(),
    );
    let channel = Endpoint::from(uri)
        .connect_timeout(LIMIT)
        .timeout(LIMIT)
        .connect_with_connector_lazy(dial::resolver::connector());
    let (sender, queue) = mpsc::channel(WAITING);
    let spans = Spans {
        queue: sender,
        dropped: dropped.clone(),
    };
    let exporter = Exporter {
        queue,
        client: TraceServiceClient::new(channel),
        endpoint: endpoint.into(),
        node,
        sent,
        dropped,
    };
    Ok((spans, exporter))
}

impl Spans {
    /// Puts an operation behind the others, or drops it if too many wait.
    pub(super) fn send(&self, operation: Operation) {
        let is_wanted = operation
            .traceparent
            .is_some_and(|context| context.is_sampled());
        if !is_wanted {
            return;
        }
        if let Err(refused) = self.queue.try_send(operation) {
            self.dropped.inc_by(count(&refused.into_inner()));
        }
    }
}

/// The spans of an operation.
fn count(operation: &Operation) -> u64 {
    1 + operation.steps.len() as u64
}

/// Sends what comes; never ends.
pub(super) async fn run(mut exporter: Exporter) -> Infallible {
    let mut is_away = false;
    loop {
        let mut operations = Vec::with_capacity(AT_ONCE);
        if exporter.queue.recv_many(&mut operations, AT_ONCE).await == 0 {
            // Whoever follows the journal has ended, and so does the agent.
            std::future::pending::<()>().await;
        }
        let number = operations.iter().map(count).sum();
        let request = request(&exporter.node, &operations);
        match exporter.client.export(request).await {
            Ok(answer) => {
                let refused = answer.into_inner().partial_success;
                let refused = refused.map_or(0, |partial| partial.rejected_spans);
                let refused = u64::try_from(refused).unwrap_or(0).min(number);
                exporter.sent.inc_by(number - refused);
                exporter.dropped.inc_by(refused);
                is_away = false;
            }
            Err(status) => {
                exporter.dropped.inc_by(number);
                // Once, not for every operation.
                if !std::mem::replace(&mut is_away, true) {
                    let (error, endpoint) = (with_causes(&status), &exporter.endpoint);
                    tracing::warn!(error, %endpoint, "spans are dropped: does the collector run, and is --otlp-endpoint right?");
                }
            }
        }
    }
}

fn request(node: &str, operations: &[Operation]) -> ExportTraceServiceRequest {
    let resource = [
        ("service.name", "meta-cni"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("k8s.node.name", node),
    ];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource.map(|(key, value)| text(key, value)).into(),
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "meta-cni".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: operations.iter().flat_map(spans).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// The verb's own span, and that of each step below it.
fn spans(operation: &Operation) -> Vec<Span> {
    let Some(context) = operation.traceparent else {
        return Vec::new();
    };
    let began = u64::try_from(operation.time.as_nanosecond()).unwrap_or(0);
    let span = |id: SpanId, parent: Option<SpanId>, name: &str, start: u64, micros: u64| Span {
        trace_id: context.trace.0.to_be_bytes().into(),
        span_id: id.0.to_be_bytes().into(),
        parent_span_id: parent.map_or(Vec::new(), |parent| parent.0.to_be_bytes().into()),
        flags: u32::from(context.flags),
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: began + start * 1000,
        end_time_unix_nano: began + (start + micros) * 1000,
        ..Span::default()
    };
    let mut verb = span(
        context.span,
        operation.parent,
        &operation.command,
        0,
        operation.micros,
    );
    verb.kind = SpanKind::Server.into();
    verb.status = status(operation.error.as_ref(), operation.remedy.as_ref());
    verb.attributes = vec![text("cni.command", &operation.command)];
    if !operation.container_id.is_empty() {
        verb.attributes
            .push(text("container.id", &operation.container_id));
    }
    if let Some(pod) = &operation.pod {
        verb.attributes
            .push(text("k8s.namespace.name", &pod.namespace));
        verb.attributes.push(text("k8s.pod.name", &pod.name));
    }
    let steps = operation.steps.iter().map(|step| {
        let parent = step.parent.unwrap_or(context.span);
        let mut span = span(
            step.id,
            Some(parent),
            &step.name,
            step.start_micros,
            step.micros,
        );
        span.status = status(step.error.as_ref(), step.remedy.as_ref());
        let fields = step.fields.iter();
        span.attributes = fields
            .map(|(name, value)| attribute(&format!("cni.{name}"), value))
            .collect();
        span
    });
    let steps: Vec<_> = steps.collect();
    std::iter::once(verb).chain(steps).collect()
}

fn status(error: Option<&String>, remedy: Option<&String>) -> Option<Status> {
    let failure = Diagnosis {
        cause: error?.clone(),
        remedy: remedy.cloned(),
    };
    Some(Status {
        code: StatusCode::Error.into(),
        message: failure.to_string(),
    })
}

fn attribute(key: &str, value: &Value) -> KeyValue {
    match value {
        Value::String(value) => text(key, value),
        other => text(key, &other.to_string()),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_operation_is_a_tree_of_spans() {
        let operation: Operation = serde_json::from_value(json!({
            "time": "2026-11-25T10:00:00Z", "command": "ADD", "containerId": "c1", "micros": 9000, "code": 11,
            "error": "no", "pod": {"namespace": "ns", "name": "web", "uid": null},
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "parent": "00000000000000ff",
            "steps": [
                {"name": "attachment", "id": "0000000000000001", "startMicros": 1000, "micros": 2000},
                {"name": "delegate", "id": "0000000000000002", "parent": "0000000000000001", "startMicros": 1500,
                 "micros": 1000, "error": "no", "fields": {"plugin": "bridge", "n": 7}}
            ]
        }))
        .unwrap();
        let all = spans(&operation);
        let [verb, attachment, delegate] = all.as_slice() else {
            panic!("{all:?}");
        };
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        assert_eq!(hex(&verb.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(hex(&verb.parent_span_id), "00000000000000ff");
        assert_eq!(attachment.parent_span_id, verb.span_id);
        assert_eq!(delegate.parent_span_id, attachment.span_id);
        assert!(all.iter().all(|span| span.trace_id == verb.trace_id));
        assert_eq!(
            verb.end_time_unix_nano - verb.start_time_unix_nano,
            9_000_000
        );
        assert_eq!(
            delegate.start_time_unix_nano - verb.start_time_unix_nano,
            1_500_000
        );
        assert_eq!(verb.status.as_ref().map(|status| status.code), Some(2));
        assert!(delegate.attributes.contains(&text("cni.plugin", "bridge")));
        assert!(delegate.attributes.contains(&text("cni.n", "7")));
        assert!(verb.attributes.contains(&text("k8s.pod.name", "web")));
    }

    #[tokio::test]
    async fn an_endpoint_is_http_with_a_port() {
        let mut registry = Registry::default();
        for (endpoint, is_one) in [
            ("http://127.0.0.1:4317", true),
            ("http://[fd00::1]:4317", true),
            ("http://collector.monitoring:4317", true),
            ("http://collector", false),
            ("https://collector:4317", false),
            ("collector:4317", false),
            ("a b", false),
        ] {
            assert_eq!(
                new(endpoint, "n".into(), &mut registry).is_ok(),
                is_one,
                "{endpoint}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_too_much_or_not_wanted_is_not_kept() {
        let mut registry = Registry::default();
        let (spans, _exporter) = new("http://127.0.0.1:1", "n".into(), &mut registry).unwrap();
        let operation = |flags: &str| -> Operation {
            let traceparent =
                format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            serde_json::from_value(json!({"command": "ADD", "traceparent": traceparent})).unwrap()
        };
        for _ in 0..2 * WAITING {
            spans.send(operation("00"));
        }
        assert_eq!(spans.dropped.get(), 0);
        for _ in 0..WAITING + 3 {
            spans.send(operation("01"));
        }
        assert_eq!(spans.dropped.get(), 3);
    }
}
