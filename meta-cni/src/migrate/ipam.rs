//! The `ipam` object of whereabouts in a network's configuration, as whereabouts 0.9.2 reads it (its pkg/config/config.go), with
//! the defaults of the node's whereabouts.conf.

use std::net::IpAddr;

use cni::key;
use ipnetwork::IpNetwork;
use proto::ipam::v1::{Dns, Route};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::span::{Span, plain};

/// `ipam.type` of whereabouts.
pub(super) const TYPE: &str = "whereabouts";

/// Keys that whereabouts reads and that have no meaning for a lease of ours.
const IDLE: [&str; 18] = [
    "configuration_path",
    "datastore",
    "etcd_ca_cert_file",
    "etcd_cert_file",
    "etcd_host",
    "etcd_key_file",
    "etcd_password",
    "etcd_username",
    "kubernetes",
    "leader_lease_duration",
    "leader_renew_deadline",
    "leader_retry_period",
    "log_file",
    "log_level",
    "name",
    "reconciler_cron_expression",
    "sleep_for_race",
    "type",
];

/// Keys that are read here.
const KNOWN: [&str; 12] = [
    "addresses",
    "dns",
    "enable_overlapping_ranges",
    "exclude",
    "gateway",
    "ipranges",
    "network_name",
    "node_slice_size",
    "range",
    "range_end",
    "range_start",
    "routes",
];

/// What a network leases by whereabouts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ipam {
    /// Its ranges, in order.
    pub(super) settings: Vec<Setting>,
    /// What keeps equal ranges apart; empty: nothing.
    pub(super) network_name: String,
    pub(super) gateway: Option<IpAddr>,
    pub(super) routes: Vec<Route>,
    pub(super) dns: Option<Dns>,
    /// Whether each node leases from a slice of its own.
    pub(super) has_slices: bool,
    /// Whether addresses of overlapping ranges may be allocated twice.
    pub(super) may_repeat: bool,
    /// Static addresses of every pod.
    pub(super) addresses: usize,
    /// Keys that whereabouts does not know either.
    pub(super) unknown: Vec<String>,
}

/// What a network leases of one range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    /// The range without host bits.
    pub(super) cidr: IpNetwork,
    /// What is leased of it.
    pub(super) span: Span,
    /// What is not leased of it.
    pub(super) excludes: Vec<Span>,
}

/// The object, with keys in lower case.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(flatten)]
    range: Range,
    ipranges: Vec<Range>,
    gateway: String,
    routes: Vec<WrittenRoute>,
    dns: WrittenDns,
    network_name: String,
    node_slice_size: String,
    enable_overlapping_ranges: Option<bool>,
    addresses: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Range {
    range: String,
    range_start: String,
    range_end: String,
    exclude: Vec<String>,
}

#[derive(Deserialize)]
struct WrittenRoute {
    dst: String,
    #[serde(default)]
    gw: String,
    #[serde(default)]
    mtu: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenDns {
    nameservers: Vec<String>,
    domain: String,
    search: Vec<String>,
    options: Vec<String>,
}

impl Ipam {
    /// Reads an object; `defaults` is whereabouts.conf, whose keys hold where the object has none.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub(super) fn read(
        object: &Map<String, Value>,
        defaults: Option<&Map<String, Value>>,
    ) -> Result<Ipam, String> {
        let mut merged = normal(object);
        let unknown = merged
            .keys()
            .filter(|key| !KNOWN.contains(&key.as_str()) && !IDLE.contains(&key.as_str()))
            .cloned()
            .collect();
        for (key, value) in defaults.map(normal).unwrap_or_default() {
            // What the object does not say at all, or says emptily; this one key holds as the object has it.
            if key != "enable_overlapping_ranges" && merged.get(&key).is_none_or(is_empty) {
                merged.insert(key, value);
            }
        }
        merged.retain(|key, _| KNOWN.contains(&key.as_str()));
        let written: Written = serde_path_to_error::deserialize(Value::Object(merged))
            .map_err(|error| format!("ipam.{}: {}", error.path(), error.inner()))?;
        written.check(unknown)
    }
}

