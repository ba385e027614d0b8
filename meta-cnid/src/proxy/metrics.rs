//! Metrics of the calls that are passed on.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::metrics::code_name;

/// The method of calls that are not passed on: their names are whatever their callers want.
pub(super) const OTHER: &str = "other";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    code: &'static str,
}

/// The proxy's counts. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    calls: Family<Labels, Counter>,
    connected: Gauge,
    in_flight: Gauge,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        registry.register(
            "meta_cni_ipam_calls",
            "Calls of ipam.v1 by method and code; other is a method that is not passed on",
            metrics.calls.clone(),
        );
        registry.register(
            "meta_cni_ipam_connected",
            "The servers that there is a connection to, of those in --ipam-server",
            metrics.connected.clone(),
        );
        registry.register(
            "meta_cni_ipam_calls_in_flight",
            "Calls of ipam.v1 that are being passed on",
            metrics.in_flight.clone(),
        );
        metrics
    }

    /// Calls that are being passed on.
    pub fn calls_in_flight(&self) -> u64 {
        self.in_flight.get().try_into().unwrap_or_default()
    }

    /// One server more is connected to, or one less.
    pub(super) fn connected(&self, is_up: bool) {
        match is_up {
            true => self.connected.inc(),
            false => self.connected.dec(),
        };
    }

    /// A call that is counted when the value goes.
    pub(super) fn call(&self, method: &'static str) -> Call {
        self.in_flight.inc();
        Call {
            metrics: self.clone(),
            method,
            code: Code::Cancelled,
        }
    }
}

/// A call that is being passed on. One of which no end is noted was given up by its caller.
pub(super) struct Call {
    metrics: Metrics,
    method: &'static str,
    code: Code,
}

impl Call {
    /// Notes how it ends, but does not end it.
    pub(super) fn will_end(&mut self, code: Code) {
        self.code = code;
    }

    /// Ends it.
    pub(super) fn ends(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let labels = Labels {
            method: self.method,
            code: code_name(self.code),
        };
        self.metrics.calls.get_or_create(&labels).inc();
        self.metrics.in_flight.dec();
    }
}
