//! `ptp`: a pair of links between the sandbox and the host, whose end has the gateway's address; the host routes each address
//! to it. As the reference plugin, section "main/ptp"; masquerading is left to the executable.

use std::net::IpAddr;

use cni::result::{CniResult, Interface, IpConfig};
use ipnetwork::IpNetwork;
use netlink::netns::Namespace;
use netlink::{Netlink, NewRoute};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::ipam::{self, Ipam, with_own_dns};
use crate::plugin::{Plugin, Request};
use crate::shape::Shape;
use crate::single;
use crate::veth::{Pair, Wanted};
use crate::{sandbox, sysctl};

const KEYS: &[(&str, Shape)] = &[
    ("ipMasq", Shape::Any),
    ("ipMasqBackend", Shape::Any),
    ("mtu", Shape::Any),
    ("ipam", Shape::Any),
    // Not read.
    ("args", Shape::Any),
    ("runtimeConfig", Shape::Any),
];

/// RT_SCOPE_LINK, linux/rtnetlink.h.
const ON_LINK: u8 = 253;
/// RT_SCOPE_HOST, linux/rtnetlink.h.
const ON_HOST: u8 = 254;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    mtu: i64,
    // These two are read by the executable.
    #[serde(rename = "ipMasq")]
    _ip_masq: bool,
    #[serde(rename = "ipMasqBackend")]
    _ip_masq_backend: String,
}

pub(crate) struct Ptp;

impl Plugin for Ptp {
    fn kind(&self) -> &'static str {
        "ptp"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn leaves_to_executable(&self, conf: &Map<String, Value>) -> Option<&'static str> {
        let is_set = conf.get("ipMasq") == Some(&Value::Bool(true));
        is_set.then_some("ipMasq is done with iptables or nftables")
    }

    fn owns_interface(&self) -> bool {
        true
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: Conf = request.read()?;
        Ipam::needed(request).map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf: Conf = request.read()?;
        let namespace = sandbox::open(request.target.netns)?;
        let mut host = Netlink::open()?;
        let wanted = Wanted {
            container: request.target.ifname,
            mtu: u32::try_from(conf.mtu).ok().filter(|mtu| *mtu > 0),
            mac: None,
            controller: None,
        };
        let pair = Pair::make(&mut host, &namespace, &wanted)?;
        attach(&mut host, request, &namespace, &pair).inspect_err(|_| pair.remove(&mut host))
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        // Without ipam there is nothing to release; the reference fails for ever then.
        let _: Conf = request.read()?;
        single::remove(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: Conf = request.read()?;
        let namespace = sandbox::open(request.target.netns)?;
        Ipam::needed(request)?;
        let result = single::expected(request)?;
        single::check(request, &namespace, &result, |link| {
            single::check_kind(link, "veth")
        })
    }

    fn status(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: Conf = request.read()?;
        Ipam::needed(request)?.status()
    }

    fn gc(&self, request: &Request<'_>) -> Result<(), Failure> {
        ipam::gc(request)
    }
}

/// All that comes after the pair of links was made.
fn attach(
    host: &mut Netlink,
    request: &Request<'_>,
    namespace: &Namespace,
    pair: &Pair,
) -> Result<CniResult, Failure> {
    // Its routes are ours alone.
    sysctl::write_if_possible(&sysctl::ipv6(&pair.host, "accept_ra"), "0");
    let ipam = Ipam::needed(request)?;
    let mut result = ipam.add()?;
    let connected = connect(host, request, namespace, pair, &mut result);
    connected.inspect_err(|_| ipam.undo())?;
    Ok(with_own_dns(result, request))
}

/// Gives both ends their addresses and routes.
fn connect(
    host: &mut Netlink,
    request: &Request<'_>,
    namespace: &Namespace,
    pair: &Pair,
    result: &mut CniResult,
) -> Result<(), Failure> {
    let interface = |name: &str, mac: &str, sandbox: Option<&str>| {
        let mut interface = Interface::default();
        interface.name = name.to_owned();
        interface.mac = Some(mac.to_owned());
        interface.sandbox = sandbox.map(str::to_owned);
        interface
    };
    let netns = Some(request.target.netns);
    result.interfaces = vec![
        interface(&pair.host, &pair.host_mac, None),
        interface(&pair.container, &pair.container_mac, netns),
    ];
    for ip in &mut result.ips {
        ip.interface = Some(1);
    }
    let hops = result.ips.iter().map(Hop::of);
    let hops = hops.collect::<Result<Vec<_>, _>>()?;
    for is_ipv6 in [false, true] {
        if result.ips.iter().any(|ip| ip.address.is_ipv6() == is_ipv6) {
            forward(is_ipv6)?;
        }
    }
    let ifname = request.target.ifname;
    namespace.within(|| {
        let mut netlink = Netlink::open()?;
        let link = sandbox::interface(&mut netlink, ifname)?;
        sandbox::configure(&mut netlink, &link, result, request.deadline)?;
        let mut hops = hops.iter();
        hops.try_for_each(|hop| hop.lead_out(&mut netlink, link.index))
    })??;
    let mut hops = hops.iter();
    hops.try_for_each(|hop| hop.lead_in(host, pair.host_index))
}

/// Makes the host forward packets of a family.
fn forward(is_ipv6: bool) -> Result<(), Failure> {
    let setting = match is_ipv6 {
        false => sysctl::path(&["net", "ipv4", "ip_forward"]),
        true => sysctl::path(&["net", "ipv6", "conf", "all", "forwarding"]),
    };
    sysctl::ensure(&setting, "1")
}

/// An address of the sandbox and the gateway that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hop {
    address: IpNetwork,
    gateway: IpAddr,
}

impl Hop {
    fn of(ip: &IpConfig) -> Result<Hop, Failure> {
        let address = ip.address;
        let gateway = ip.gateway.ok_or_else(|| {
            let problem = format!(
                "returned {address} without a gateway, whose address the host's end gets; name one"
            );
            Failure::field("ipam", problem)
        })?;
        Ok(Hop { address, gateway })
    }

    /// Inside: the subnet is reached by the gateway alone, which is on the link.
    fn lead_out(&self, netlink: &mut Netlink, link: u32) -> Result<(), Failure> {
        netlink.remove_route(link, self.address)?;
        let source = Some(self.address.ip());
        netlink.add_route(&NewRoute {
            source,
            scope: Some(ON_LINK),
            ..NewRoute::over(link, self.gateway.into(), None)
        })?;
        Ok(netlink.add_route(&NewRoute {
            source,
            ..NewRoute::over(link, self.address, Some(self.gateway))
        })?)
    }

    /// On the host: its end is the gateway, and leads to the address.
    fn lead_in(&self, host: &mut Netlink, link: u32) -> Result<(), Failure> {
        host.add_address(link, self.gateway.into())?;
        let route = NewRoute {
            scope: Some(ON_HOST),
            ..NewRoute::over(link, self.address.ip().into(), None)
        };
        match host.add_route(&route) {
            Err(error) if error.errno() == Some(nix::libc::EEXIST) => Ok(()),
            added => Ok(added?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_gateway() {
        let mut ip = IpConfig::of("10.1.0.5/24".parse().unwrap());
        let error = Hop::of(&ip).unwrap_err().to_string();
        assert!(error.contains("10.1.0.5/24 without a gateway"), "{error}");
        ip.gateway = Some("10.1.0.1".parse().unwrap());
        assert!(Hop::of(&ip).is_ok());
    }
}
