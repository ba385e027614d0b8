//! Networks that lease by whereabouts: what their NetworkAttachmentDefinitions say, and the same text with meta-ipam in
//! the place of whereabouts.

use cni::key;
use serde_json::{Map, Value, json};

use super::ipam::{Ipam, TYPE};
use super::objects::NadSeen;
use super::obstacle::Obstacle;
use crate::cluster::NadName;
use crate::ipam::config;

/// A network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    pub(super) name: NadName,
    pub(super) ipam: Ipam,
    /// `spec.config` with whereabouts.
    pub(super) before: String,
    /// `spec.config` as it is now.
    pub(super) now: String,
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// The parsed text with whereabouts.
    conf: Map<String, Value>,
}

/// What a definition is.
#[derive(Debug)]
pub(super) enum Read {
    /// It leases by whereabouts.
    Network(Box<Network>),
    /// It does not.
    Other,
    /// It has no configuration: a file of each node has.
    File,
}

impl Network {
    /// Reads a definition; `defaults` is the node's whereabouts.conf.
    ///
    /// # Errors
    /// Why it stays with whereabouts.
    pub(super) fn read(
        nad: &NadSeen,
        defaults: Option<&Map<String, Value>>,
    ) -> Result<Read, Obstacle> {
        let before = nad.before.as_ref().unwrap_or(&nad.config);
        if before.trim().is_empty() {
            return Ok(Read::File);
        }
        let obstacle =
            |reason: String, remedy: &str| Obstacle::new(subject(&nad.name), reason, remedy);
        let conf: Map<String, Value> = serde_json::from_str(before).map_err(|error| {
            let reason = format!("its configuration is no JSON object: {error}");
            obstacle(reason, "correct spec.config, and run this again")
        })?;
        let ipams = ipams(&conf);
        let Some(first) = ipams.first() else {
            return match is_nested(&Value::Object(conf.clone()), 0) {
                false => Ok(Read::Other),
                true => Err(obstacle(
                    "whereabouts stands deeper than in the plugins of a list".to_owned(),
                    "write a network whose own plugin has the ipam section",
                )),
            };
        };
        if ipams.iter().any(|other| other != first) {
            return Err(obstacle(
                "its plugins have several different ipam sections of whereabouts".to_owned(),
                "let one plugin of the list lease",
            ));
        }
        let ipam = Ipam::read(first, defaults)
            .map_err(|reason| obstacle(reason, "correct spec.config, and run this again"))?;
        let network = Network {
            name: nad.name.clone(),
            ipam,
            before: before.clone(),
            now: nad.config.clone(),
            version: nad.version.clone(),
            conf,
        };
        match network.blocked() {
            Some((reason, remedy)) => Err(obstacle(reason, remedy)),
            None => Ok(Read::Network(Box::new(network))),
        }
    }

    /// Why it cannot lease by meta-ipam.
    fn blocked(&self) -> Option<(String, &'static str)> {
        let of_family = |is_ipv4: bool| {
            let settings = self.ipam.settings.iter();
            settings.filter(|one| one.cidr.is_ipv4() == is_ipv4).count()
        };
        if self.ipam.settings.is_empty() {
            return Some((
                "it names no range, and whereabouts.conf of this node has none".to_owned(),
                "run this on a node that has the file (--whereabouts-conf)",
            ));
        }
        if of_family(true) > 1 || of_family(false) > 1 {
            return Some((
                "it leases several addresses of one family for one interface".to_owned(),
                "make a network, and an interface of the pod, for each range",
            ));
        }
        if self.ipam.addresses > 0 {
            return Some((
                "it adds static addresses to the leased ones".to_owned(),
                "give the static addresses to a network of their own (ipam static)",
            ));
        }
        None
    }

    /// What is lost although the network is carried over.
    pub(super) fn losses(&self) -> Vec<Obstacle> {
        let what = subject(&self.name);
        let mut losses = Vec::new();
        let mut add =
            |reason: String, remedy: &str| losses.push(Obstacle::new(&what, reason, remedy));
        for key in &self.ipam.unknown {
            add(
                format!("ipam.{key} is a key that whereabouts does not know either"),
                "it is left out",
            );
        }
        if self.ipam.has_slices {
            add(
                "ipam.node_slice_size: nodes have no slices of a pool".to_owned(),
                "every node leases from the whole range",
            );
        }
        if self.ipam.may_repeat {
            add(
                "ipam.enable_overlapping_ranges: no address of a VRF is leased twice".to_owned(),
                "for equal addresses in several networks, set network_name before the migration",
            );
        }
        losses
    }

