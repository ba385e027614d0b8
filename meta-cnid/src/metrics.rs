//! Metrics of the agent itself. Labels come from closed sets.

use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

/// A request to the API server.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ApiRequest {
    /// `get`, `list`, `watch`, `patch`, `create`.
    pub verb: &'static str,
    /// The HTTP status; 0: no answer.
    pub code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    kind: &'static str,
}

/// The agent's counts. Clones count together.
#[derive(Clone)]
pub struct Metrics {
    api_requests: Family<ApiRequest, Counter>,
    calls: Family<Call, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    events_waiting: Gauge,
    events_dropped: Counter,
    watch_age: Family<Of, Gauge<f64, std::sync::atomic::AtomicU64>>,
    objects: Family<Of, Gauge>,
    repairs: Counter,
    orphans: Counter,
    accept_failures: Counter,
    log_dropped: Counter,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Metrics {
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        let metrics = Metrics {
            api_requests: Family::default(),
            calls: Family::new_with_constructor(seconds),
            in_flight: Gauge::default(),
            events_waiting: Gauge::default(),
            events_dropped: Counter::default(),
            watch_age: Family::default(),
            objects: Family::default(),
            repairs: Counter::default(),
            orphans: Counter::default(),
            accept_failures: Counter::default(),
            log_dropped: Counter::default(),
        };
        registry.register(
            "meta_cni_build",
            "The version of the agent",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "meta_cni_api_requests",
            "Requests to the API server by verb and HTTP status; 0 is no answer",
            metrics.api_requests.clone(),
        );
        registry.register_with_unit(
            "meta_cni_agent_call_duration",
            "Time of a call of agent.v1",
            Unit::Seconds,
            metrics.calls.clone(),
        );
        registry.register(
            "meta_cni_agent_calls_in_flight",
            "Calls of agent.v1 that are being served",
            metrics.in_flight.clone(),
        );
        registry.register(
            "meta_cni_events_waiting",
            "Events that wait to be posted",
            metrics.events_waiting.clone(),
        );
        registry.register(
            "meta_cni_events_dropped",
            "Events that were not posted because too many waited",
            metrics.events_dropped.clone(),
        );
        registry.register_with_unit(
            "meta_cni_watch_age",
            "Time since the API server last reported something of a kind, or since the watch began",
            Unit::Seconds,
            metrics.watch_age.clone(),
        );
        registry.register(
            "meta_cni_watched_objects",
            "Objects of a kind in memory",
            metrics.objects.clone(),
        );
        registry.register(
            "meta_cni_repairs",
            "network-status annotations that were written because they were not as recorded",
            metrics.repairs.clone(),
        );
        registry.register(
            "meta_cni_orphans",
            "Records that were marked because the runtime has no such sandbox",
            metrics.orphans.clone(),
        );
        registry.register(
            "meta_cni_accept_failures",
            "Connections that could not be accepted, for want of file descriptors for example",
            metrics.accept_failures.clone(),
        );
        registry.register(
            "meta_cni_log_lines_dropped",
            "Lines of the log that were dropped, since nobody read standard error",
            metrics.log_dropped.clone(),
        );
        metrics
    }

    /// Counts a request to the API server.
    pub fn api_request(&self, request: &ApiRequest) {
        self.api_requests.get_or_create(request).inc();
    }

    /// Counts a call while the value lives.
    pub fn call(&self, method: &'static str) -> InFlight {
        self.in_flight.inc();
        InFlight {
            metrics: self.clone(),
            method,
            code: "CANCELLED",
            begun: Instant::now(),
        }
    }

    /// Calls that are being served.
    pub fn calls_in_flight(&self) -> u64 {
        self.in_flight.get().try_into().unwrap_or_default()
    }

    /// Notes how many Events wait.
    pub fn events_waiting(&self, waiting: usize) {
        self.events_waiting
            .set(waiting.try_into().unwrap_or(i64::MAX));
    }

    /// Counts an Event that is not posted.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Counts an annotation that was repaired.
    pub fn repaired(&self) {
        self.repairs.inc();
    }

    /// Sets the counts that the whole process shares.
    pub fn of_process(&self) {
        let set = |counter: &Counter, count| counter.inner().store(count, Ordering::Relaxed);
        set(&self.accept_failures, process::accept::failures());
        set(&self.log_dropped, process::log::dropped());
    }

    /// Counts a record that was marked.
    pub fn orphaned(&self) {
        self.orphans.inc();
    }

    /// Notes the state of a watch.
    pub fn watch(&self, kind: &'static str, objects: usize, age: std::time::Duration) {
        let of = Of { kind };
        self.watch_age.get_or_create(&of).set(age.as_secs_f64());
        self.objects
            .get_or_create(&of)
            .set(objects.try_into().unwrap_or(i64::MAX));
    }
}

/// The name of a code, as gRPC writes it (grpc/doc/statuscodes.md).
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// A call that is being served.
pub struct InFlight {
    metrics: Metrics,
    method: &'static str,
    code: &'static str,
    begun: Instant,
}

impl InFlight {
    /// Notes how the call ends; one of which nothing is noted was cut off.
    pub fn ends(&mut self, code: &'static str) {
        self.code = code;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let call = Call {
            method: self.method,
            code: self.code,
        };
        self.metrics.in_flight.dec();
        let seconds = self.begun.elapsed().as_secs_f64();
        self.metrics.calls.get_or_create(&call).observe(seconds);
    }
}
