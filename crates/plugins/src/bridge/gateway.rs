//! The bridge as the router of its pods: gateways of the result, addresses of the bridge, forwarding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::result::{CniResult, Interface, Route};
use ipnetwork::IpNetwork;
use netlink::{Family, Link, LinkChange, Netlink};

use super::conf::Conf;
use super::port;
use crate::failure::Failure;
use crate::ipam::Ipam;
use crate::plugin::Request;
use crate::veth::{self, Wanted};
use crate::{hardware, sandbox, sysctl};

/// The place of the pod's interface in the result.
const CONTAINER: usize = 2;

/// Puts the addresses of a result on the pod's interface, completes their gateways and default routes, and returns the
/// addresses that the bridge gets.
pub(super) fn choose(conf: &Conf, result: &mut CniResult) -> Vec<IpNetwork> {
    let mut gateways = Vec::new();
    let mut has_default = [false; 2];
    for ip in &mut result.ips {
        ip.interface = Some(CONTAINER);
        if ip.gateway.is_none() && conf.is_gateway() {
            ip.gateway = Some(first_of(ip.address));
        }
        let has_default = &mut has_default[usize::from(ip.address.is_ipv6())];
        if conf.is_default_gateway && !*has_default {
            let all = everything(ip.address.ip().into());
            // The plugin for addresses may have said so itself: without a gateway, too, which is this one then.
            let is_default =
                |route: &Route| route.dst.prefix() == 0 && route.dst.is_ipv6() == all.is_ipv6();
            if !result.routes.iter().any(is_default) {
                result.routes.push(Route::via(all, ip.gateway));
            }
            *has_default = true;
        }
        if conf.is_gateway()
            && let Some(gateway) = ip.gateway
        {
            let with_prefix = IpNetwork::new(gateway, ip.address.prefix());
            gateways.extend(with_prefix.ok());
        }
    }
    gateways
}

/// The first address of a subnet.
fn first_of(address: IpNetwork) -> IpAddr {
    match address {
        IpNetwork::V4(v4) => Ipv4Addr::from(u32::from(v4.network()).wrapping_add(1)).into(),
        IpNetwork::V6(v6) => Ipv6Addr::from(u128::from(v6.network()).wrapping_add(1)).into(),
    }
}

fn everything(family: Family) -> IpNetwork {
    let unspecified: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A prefix of 0 is one of either family.
    IpNetwork::new(unspecified, 0).unwrap_or_else(|_| unspecified.into())
}

/// Whether the bridge itself routes for the pods, and so has an address of the pods' subnets, and a hardware address that stays.
pub(super) fn is_router(conf: &Conf, request: &Request<'_>) -> bool {
    conf.is_gateway() && conf.vlan().is_none() && Ipam::of(request).is_some()
}

/// Gives the bridge, or its VLAN, these addresses, and makes the host forward their families. Returns the interface of the
/// VLAN, if there is one.
pub(super) fn give(
    host: &mut Netlink,
    conf: &Conf,
    bridge: &Link,
    gateways: &[IpNetwork],
) -> Result<Option<Interface>, Failure> {
    if gateways.is_empty() {
        return Ok(None);
    }
    let (router, made) = match conf.vlan() {
        // As it was before its first port: a bridge that took the hardware address of a port would share it for ever.
        None => (bridge.clone(), None),
        Some(vlan) => {
            let router = ensure_vlan(host, conf, bridge, vlan)?;
            let mut interface = Interface::default();
            interface.name = router.name.clone();
            interface.mac = Some(router.mac.clone());
            (router, Some(interface))
        }
    };
    for &gateway in gateways {
        ensure_address(host, &router, gateway, conf.force_address)?;
        let forwarding = match gateway {
            IpNetwork::V4(_) => sysctl::path(&["net", "ipv4", "ip_forward"]),
            IpNetwork::V6(_) => sysctl::path(&["net", "ipv6", "conf", "all", "forwarding"]),
        };
        sysctl::ensure(&forwarding, "1")?;
    }
    pin_mac(host, &router)?;
    Ok(made)
}

/// The router's interface in a VLAN of the bridge: a pair, of which one end is a port.
fn ensure_vlan(host: &mut Netlink, conf: &Conf, bridge: &Link, vlan: u16) -> Result<Link, Failure> {
    let name = format!("{}.{vlan}", bridge.name);
    if let Some(found) = host.link(&name)? {
        return Ok(found);
    }
    let wanted = Wanted {
        container: &name,
        mtu: Some(bridge.mtu),
        mac: None,
        controller: Some(bridge.index),
    };
    let port = veth::make_on_host(host, &wanted)?;
    port::add_vlans(host, conf, bridge, port, &[])?;
    let made = sandbox::link(host, &name, "somebody removed it; try again")?;
    sandbox::set_up(host, &made)?;
    Ok(made)
}

fn ensure_address(
    host: &mut Netlink,
    router: &Link,
    wanted: IpNetwork,
    force: bool,
) -> Result<(), Failure> {
    if has_address(host, router, wanted)? {
        return Ok(());
    }
    replace_others(host, router, wanted, force)?;
    match host.add_address(router.index, wanted) {
        Err(error) if error.errno() == Some(nix::libc::EEXIST) => Ok(()),
        added => Ok(added?),
    }
}

/// Whether the router has the address already, asked by two look-ups of routes, which cost the same however many addresses the
/// host has.
fn has_address(host: &mut Netlink, router: &Link, wanted: IpNetwork) -> Result<bool, Failure> {
    let is_over =
        |route: &netlink::TableRoute| route.hops.iter().any(|hop| hop.link == router.index);
    let own = host.route_to(wanted.ip())?;
    if !own.is_some_and(|own| own.destination.ip() == wanted.ip() && is_over(&own)) {
        return Ok(false);
    }
    // An address beside it in the subnet is reached over a route of the subnet's own length.
    let beside = match wanted.ip() {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) ^ 2).into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) ^ 2).into(),
    };
    let subnet = host.route_to(beside)?;
    Ok(subnet
        .is_some_and(|subnet| subnet.destination.prefix() == wanted.prefix() && is_over(&subnet)))
}

/// Removes other addresses of the router that cannot stand beside the wanted one, if that is allowed.
fn replace_others(
    host: &mut Netlink,
    router: &Link,
    wanted: IpNetwork,
    force: bool,
) -> Result<(), Failure> {
    for found in host.all_addresses()? {
        let (link, found) = (found.link, found.address);
        if link != router.index || found == wanted || found.is_ipv6() != wanted.is_ipv6() {
            continue;
        }
        let overlaps = found.contains(wanted.ip()) || wanted.contains(found.ip());
        if found.is_ipv4() || overlaps {
            if !force {
                return Err(Failure::OtherAddress {
                    link: router.name.clone(),
                    found,
                    wanted,
                });
            }
            host.remove_address(router.index, found)?;
        }
    }
    Ok(())
}

/// Makes the router keep the hardware address that it has: a bridge without one of its own takes the lowest of its ports'.
fn pin_mac(host: &mut Netlink, router: &Link) -> Result<(), Failure> {
    let octets = cni::hardware::octets(&router.mac);
    let own = octets.filter(|mac| mac.iter().any(|octet| *octet != 0));
    let mac = match own {
        Some(mac) => mac,
        None => hardware::random().to_vec(),
    };
    let pinned = LinkChange {
        mac: Some(&mac),
        ..LinkChange::default()
    };
    let doing = format!("set the hardware address of {}", router.name);
    Ok(host.change(&doing, router.index, &pinned)?)
}
