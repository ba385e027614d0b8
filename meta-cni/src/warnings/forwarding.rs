//! The node's own IPv6 default route. One that it learned from a router advertisement goes away at the moment
//! in which the node begins to forward, unless `accept_ra` is 2 (ip-sysctl.rst; `rt6_purge_dflt_routers`).

use std::fs;
use std::net::IpAddr;

use cni::netconf::NetConfList;
use netlink::{Family, Netlink, NetlinkError};

use super::{Warning, default_routes, is_set};

/// The interface of this node whose IPv6 default route goes away once the node forwards; nothing if it
/// forwards already.
///
/// # Errors
/// As the kernel's lists have them.
pub(crate) fn route_at_stake() -> Result<Option<String>, NetlinkError> {
    // A kernel without IPv6 has no such file, and nothing to lose.
    let says = |path: &str, text: &str| {
        let read = fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{path}"));
        read.is_ok_and(|read| read.trim() == text)
    };
    if !says("all/forwarding", "0") {
        return Ok(None);
    }
    let mut netlink = Netlink::open()?;
    let routes = netlink.default_routes(Family::V6)?;
    let learned = routes.iter().filter(|route| route.is_transient);
    let over: Vec<u32> = learned
        .flat_map(|route| route.hops.iter().map(|hop| hop.link))
        .collect();
    if over.is_empty() {
        return Ok(None);
    }
    let links = netlink.links()?;
    let lost = links
        .into_iter()
        .find(|link| over.contains(&link.index) && says(&format!("{}/accept_ra", link.name), "1"));
    Ok(lost.map(|link| link.name))
}

/// Whether the plugins of the network let the node forward IPv6: bridge as a gateway, and ptp, for addresses
/// of IPv6.
pub(crate) fn forwards_ipv6(list: &NetConfList) -> bool {
    list.plugins.iter().any(|plugin| {
        let forwards = match plugin.plugin_type() {
            "bridge" => is_set(plugin, "isGateway") || is_set(plugin, "isDefaultGateway"),
            "ptp" => true,
            _ => false,
        };
        forwards
            && plugin.ipam_type().is_some()
            && default_routes::has_family(plugin.ipam(), IpAddr::is_ipv6)
    })
}

/// What is said of the route over `ifname`, where a plugin is about to let the node forward.
pub(crate) fn warning(ifname: &str) -> Warning {
    Warning {
        what: format!(
            "a bridge with a gateway, or ptp, lets this node forward IPv6, and with that the node loses the \
             IPv6 default route that it learned over {ifname}"
        ),
        remedy: "set accept_ra of that interface to 2 (sysctl), or give the node a static default route",
    }
}
