//! Metrics. Labels come from closed sets: methods, codes, pools, families and states.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipam_core::allocator::pools::PoolUsage;
use ipam_core::event::EventType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::ledger::Observer;
use crate::seed::Refused;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Addresses {
    pool: String,
    family: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPool {
    pool: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rpc {
    method: String,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Renewal {
    files: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfFiles {
    files: &'static str,
}

/// All metrics of a server.
pub struct Metrics {
    registry: Registry,
    addresses: Family<Addresses, Gauge<f64, AtomicU64>>,
    refused: Family<OfPool, Gauge>,
    refused_callers: Family<Why, Counter>,
    renewals: Family<Renewal, Counter>,
    certificate_begin: Family<OfFiles, Gauge>,
    certificate_end: Family<OfFiles, Gauge>,
    handshake_failures: Counter,
    connections: Gauge,
    connections_closed: Family<Why, Counter>,
    rpcs: Family<Rpc, Histogram, fn() -> Histogram>,
    commit_changes: Histogram,
    commit_seconds: Histogram,
    overtaken: Counter,
    expired: Counter,
    quarantines_cut_short: Counter,
    conflicts: Counter,
    writable: Gauge,
    revision: Gauge,
    watchers: Gauge,
    awaited: Gauge,
    accept_failures: Counter,
    clock_behind: Gauge,
    log_dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        let mut metrics = Metrics {
            registry: Registry::default(),
            addresses: Family::default(),
            refused: Family::default(),
            refused_callers: Family::default(),
            renewals: Family::default(),
            certificate_begin: Family::default(),
            certificate_end: Family::default(),
            handshake_failures: Counter::default(),
            connections: Gauge::default(),
            connections_closed: Family::default(),
            rpcs: Family::new_with_constructor(seconds),
            commit_changes: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: seconds(),
            overtaken: Counter::default(),
            expired: Counter::default(),
            quarantines_cut_short: Counter::default(),
            conflicts: Counter::default(),
            writable: Gauge::default(),
            revision: Gauge::default(),
            watchers: Gauge::default(),
            awaited: Gauge::default(),
            accept_failures: Counter::default(),
            clock_behind: Gauge::default(),
            log_dropped: Counter::default(),
        };
        metrics.writable.set(1);
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "ipam_pool_addresses",
            "Addresses of a pool",
            self.addresses.clone(),
        );
        registry.register(
            "ipam_pool_refused",
            "1 for a pool of --pools that could not be made or changed",
            self.refused.clone(),
        );
        registry.register(
            "ipam_refused_callers",
            "Requests refused because of who the caller is",
            self.refused_callers.clone(),
        );
        registry.register(
            "ipam_renewals",
            "Changes of files that are read anew: used or failed",
            self.renewals.clone(),
        );
        registry.register(
            "ipam_certificate_not_before_timestamp_seconds",
            "From when the certificate of --tls-cert is valid, in seconds since 1970; absent without TLS",
            self.certificate_begin.clone(),
        );
        registry.register(
            "ipam_certificate_not_after_timestamp_seconds",
            "Until when the certificate of --tls-cert is valid, in seconds since 1970; absent without TLS",
            self.certificate_end.clone(),
        );
        registry.register(
            "ipam_handshake_failures",
            "TLS handshakes that failed or took too long",
            self.handshake_failures.clone(),
        );
        registry.register(
            "ipam_connections",
            "Connections that are open",
            self.connections.clone(),
        );
        registry.register(
            "ipam_connections_closed",
            "Connections closed at the limit of a peer or of all: idle ones for new ones, or new ones",
            self.connections_closed.clone(),
        );
        registry.register(
            "ipam_rpc_duration_seconds",
            "Time of a request",
            self.rpcs.clone(),
        );
        registry.register(
            "ipam_commit_changes",
            "Changes of one durable write",
            self.commit_changes.clone(),
        );
        registry.register(
            "ipam_commit_seconds",
            "Time of one durable write",
            self.commit_seconds.clone(),
        );
        registry.register(
            "ipam_overtaken",
            "Groups of changes that were decided again, because another server of the same store appended first",
            self.overtaken.clone(),
        );
        registry.register(
            "ipam_leases_expired",
            "Leases that ended by themselves",
            self.expired.clone(),
        );
        registry.register(
            "ipam_quarantine_cut_short",
            "Quarantines that were cut short for want of addresses",
            self.quarantines_cut_short.clone(),
        );
        let help = "Requests refused because somebody else has what they ask for";
        registry.register("ipam_conflicts", help, self.conflicts.clone());
        registry.register(
            "ipam_store_writable",
            "1 while changes can be written",
            self.writable.clone(),
        );
        registry.register(
            "ipam_revision",
            "Number of the last change",
            self.revision.clone(),
        );
        registry.register(
            "ipam_watchers",
            "Watches that are open",
            self.watchers.clone(),
        );
        registry.register(
            "ipam_awaited_nodes",
            "Nodes whose reports a restored store waits for",
            self.awaited.clone(),
        );
        registry.register(
            "ipam_accept_failures",
            "Connections that could not be accepted, for want of file descriptors for example",
            self.accept_failures.clone(),
        );
        registry.register(
            "ipam_clock_behind_seconds",
            "How far the machine's clock is behind the server's time, which never goes back",
            self.clock_behind.clone(),
        );
        registry.register(
            "ipam_log_lines_dropped",
            "Lines of the log that were dropped, since nobody read standard error",
            self.log_dropped.clone(),
        );
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("ipam_server_build", "The program", build);
    }

    /// How far the machine's clock is behind the server's time.
    pub fn clock_behind(&self, behind: Duration) {
        let seconds = i64::try_from(behind.as_secs()).unwrap_or(i64::MAX);
        self.clock_behind.set(seconds);
    }

    /// Nodes whose reports are waited for.
    pub fn awaited(&self, nodes: usize) {
        self.awaited.set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }

    /// Pools of the file that are not in force.
    pub fn refused(&self, pools: &[Refused]) {
        for refused in pools {
            let label = OfPool {
                pool: refused.pool.clone(),
            };
            self.refused.get_or_create(&label).set(1);
        }
    }

    /// A request that was refused because of who its caller is: `no_identity`, `not_reviewed` or `not_allowed`.
    pub fn refused_caller(&self, why: &'static str) {
        self.refused_callers.get_or_create(&Why { why }).inc();
    }

    /// Files that changed: `tls` or `policy`, and whether the new ones are used.
    pub fn renewed(&self, files: &'static str, used: bool) {
        let result = if used { "used" } else { "failed" };
        self.renewals
            .get_or_create(&Renewal { files, result })
            .inc();
    }

    /// From when to when the certificate in use is valid.
    pub fn show_certificate(&self, validity: &Range<SystemTime>) {
        let set = |gauge: &Family<OfFiles, Gauge>, at: SystemTime| {
            let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            gauge.get_or_create(&OfFiles { files: "tls" }).set(seconds);
        };
        set(&self.certificate_begin, validity.start);
        set(&self.certificate_end, validity.end);
    }

    /// Connections that are open.
    pub fn connections(&self, number: usize) {
        self.connections
            .set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// A connection that was closed at a limit: `idle` for a new one, or `new`.
    pub fn connection_closed(&self, why: &'static str) {
        self.connections_closed.get_or_create(&Why { why }).inc();
    }

    /// A TLS handshake that failed.
    pub fn handshake_failed(&self) {
        self.handshake_failures.inc();
    }

    /// One request that was answered.
    pub fn rpc(&self, method: &str, code: tonic::Code, took: Duration) {
        let label = Rpc {
            method: method.to_owned(),
            code: format!("{code:?}"),
        };
        self.rpcs.get_or_create(&label).observe(took.as_secs_f64());
        if matches!(code, tonic::Code::AlreadyExists | tonic::Code::Aborted) {
            self.conflicts.inc();
        }
    }

    /// The text of /metrics, with the pools as they are now.
    pub fn text(&self, pools: &[PoolUsage], revision: u64, watchers: i64) -> String {
        self.addresses.clear();
        for pool in pools {
            for (family, usage) in [("ipv4", &pool.ipv4), ("ipv6", &pool.ipv6)] {
                let Some(usage) = usage else {
                    continue;
                };
                for (state, number) in [
                    ("leased", usage.leased),
                    ("reserved", usage.reserved),
                    ("quarantined", usage.quarantined),
                    ("free", usage.free),
                ] {
                    let label = Addresses {
                        pool: pool.pool.name.as_ref().to_owned(),
                        family,
                        state,
                    };
                    self.addresses.get_or_create(&label).set(rounded(number));
                }
            }
        }
        self.revision
            .set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.watchers.set(watchers);
        let set = |counter: &Counter, count| counter.inner().store(count, Ordering::Relaxed);
        set(&self.accept_failures, process::accept::failures());
        set(&self.log_dropped, process::log::dropped());
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no larger numbers"
)]
fn rounded(number: u128) -> f64 {
    number as f64
}

impl Observer for Metrics {
    fn committed(&self, changes: &[EventType], took: Duration) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a group has a few thousand changes at most"
        )]
        self.commit_changes.observe(changes.len() as f64);
        self.commit_seconds.observe(took.as_secs_f64());
        let count = |what| changes.iter().filter(|&&change| change == what).count() as u64;
        self.expired.inc_by(count(EventType::Expired));
        self.quarantines_cut_short
            .inc_by(count(EventType::CutShort));
    }

    fn overtaken(&self) {
        self.overtaken.inc();
    }

    fn writable(&self, writable: bool) {
        self.writable.set(i64::from(writable));
    }
}