    /// The text with meta-ipam and this pool; `families` if the network leases fewer than the pool has.
    pub(super) fn with_pool(&self, pool: &str, families: Option<&str>) -> String {
        let mut ours = json!({ "type": config::TYPE, "pool": pool });
        if let Some(families) = families {
            ours["families"] = json!(families);
        }
        let mut conf = self.conf.clone();
        replace(&mut conf, &ours);
        if let Some(Value::Array(plugins)) = value_mut(&mut conf, "plugins") {
            let plugins = plugins.iter_mut().filter_map(Value::as_object_mut);
            plugins.for_each(|plugin| replace(plugin, &ours));
        }
        match self.before.trim().contains('\n') {
            true => format!("{:#}", Value::Object(conf)),
            false => Value::Object(conf).to_string(),
        }
    }
}

/// How messages name a network.
pub(super) fn subject(name: &NadName) -> String {
    format!("NetworkAttachmentDefinition {name}")
}

/// The `ipam` objects of whereabouts that plugins of a configuration or list have.
fn ipams(conf: &Map<String, Value>) -> Vec<&Map<String, Value>> {
    let plugins = key::value_of(conf, "plugins").and_then(Value::as_array);
    let plugins = plugins.into_iter().flatten().filter_map(Value::as_object);
    let all = std::iter::once(conf).chain(plugins);
    all.filter_map(theirs).collect()
}

/// The `ipam` object of a plugin, if it is whereabouts'.
fn theirs(plugin: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let ipam = key::value_of(plugin, "ipam")?.as_object()?;
    let kind = key::value_of(ipam, "type").and_then(Value::as_str);
    (kind == Some(TYPE)).then_some(ipam)
}

/// Whether an `ipam` object of whereabouts stands anywhere.
fn is_nested(value: &Value, depth: usize) -> bool {
    const DEPTH: usize = 16;
    match value {
        _ if depth > DEPTH => false,
        Value::Object(object) => {
            theirs(object).is_some() || object.values().any(|one| is_nested(one, depth + 1))
        }
        Value::Array(items) => items.iter().any(|one| is_nested(one, depth + 1)),
        _ => false,
    }
}

/// Puts another `ipam` object in the place of whereabouts'.
fn replace(plugin: &mut Map<String, Value>, ours: &Value) {
    if theirs(plugin).is_some()
        && let Some(ipam) = value_mut(plugin, "ipam")
    {
        *ipam = ours.clone();
    }
}

