//! What secondary interfaces of pods learned from IPv6 router advertisements after ADD: network-status does not show it.

use std::path::Path;

use netlink::Family;

use super::finding::{Area, Finding};
use crate::record::{Entry, Record};
use crate::snapshot::{self, Snapshot};

/// A pod of which there is more than is recorded.
pub(super) struct Late {
    /// How people call the pod.
    pod: String,
    /// The interface and the network.
    place: String,
    addresses: Vec<String>,
    /// The routers of default routes that nobody asked for.
    routers: Vec<String>,
}

/// Compares each sandbox with its record, and notes which could not be read.
pub(super) fn inspect<'r>(
    records: impl Iterator<Item = &'r Record>,
    not_inspected: &mut Vec<String>,
) -> Vec<Late> {
    let mut late = Vec::new();
    for record in records.filter(|record| record.attachments.len() > 1 && record.is_complete()) {
        match snapshot::inspect(Path::new(&record.netns)) {
            Ok(now) => late.extend(of_sandbox(record, &now)),
            Err(error) => {
                let why = cni::error::with_causes(&error);
                not_inspected.push(format!("late addresses of {}: {why}", name(record)));
            }
        }
    }
    late
}

fn of_sandbox(record: &Record, now: &Snapshot) -> Vec<Late> {
    let of_entry = |entry: &Entry| Late {
        pod: name(record),
        place: format!(
            "{} of network {}",
            entry.attachment.ifname, entry.attachment.network
        ),
        addresses: late_addresses(entry, now),
        routers: late_routers(entry, now),
    };
    let all = record.attachments.iter().skip(1).map(of_entry);
    all.filter(|late| !late.addresses.is_empty() || !late.routers.is_empty())
        .collect()
}

/// The global addresses of the attachment's interface that its result does not name.
fn late_addresses(entry: &Entry, now: &Snapshot) -> Vec<String> {
    let Some((result, link)) = entry.result.as_ref().zip(link(entry, now)) else {
        return Vec::new();
    };
    let held = now.addresses.iter();
    held.filter(|held| held.is_global && held.link == link)
        .filter(|held| {
            result
                .ips
                .iter()
                .all(|ip| ip.address.ip() != held.address.ip())
        })
        .map(|held| held.address.to_string())
        .collect()
}

/// The routers of IPv6 default routes over the attachment's interface, if it asked for none.
fn late_routers(entry: &Entry, now: &Snapshot) -> Vec<String> {
    let asked = entry.attachment.default_route.is_some();
    let is_given = entry
        .result
        .iter()
        .flat_map(|result| &result.routes)
        .any(|route| route.dst.prefix() == 0 && Family::from(route.dst.ip()) == Family::V6);
    if asked || is_given {
        return Vec::new();
    }
    let routes = now.default_routes.iter();
    routes
        .filter(|route| route.family == Family::V6 && route.ifname == entry.attachment.ifname)
        .map(|route| {
            route
                .gateway
                .map_or("the link".to_owned(), |router| router.to_string())
        })
        .collect()
}

fn link(entry: &Entry, now: &Snapshot) -> Option<u32> {
    let mut links = now.links.iter();
    let link = links.find(|link| link.name == entry.attachment.ifname)?;
    Some(link.index)
}

fn name(record: &Record) -> String {
    match &record.pod {
        Some(pod) => format!("pod {pod}"),
        None => format!("container {}", record.container_id),
    }
}

/// What is there and not shown.
pub(super) fn check(late: &[Late]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let remedy = "set acceptRouterAdvertisements (to `none`, or to `all` if it is meant to be so) and delete the pod, or silence the router";
    for Late {
        pod,
        place,
        addresses,
        routers,
    } in late
    {
        if !routers.is_empty() {
            let cause = format!(
                "{pod} has learned an IPv6 default route via {} on {place}, which nobody asked for",
                routers.join(", ")
            );
            findings.push(Finding::warning(Area::Pod, cause, remedy));
        }
        if !addresses.is_empty() {
            let cause = format!(
                "{pod} has addresses on {place} that network-status does not show: {}",
                addresses.join(", ")
            );
            let finding = Finding::warning(Area::Pod, cause, remedy);
            findings.push(finding.seen("from router advertisements, or set by the pod itself"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use netlink::{Detection, Link, LinkAddress};
    use serde_json::{Value, json};

    use super::*;
    use crate::route::DefaultRoute;

    /// A record of eth0 and net1, whose result has `routes`.
    fn record(routes: Value) -> Record {
        let result = json!({
            "cniVersion": "1.1.0", "ips": [{"address": "10.2.0.2/24"}], "routes": routes,
        });
        let entry = |ifname: &str| {
            let list = json!({"name": "blue", "version": "1.1.0", "plugins": [{"type": "bridge"}]});
            let attachment =
                json!({"network": "default/blue", "ifname": ifname, "args": "", "list": list});
            json!({"attachment": attachment, "phase": "added", "result": result})
        };
        let record = json!({
            "format": 1, "containerId": "c", "netns": "/n", "path": "/p",
            "attachments": [entry("eth0"), entry("net1")],
        });
        serde_json::from_value(record).unwrap()
    }

    fn now() -> Snapshot {
        let link = |index, name: &str| Link {
            index,
            name: name.to_owned(),
            ..Link::default()
        };
        let address = |link, text: &str, is_global| LinkAddress {
            link,
            address: text.parse().unwrap(),
            is_global,
            detection: Detection::Done,
        };
        let learned = |ifname: &str| DefaultRoute {
            family: Family::V6,
            gateway: "fe80::1".parse().ok(),
            ifname: ifname.to_owned(),
        };
        Snapshot {
            links: vec![link(2, "eth0"), link(3, "net1")],
            addresses: vec![
                address(2, "fd00:1::9/64", true),
                address(3, "10.2.0.2/24", true),
                address(3, "fe80::9/64", false),
                address(3, "fd00:5::9/64", true),
            ],
            default_routes: vec![learned("eth0"), learned("net1")],
            ..Snapshot::default()
        }
    }

    #[test]
    fn what_a_secondary_interface_learned_is_reported_and_nothing_else() {
        let found = of_sandbox(&record(json!([])), &now());
        let reported: Vec<_> = found
            .iter()
            .map(|late| {
                (
                    late.place.as_str(),
                    late.addresses.concat(),
                    late.routers.concat(),
                )
            })
            .collect();
        let expected = (
            "net1 of network default/blue",
            "fd00:5::9/64".to_owned(),
            "fe80::1".to_owned(),
        );
        assert_eq!(reported, [expected]);
        let asked = record(json!([{"dst": "::/0"}]));
        assert!(of_sandbox(&asked, &now())[0].routers.is_empty());
        assert!(of_sandbox(&record(json!([])), &Snapshot::default()).is_empty());
    }
}
