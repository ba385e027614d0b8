//! Two default routes of one family: plugins add each beside the other with the same metric. For IPv4 the
//! newest is used; IPv6 makes one multipath route of them.

use std::net::IpAddr;

use cni::key;
use cni::netconf::{NetConfList, PluginConf};
use ipnetwork::IpNetwork;
use serde_json::{Map, Value};

use super::{Warning, is_set, named};
use crate::attachment::Attachment;

/// Main plugins that add the routes of their IPAM and no others.
const ROUTES_OF_IPAM: [&str; 8] = [
    "bridge",
    "dummy",
    "host-device",
    "ipvlan",
    "macvlan",
    "ptp",
    "tap",
    "vlan",
];
/// IPAM plugins whose routes are all in their configuration.
const ROUTES_OF_CONF: [&str; 2] = ["host-local", "static"];

const REMEDY: &str =
    "leave the default route to one network, or choose one with default-route in the annotation";

pub(super) fn of_pod(attachments: &[Attachment]) -> Vec<Warning> {
    let families = [
        (
            "an IPv4",
            "new connections leave by the one that was added last",
            IpAddr::is_ipv4 as fn(&IpAddr) -> bool,
        ),
        (
            "an IPv6",
            "connections are split between them",
            IpAddr::is_ipv6,
        ),
    ];
    let warning = |(family, what, is_of): (&str, &str, fn(&IpAddr) -> bool)| {
        let asked = attachments.iter().flat_map(|one| &one.default_route);
        // ADD makes it the only one of the family.
        if asked.flatten().any(is_of) {
            return None;
        }
        let with_route = attachments.iter().enumerate().filter(|(index, one)| {
            let unknown = *index == 0;
            one.default_route.is_none() && gives(&one.list, is_of).unwrap_or(unknown)
        });
        let names: Vec<_> = with_route.map(|(_, one)| named(one)).collect();
        (names.len() > 1).then(|| Warning {
            what: format!(
                "{} each have {family} default route: {what}",
                names.join(", ")
            ),
            remedy: REMEDY,
        })
    };
    families.into_iter().filter_map(warning).collect()
}

/// Whether the network gives a pod a default route of the family; nothing if its configuration does not
/// say.
fn gives(list: &NetConfList, is_of: fn(&IpAddr) -> bool) -> Option<bool> {
    let main = list.plugins.first()?;
    let says_so = |plugin: &PluginConf| {
        let by_bridge = is_set(plugin, "isDefaultGateway") && has_family(plugin.ipam(), is_of);
        by_bridge || plugin.ipam().is_some_and(|ipam| has_route(ipam, is_of))
    };
    if list.plugins.iter().any(says_so) {
        return Some(true);
    }
    let has_route = ROUTES_OF_IPAM.contains(&main.plugin_type())
        && main
            .ipam_type()
            .is_none_or(|kind| ROUTES_OF_CONF.contains(&kind));
    has_route.then_some(false)
}

fn has_route(ipam: &Map<String, Value>, is_of: fn(&IpAddr) -> bool) -> bool {
    let routes = key::value_of(ipam, "routes").and_then(Value::as_array);
    let destinations = routes
        .into_iter()
        .flatten()
        .filter_map(|route| key::value_of(route.as_object()?, "dst")?.as_str());
    destinations
        .filter_map(|dst| dst.parse::<IpNetwork>().ok())
        .any(|dst| dst.prefix() == 0 && is_of(&dst.ip()))
}

/// Whether addresses of the family come from the configuration; one that names none may give both.
pub(super) fn has_family(ipam: Option<&Map<String, Value>>, is_of: fn(&IpAddr) -> bool) -> bool {
    let mut networks = Vec::new();
    for (key, value) in ipam.into_iter().flatten() {
        if !key.eq_ignore_ascii_case("routes") {
            networks_in(value, &mut networks);
        }
    }
    networks.is_empty() || networks.iter().any(|network| is_of(&network.ip()))
}

fn networks_in(value: &Value, networks: &mut Vec<IpNetwork>) {
    match value {
        Value::String(text) if text.contains('/') => {
            networks.extend(text.parse::<IpNetwork>().ok())
        }
        Value::Array(items) => items.iter().for_each(|item| networks_in(item, networks)),
        Value::Object(object) => object
            .values()
            .for_each(|value| networks_in(value, networks)),
        _ => {}
    }
}
