//! NetworkAttachmentDefinitions of a dump: the network that leases are filed under, and what whereabouts leases for
//! it (its pkg/config/config.go).

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

use super::decode::decode;
use crate::import::settings::{Setting, Span};

/// A NetworkAttachmentDefinition.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) namespace: String,
    /// NAMESPACE/NAME.
    pub(super) full_name: String,
    /// What DEL and GC know its leases by.
    pub(super) owner: String,
    /// network_name of its ranges; empty: none.
    pub(super) network_name: String,
    /// What whereabouts leases for it; empty: it has another IPAM plugin.
    pub(super) settings: Vec<Setting>,
}

/// The `ipam` object of whereabouts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    #[serde(flatten)]
    range: Range,
    #[serde(rename = "ipRanges")]
    ranges: Vec<Range>,
    gateway: String,
    routes: Vec<Route>,
    network_name: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Range {
    range: String,
    range_start: String,
    range_end: String,
    exclude: Vec<String>,
}

#[derive(Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    gw: String,
}

impl Network {
    /// Reads an object.
    ///
    /// # Errors
    /// A sentence about what cannot be read.
    pub(super) fn read(object: &Value) -> Result<Network, String> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let name = text("/metadata/name").ok_or("it has no name")?;
        let namespace = text("/metadata/namespace").unwrap_or("default");
        let full_name = format!("{namespace}/{name}");
        // Without a configuration here, it is in a file of each node that has the network's name.
        let config: Value = match text("/spec/config") {
            Some(config) if !config.trim().is_empty() => serde_json::from_str(config)
                .map_err(|error| format!("its configuration cannot be read: {error}"))?,
            _ => Value::Null,
        };
        let mut network = Network {
            namespace: namespace.to_owned(),
            owner: full_name.clone(),
            full_name,
            network_name: String::new(),
            settings: Vec::new(),
        };
        if let Some(ipam) = whereabouts(&config) {
            network
                .configure(decode(ipam.clone()).map_err(|problem| format!("ipam: {problem}"))?)?;
        }
        Ok(network)
    }

    fn configure(&mut self, ipam: Ipam) -> Result<(), String> {
        self.network_name = ipam.network_name;
        let gateway = match ipam.gateway.as_str() {
            "" => None,
            text => Some(address("gateway", text)?),
        };
        let routes: Vec<_> = ipam
            .routes
            .iter()
            .map(|route| {
                let gw = match route.gw.as_str() {
                    "" => None,
                    text => Some(address("routes[].gw", text)?),
                };
                Ok((network("routes[].dst", &route.dst)?, gw))
            })
            .collect::<Result<_, String>>()?;
        let first = (!ipam.range.range.is_empty()).then_some(ipam.range);
        for range in first.into_iter().chain(ipam.ranges) {
            let (cidr, span) = range.span()?;
            let excludes = range.exclude.iter().map(|text| exclude(text, cidr));
            let of_family = |ip: &IpAddr| ip.is_ipv4() == cidr.is_ipv4();
            self.settings.push(Setting {
                network: self.full_name.clone(),
                cidr,
                span,
                excludes: excludes
                    .collect::<Result<Vec<_>, _>>()?
                    .into_iter()
                    .flatten()
                    .collect(),
                gateway: gateway.filter(of_family),
                routes: routes
                    .iter()
                    .filter(|(dst, _)| of_family(&dst.ip()))
                    .copied()
                    .collect(),
            });
        }
        Ok(())
    }
}

/// The first `ipam` object of whereabouts in a configuration or list.
fn whereabouts(config: &Value) -> Option<&Value> {
    let plugins = config.get("plugins").and_then(Value::as_array);
    let all = std::iter::once(config).chain(plugins.into_iter().flatten());
    let mut ipams = all.filter_map(|plugin| plugin.get("ipam"));
    ipams.find(|ipam| ipam.get("type").and_then(Value::as_str) == Some("whereabouts"))
}

impl Range {
    /// The range without host bits, and what is leased of it. A start or end outside of it is as none: so whereabouts
    /// takes it.
    fn span(&self) -> Result<(IpNetwork, Span), String> {
        // FIRST-LAST/PREFIX is a way to write range_start and range_end.
        let (start, rest) = match self.range.split_once('-') {
            Some((start, rest)) => (Some(address("range", start)?), rest),
            None => (None, self.range.as_str()),
        };
        let cidr = network("range", rest)?;
        let end = start.and_then(|_| rest.split('/').next()?.parse().ok());
        let given = |field: &str, text: &str| match text {
            "" => Ok(None),
            text => address(field, text).map(Some),
        };
        let start = start.or(given("range_start", &self.range_start)?);
        let end = end.or(given("range_end", &self.range_end)?);
        let inside = |address: &IpAddr| cidr.contains(*address);
        let first = start.filter(inside).unwrap_or(cidr.network());
        let last = end.filter(inside).filter(|last| first <= *last);
        Ok((cidr, (first, last.unwrap_or(cidr.broadcast()))))
    }
}

fn address(field: &str, text: &str) -> Result<IpAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("ipam.{field}: {text} is not an address"))
}

/// A network without host bits.
fn network(field: &str, text: &str) -> Result<IpNetwork, String> {
    let written = text.trim().parse::<IpNetwork>().ok();
    written
        .filter(|_| text.contains('/'))
        .and_then(|cidr| IpNetwork::new(cidr.network(), cidr.prefix()).ok())
        .ok_or_else(|| format!("ipam.{field}: {text} is not a CIDR"))
}

