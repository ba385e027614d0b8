//! Networks without a name of their own in several namespaces: they have the name of their NetworkAttachmentDefinition, as
//! with Multus, under which plugins keep what they know (host-local its leases, portmap its chains).

use std::collections::BTreeMap;

use super::finding::{Area, Finding};
use super::networks::Network;
use crate::wanted::Source;

/// The names that nameless networks of several namespaces share.
pub(super) fn check(networks: &[Network]) -> Vec<Finding> {
    let mut by_name: BTreeMap<&str, Vec<&Network>> = BTreeMap::new();
    for network in networks {
        let Ok(found) = &network.found else {
            continue;
        };
        let is_of_nad = matches!(network.source, Source::Nad(_) | Source::NadOrFile(_));
        if found.is_nameless && is_of_nad {
            by_name.entry(&found.list.name).or_default().push(network);
        }
    }
    by_name.retain(|_, networks| networks.len() > 1);
    let shared = by_name.into_iter();
    shared.map(|(name, all)| finding(name, &all)).collect()
}

fn finding(name: &str, networks: &[&Network]) -> Finding {
    let number = networks.len();
    let cause = format!(
        "{number} networks without a `name` are one network to plugins, {name}: what host-local leases for one, for example, is taken for the others"
    );
    let remedy = "give each a `name` of its own while no pod uses it, unless they are meant to share their addresses";
    let all = networks.iter().map(|network| network.described());
    Finding::warning(Area::Network, cause, remedy).seen_all(all)
}

#[cfg(test)]
mod tests {
    use cni::netconf::NetConfList;
    use serde_json::json;

    use super::*;
    use crate::cluster::NadName;
    use crate::gather::Found;

    fn network(namespace: &str, name: &str, is_nameless: bool) -> Network {
        let nad = NadName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let conf = json!({"name": name, "type": "bridge"});
        Network {
            label: nad.to_string(),
            source: Source::Nad(nad),
            found: Ok(Found {
                is_nameless,
                ..Found::of(NetConfList::from_value(conf).unwrap()).unwrap()
            }),
            users: Vec::new(),
        }
    }

    #[test]
    fn only_nameless_networks_of_one_name_are_a_finding() {
        let networks = [
            network("a", "blue", true),
            network("b", "blue", true),
            network("c", "blue", false),
            network("a", "red", true),
            network("b", "green", false),
            network("c", "green", false),
        ];
        let found = check(&networks);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].cause.starts_with("2 networks without"),
            "{found:?}"
        );
        let evidence = found[0].evidence.concat();
        assert!(
            evidence.contains("a/blue") && evidence.contains("b/blue"),
            "{found:?}"
        );
    }
}