fn value_mut<'a>(object: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    let name = object
        .keys()
        .rev()
        .find(|key| key::is(key, name))
        .cloned()?;
    object.get_mut(&name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A definition of namespace `ns`.
    pub(in crate::migrate) fn nad(name: &str, config: &Value) -> NadSeen {
        NadSeen {
            name: NadName {
                namespace: "ns".to_owned(),
                name: name.to_owned(),
            },
            config: match config {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
            before: None,
            version: "1".to_owned(),
        }
    }

    /// A network of macvlan with this `ipam` object.
    pub(in crate::migrate) fn network(name: &str, ipam: &Value) -> Network {
        let mut ipam = ipam.clone();
        ipam["type"] = json!("whereabouts");
        let config = json!({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "ipam": ipam});
        match Network::read(&nad(name, &config), None) {
            Ok(Read::Network(network)) => *network,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_ipam_section_of_whereabouts_is_replaced() {
        for (name, config, expected) in [
            (
                "a configuration",
                r#"{"cniVersion":"1.0.0","type":"macvlan","ipam":{"type":"whereabouts","range":"10.1.0.0/24"},"mtu":1400}"#,
                r#"{"cniVersion":"1.0.0","type":"macvlan","ipam":{"type":"meta-ipam","pool":"p","families":"V4"},"mtu":1400}"#,
            ),
            (
                "a list",
                r#"{"plugins":[{"type":"macvlan","IPAM":{"Type":"whereabouts","range":"10.1.0.0/24"}},{"type":"sbr","ipam":{}}]}"#,
                r#"{"plugins":[{"type":"macvlan","IPAM":{"type":"meta-ipam","pool":"p","families":"V4"}},{"type":"sbr","ipam":{}}]}"#,
            ),
        ] {
            let read = Network::read(&nad("a", &json!(config)), None);
            let Ok(Read::Network(network)) = read else {
                panic!("{name}: {read:?}");
            };
            assert_eq!(network.with_pool("p", Some("V4")), expected, "{name}");
        }
        let lines = "{\n  \"type\": \"macvlan\",\n  \"ipam\": {\"type\": \"whereabouts\", \"range\": \"10.1.0.0/24\"}\n}";
        let Ok(Read::Network(network)) = Network::read(&nad("a", &json!(lines)), None) else {
            panic!("a network");
        };
        assert!(network.with_pool("p", None).contains("\n  \"ipam\": {\n"));
    }

    #[test]
    fn a_definition_that_was_rewritten_is_read_as_it_was() {
        let before =
            json!({"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.1.0.0/24"}});
        let now = json!({"type": "macvlan", "ipam": {"type": "meta-ipam", "pool": "p"}});
        let nad = NadSeen {
            before: Some(before.to_string()),
            ..nad("a", &now)
        };
        let Ok(Read::Network(network)) = Network::read(&nad, None) else {
            panic!("a network");
        };
        assert_eq!(network.with_pool("p", None), network.now);
    }

    #[test]
    fn what_does_not_lease_by_whereabouts_is_left_alone() {
        for config in [
            json!({"type": "macvlan"}),
            json!({"type": "macvlan", "ipam": {"type": "host-local"}}),
            json!({"plugins": [{"type": "macvlan", "ipam": {}}]}),
        ] {
            let read = Network::read(&nad("a", &config), None);
            assert!(matches!(read, Ok(Read::Other)), "{config}");
        }
        let read = Network::read(&nad("a", &json!("")), None);
        assert!(matches!(read, Ok(Read::File)));
    }

    #[test]
    fn a_network_that_cannot_be_carried_over_has_a_reason() {
        let ipam = |ipam: Value| json!({"type": "macvlan", "ipam": ipam});
        for (config, reason) in [
            (json!("{"), "its configuration is no JSON object"),
            (ipam(json!({"type": "whereabouts"})), "it names no range"),
            (
                ipam(json!({"type": "whereabouts", "range": "x"})),
                "ipam.range: x is not a CIDR",
            ),
            (
                ipam(
                    json!({"type": "whereabouts", "ipRanges": [{"range": "10.1.0.0/24"}, {"range": "10.2.0.0/24"}]}),
                ),
                "it leases several addresses of one family",
            ),
            (
                ipam(
                    json!({"type": "whereabouts", "range": "10.1.0.0/24", "addresses": [{"address": "10.2.0.2/24"}]}),
                ),
                "it adds static addresses",
            ),
            (
                json!({"type": "sriov", "delegate": ipam(json!({"type": "whereabouts", "range": "10.1.0.0/24"}))}),
                "whereabouts stands deeper",
            ),
            (
                json!({"plugins": [
                    ipam(json!({"type": "whereabouts", "range": "10.1.0.0/24"})),
                    ipam(json!({"type": "whereabouts", "range": "10.2.0.0/24"})),
                ]}),
                "its plugins have several different ipam sections",
            ),
        ] {
            let obstacle = Network::read(&nad("a", &config), None).expect_err("an obstacle");
            assert_eq!(obstacle.what, "NetworkAttachmentDefinition ns/a");
            assert!(obstacle.reason.starts_with(reason), "{}", obstacle.reason);
        }
    }

    #[test]
    fn what_is_lost_of_a_network_is_named() {
        let network = network(
            "a",
            &json!({"range": "10.1.0.0/16", "node_slice_size": "/24", "enable_overlapping_ranges": false, "x": 1}),
        );
        let reasons: Vec<_> = network
            .losses()
            .into_iter()
            .map(|loss| loss.reason)
            .collect();
        assert_eq!(reasons.len(), 3, "{reasons:?}");
    }
}