impl Written {
    fn check(self, unknown: Vec<String>) -> Result<Ipam, String> {
        let gateway = given("gateway", &self.gateway)?;
        let mut routes = Vec::new();
        for route in self.routes {
            let gw = given("routes[].gw", &route.gw)?;
            routes.push(Route {
                dst: cidr("routes[].dst", &route.dst)?.to_string(),
                gw: gw.map(|gw| gw.to_string()).unwrap_or_default(),
                mtu: route.mtu,
            });
        }
        let first = (!self.range.range.is_empty()).then_some(self.range);
        let ranges = first.into_iter().chain(self.ipranges);
        let settings = ranges
            .map(|range| range.setting())
            .collect::<Result<Vec<_>, _>>()?;
        let dns = Dns {
            nameservers: self.dns.nameservers,
            domain: self.dns.domain,
            search: self.dns.search,
            options: self.dns.options,
        };
        Ok(Ipam {
            settings,
            network_name: self.network_name,
            gateway,
            routes,
            dns: (dns != Dns::default()).then_some(dns),
            has_slices: !self.node_slice_size.is_empty(),
            may_repeat: self.enable_overlapping_ranges == Some(false),
            addresses: self.addresses.len(),
            unknown,
        })
    }
}

impl Range {
    /// A start or end outside of the range counts as none: whereabouts takes it so.
    fn setting(&self) -> Result<Setting, String> {
        let (start, rest) = match self.range.split_once('-') {
            Some((start, rest)) => (Some(address("range", start)?), rest),
            None => (None, self.range.as_str()),
        };
        let of = cidr("range", rest)?;
        // FIRST-LAST/PREFIX: the address before the slash is the last one.
        let end = start.and_then(|_| rest.split('/').next()?.trim().parse().ok());
        let start = start.or(self.range_start.trim().parse().ok());
        let end = end.or(self.range_end.trim().parse().ok());
        let usable = Span::usable(of);
        let first = start.filter(|start| usable.contains(*start));
        let first = first.unwrap_or(usable.first);
        let last = end.filter(|end| usable.contains(*end) && first <= *end);
        let mut excludes = Vec::new();
        for text in &self.exclude {
            excludes.extend(exclude(text)?.intersection(Span::of(of)));
        }
        Ok(Setting {
            cidr: of,
            span: Span {
                first,
                last: last.unwrap_or(usable.last),
            },
            excludes,
        })
    }
}

/// The keys in lower case, without those that are null.
fn normal(object: &Map<String, Value>) -> Map<String, Value> {
    fn without_nulls(value: Value) -> Value {
        match value {
            Value::Object(object) => object
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
            Value::Array(items) => items.into_iter().map(without_nulls).collect(),
            other => other,
        }
    }
    let lower = key::in_lower_case(&Value::Object(object.clone()));
    match without_nulls(lower) {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

fn given(field: &str, text: &str) -> Result<Option<IpAddr>, String> {
    match text {
        "" => Ok(None),
        text => address(field, text).map(Some),
    }
}

fn address(field: &str, text: &str) -> Result<IpAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("ipam.{field}: {text} is not an address"))
}

fn cidr(field: &str, text: &str) -> Result<IpNetwork, String> {
    let written: Option<IpNetwork> = text.trim().parse().ok();
    written
        .filter(|_| text.contains('/'))
        .map(plain)
        .ok_or_else(|| format!("ipam.{field}: {text} is not a CIDR"))
}

/// A CIDR, an address, or FIRST-LAST.
fn exclude(text: &str) -> Result<Span, String> {
    match text.split_once('-') {
        Some((first, last)) => Ok(Span {
            first: address("exclude", first)?,
            last: address("exclude", last)?,
        }),
        None if text.contains('/') => cidr("exclude", text).map(Span::of),
        None => address("exclude", text).map(Span::one),
    }
}

#[cfg(test)]
mod tests;
