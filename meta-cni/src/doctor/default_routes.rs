//! Default routes that a plugin and its IPAM plugin both set: the second one is refused, and no pod starts.

use std::net::IpAddr;

use cni::netconf::PluginConf;
use cni::plugins::{Location, Plugins};
use ipnetwork::IpNetwork;
use serde_json::Value;

use super::finding::{Area, Finding};
use super::networks::Network;

/// The networks whose `bridge` is to set a default route beside one of its IPAM plugin.
pub(super) fn check(networks: &[Network], plugins: &dyn Plugins) -> Vec<Finding> {
    let mut findings = Vec::new();
    for network in networks {
        let Ok(found) = &network.found else {
            continue;
        };
        // The one that is built in takes such a route for its own.
        let is_executed = |conf: &&PluginConf| {
            let found = plugins.locate(conf.plugin_type(), conf.as_map());
            !matches!(found, Ok(Location::BuiltIn))
        };
        let executed = found.list.plugins.iter().filter(is_executed);
        let wrong = executed.into_iter().find_map(route_without_gateway);
        findings.extend(wrong.map(|destination| finding(network, destination)));
    }
    findings
}

fn finding(network: &Network, destination: IpNetwork) -> Finding {
    let cause = format!(
        "bridge cannot add the default route of isDefaultGateway beside the route {destination} of its ipam, which names no gateway"
    );
    let remedy =
        "set `gw` in that route of the ipam, or remove the route: isDefaultGateway sets it";
    let mut found = Finding::fault(Area::Network, cause, remedy).seen(network.described());
    found.severity = network.severity();
    found
}

/// The default route for which bridge does not take the one of its IPAM for its own (its `calcGateways`).
fn route_without_gateway(plugin: &PluginConf) -> Option<IpNetwork> {
    if plugin.plugin_type() != "bridge"
        || plugin.get("isDefaultGateway") != Some(&Value::Bool(true))
    {
        return None;
    }
    let ipam = plugin.get("ipam")?;
    // It names the gateway in each route that has one.
    if ipam.get("type").and_then(Value::as_str) == Some("meta-ipam") {
        return None;
    }
    let routes = ipam.get("routes").and_then(Value::as_array)?;
    routes.iter().find_map(|route| {
        let text = |key: &str| route.get(key).and_then(Value::as_str);
        let destination: IpNetwork = text("dst")?.parse().ok()?;
        let has_gateway = text("gw").is_some_and(|gateway| gateway.parse::<IpAddr>().is_ok());
        (destination.prefix() == 0 && !has_gateway).then_some(destination)
    })
}

#[cfg(test)]
mod tests {
    use cni::netconf::NetConfList;
    use serde_json::json;

    use super::*;
    use plugins::Selection;

    use crate::builtin::of_node;
    use crate::gather::Found;
    use crate::wanted::Source;

    fn found(is_default_gateway: bool, ipam: Value) -> Vec<Finding> {
        let conf = json!({"type": "bridge", "isDefaultGateway": is_default_gateway, "ipam": ipam});
        let network = Network {
            label: "pods".to_owned(),
            source: Source::Inline(0, Value::Null),
            found: Ok(Found::of(NetConfList::from_value(conf).unwrap()).unwrap()),
            users: vec!["every pod".to_owned()],
        };
        let executed = of_node(Vec::new(), Selection::Off);
        let built_in = of_node(Vec::new(), Selection::Auto);
        assert_eq!(check(std::slice::from_ref(&network), &built_in), []);
        check(&[network], &executed)
    }

    #[test]
    fn only_a_default_route_without_a_gateway_beside_is_default_gateway_is_a_finding() {
        let local = |routes: Value| json!({"type": "host-local", "routes": routes});
        for (name, is_default_gateway, ipam, is_wrong) in [
            (
                "v4",
                true,
                local(json!([{"dst": "10.9.0.0/16"}, {"dst": "0.0.0.0/0"}])),
                true,
            ),
            ("v6", true, local(json!([{"dst": "::/0"}])), true),
            (
                "an empty gateway",
                true,
                local(json!([{"dst": "0.0.0.0/0", "gw": ""}])),
                true,
            ),
            (
                "only isGateway",
                false,
                local(json!([{"dst": "0.0.0.0/0"}])),
                false,
            ),
            (
                "a gateway",
                true,
                local(json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}])),
                false,
            ),
            (
                "another route",
                true,
                local(json!([{"dst": "10.9.0.0/16"}])),
                false,
            ),
            ("no routes", true, local(json!([])), false),
            (
                "meta-ipam",
                true,
                json!({"type": "meta-ipam", "routes": [{"dst": "0.0.0.0/0"}]}),
                false,
            ),
        ] {
            let found = found(is_default_gateway, ipam);
            assert_eq!(!found.is_empty(), is_wrong, "{name}: {found:?}");
        }
    }
}