/// A CIDR, an address or FIRST-LAST, as far as it is inside of a range.
fn exclude(text: &str, of: IpNetwork) -> Result<Option<Span>, String> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (address("exclude", first)?, address("exclude", last)?),
        None if text.contains('/') => {
            let cidr = network("exclude", text)?;
            (cidr.network(), cidr.broadcast())
        }
        None => (address("exclude", text)?, address("exclude", text)?),
    };
    if first.is_ipv4() != of.is_ipv4() || last.is_ipv4() != of.is_ipv4() {
        return Ok(None);
    }
    let inside = (first.max(of.network()), last.min(of.broadcast()));
    Ok(Some(inside).filter(|(first, last)| first <= last))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: &str) -> Result<Network, String> {
        Network::read(&json!({
            "metadata": {"name": "nad", "namespace": "ns"}, "spec": {"config": config}
        }))
    }

    #[test]
    fn leases_are_filed_under_namespace_and_name_of_the_nad() {
        for (config, owner) in [
            (r#"{"name": "blue", "type": "bridge"}"#, "ns/nad"),
            (r#"{"type": "bridge"}"#, "ns/nad"),
            (r#"{"name": "", "type": "bridge"}"#, "ns/nad"),
            ("", "ns/nad"),
        ] {
            let network = read(config).expect(config);
            assert_eq!(network.owner, owner, "{config}");
            assert!(network.settings.is_empty(), "{config}");
        }
        let error = read("{").expect_err("no JSON");
        assert!(
            error.starts_with("its configuration cannot be read: "),
            "{error}"
        );
    }

    #[test]
    fn what_whereabouts_leases_is_read_as_whereabouts_reads_it() {
        for (range, cidr, first, last) in [
            (
                json!({"range": "10.1.0.7/24"}),
                "10.1.0.0/24",
                "10.1.0.0",
                "10.1.0.255",
            ),
            (
                json!({"range": "10.1.0.10-10.1.0.50/24"}),
                "10.1.0.0/24",
                "10.1.0.10",
                "10.1.0.50",
            ),
            (
                json!({"range": "10.1.0.0/24", "range_start": "10.1.0.10", "range_end": "10.1.0.50"}),
                "10.1.0.0/24",
                "10.1.0.10",
                "10.1.0.50",
            ),
            (
                json!({"range": "10.1.0.0/24", "range_start": "10.2.0.10", "range_end": "10.2.0.50"}),
                "10.1.0.0/24",
                "10.1.0.0",
                "10.1.0.255",
            ),
            (
                json!({"range": "fd00:1::/64", "range_start": "fd00:1::9"}),
                "fd00:1::/64",
                "fd00:1::9",
                "fd00:1::ffff:ffff:ffff:ffff",
            ),
        ] {
            let mut ipam = range.clone();
            ipam["type"] = "whereabouts".into();
            let list = json!({"name": "blue", "plugins": [{"type": "bridge", "ipam": ipam}]});
            let network = read(&list.to_string()).expect("a network");
            let address = |text: &str| text.parse::<IpAddr>().expect("an address");
            assert_eq!(network.settings[0].cidr.to_string(), cidr, "{range}");
            assert_eq!(
                network.settings[0].span,
                (address(first), address(last)),
                "{range}"
            );
        }
    }

    #[test]
    fn both_ways_to_write_ranges_are_read_with_what_belongs_to_each_family() {
        let config = json!({"type": "macvlan", "ipam": {
            "type": "whereabouts", "network_name": "apart", "gateway": "10.1.0.1",
            "range": "10.1.0.0/24", "exclude": ["10.1.0.1/32", "10.1.0.201/25", "10.1.0.7", "10.1.0.20-10.1.0.29", "10.9.0.0/24"],
            "ipRanges": [{"range": "fd00:1::/64", "exclude": ["fd00:1::1/128"]}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd00:9::7/64", "gw": "fd00:1::1"}]
        }});
        let network = read(&config.to_string()).expect("a network");
        assert_eq!(network.network_name, "apart");
        let [four, six] = &network.settings[..] else {
            panic!("{network:?}");
        };
        let spans = |setting: &Setting| -> Vec<String> {
            let each = setting.excludes.iter();
            each.map(|(first, last)| format!("{first}-{last}"))
                .collect()
        };
        assert_eq!(
            spans(four),
            [
                "10.1.0.1-10.1.0.1",
                "10.1.0.128-10.1.0.255",
                "10.1.0.7-10.1.0.7",
                "10.1.0.20-10.1.0.29"
            ]
        );
        assert_eq!(spans(six), ["fd00:1::1-fd00:1::1"]);
        assert!(four.gateway.is_some() && six.gateway.is_none());
        assert_eq!(four.routes[0].0.to_string(), "0.0.0.0/0");
        assert_eq!(
            (six.routes[0].0.to_string(), six.routes.len()),
            ("fd00:9::/64".to_owned(), 1)
        );
    }

    #[test]
    fn what_cannot_be_read_is_reported_with_its_key() {
        for (ipam, problem) in [
            (json!({"range": 7}), "ipam: "),
            (
                json!({"range": "10.1.0.0"}),
                "ipam.range: 10.1.0.0 is not a CIDR",
            ),
            (
                json!({"range": "10.1.0.0/24", "gateway": "x"}),
                "ipam.gateway: x is not an address",
            ),
            (
                json!({"range": "10.1.0.0/24", "exclude": ["x"]}),
                "ipam.exclude: x is not an address",
            ),
            (
                json!({"range": "10.1.0.0/24", "routes": [{"dst": "x"}]}),
                "ipam.routes[].dst: x is not a CIDR",
            ),
        ] {
            let mut ipam = ipam.clone();
            ipam["type"] = "whereabouts".into();
            let error = read(&json!({"ipam": ipam}).to_string()).expect_err("wrong");
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
