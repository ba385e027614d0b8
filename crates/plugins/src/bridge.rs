//! `bridge`: a pair of links, of which one end is a port of a bridge of the host and the other the pod's interface.
//! As the reference plugin, section "main/bridge"; masquerading and spoof checks are left to the executable, which drives
//! iptables and nftables.

mod conf;
mod gateway;
mod port;

use std::time::{Duration, Instant};

use cni::result::{CniResult, Interface};
use netlink::netns::Namespace;
use netlink::{Details, Events, Link, LinkChange, Netlink, NewKind, NewLink, Topic};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::ipam::{self, Ipam, with_own_dns};
use crate::plugin::{Plugin, Request};
use crate::shape::Shape;
use crate::veth::{self, Pair};
use crate::{hardware, sandbox, sysctl};
use conf::{Conf, KEYS};

/// How long a port may take until it can pass traffic (the sum of the reference's pauses).
const PORT_TIME: Duration = Duration::from_millis(2550);

pub(crate) struct Bridge;

impl Plugin for Bridge {
    fn kind(&self) -> &'static str {
        "bridge"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn leaves_to_executable(&self, conf: &Map<String, Value>) -> Option<&'static str> {
        let is_set = |key: &str| conf.get(key) == Some(&Value::Bool(true));
        if is_set("ipMasq") {
            return Some("ipMasq is done with iptables or nftables");
        }
        is_set("macspoofchk").then_some("macspoofchk is done with nftables")
    }

    fn owns_interface(&self) -> bool {
        true
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf = Conf::read(request)?;
        if conf.disable_container_interface && Ipam::of(request).is_some() {
            let problem = "excludes ipam: an interface that stays down has no addresses";
            return Err(Failure::field("disableContainerInterface", problem));
        }
        if conf.hairpin_mode && conf.promisc_mode {
            return Err(Failure::field(
                "hairpinMode",
                "excludes promiscMode; set one of them",
            ));
        }
        Ok(())
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf = Conf::read(request)?;
        let mut host = Netlink::open()?;
        let bridge = ensure_bridge(&mut host, &conf, request)?;
        let namespace = sandbox::open(request.target.netns)?;
        let pair = port::make(&mut host, &conf, &bridge, &namespace, request.target.ifname)?;
        attach(&mut host, request, &conf, &bridge, &namespace, &pair).inspect_err(|_| {
            pair.remove(&mut host);
        })
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        Conf::read(request)?;
        if let Some(namespace) = sandbox::open_if_there(request.target.netns)? {
            sandbox::remove_link(&namespace, request.target.ifname)?;
        }
        Ipam::of(request).map_or(Ok(()), |ipam| ipam.del())
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf = Conf::read(request)?;
        let namespace = sandbox::open(request.target.netns)?;
        if let Some(ipam) = Ipam::of(request) {
            ipam.check()?;
        }
        let result = request.needed_prev_result()?;
        check_links(&conf, &namespace, request, &result)?;
        let ifname = request.target.ifname;
        namespace.within(|| sandbox::check(&mut Netlink::open()?, ifname, &result))?
    }

    fn status(&self, request: &Request<'_>) -> Result<(), Failure> {
        Conf::parse(request)?;
        ipam::status(request)
    }

    fn gc(&self, request: &Request<'_>) -> Result<(), Failure> {
        // Links go with their namespaces; addresses do not.
        ipam::gc(request)
    }
}

/// The bridge, made if it does not exist, and set up.
fn ensure_bridge(host: &mut Netlink, conf: &Conf, request: &Request<'_>) -> Result<Link, Failure> {
    let name = conf.bridge.as_str();
    let kind = NewKind::Bridge {
        vlan_filtering: conf.filters_vlans(),
    };
    let found = match host.link(name)? {
        Some(found) => found,
        None => {
            // A router's is given at once: of two ADDs that come first, the second one would see and keep that of the first one's port.
            let mac = gateway::is_router(conf, request).then(hardware::random);
            let wanted = NewLink {
                mac: mac.as_ref().map(|mac| &mac[..]),
                mtu: conf.mtu,
                is_up: true,
                ..NewLink::new(name, kind)
            };
            match host.make(&wanted) {
                // Another ADD was faster.
                Err(error) if error.errno() == Some(nix::libc::EEXIST) => {}
                made => made?,
            }
            sandbox::link(host, name, "somebody removed it meanwhile; try again")?
        }
    };
    if found.kind != "bridge" {
        return Err(Failure::WrongKind {
            name: name.to_owned(),
            kind: "bridge",
        });
    }
    let wanted = LinkChange {
        is_up: (!found.is_up).then_some(true),
        is_promiscuous: (conf.promisc_mode && !found.is_promiscuous).then_some(true),
        ..LinkChange::default()
    };
    if wanted.is_up.is_some() || wanted.is_promiscuous.is_some() {
        host.change(&format!("set {name} up"), found.index, &wanted)?;
    }
    sysctl::refuse_advertisements(&found);
    Ok(found)
}

/// All that comes after the pair of links was made.
fn attach(
    host: &mut Netlink,
    request: &Request<'_>,
    conf: &Conf,
    bridge: &Link,
    namespace: &Namespace,
    pair: &Pair,
) -> Result<CniResult, Failure> {
    let ipam = Ipam::of(request);
    let mut result = CniResult::default();
    let mut made = vec![
        interface(&bridge.name, None),
        interface(&pair.host, None),
        interface(&pair.container, Some(request.target.netns)),
    ];
    made[2].mac = Some(pair.container_mac.clone());
    if let Some(ipam) = &ipam {
        result = ipam.add()?;
        result.interfaces = made;
        let configured = give_addresses(host, request, conf, bridge, namespace, &mut result);
        configured.inspect_err(|_| ipam.undo())?;
    } else {
        result.interfaces = made;
        if !conf.disable_container_interface {
            set_container_up(namespace, request.target.ifname)?;
        }
    }
    let finished = finish(host, conf, bridge, pair, &mut result);
    finished.inspect_err(|_| {
        if let Some(ipam) = &ipam {
            ipam.undo();
        }
    })?;
    Ok(with_own_dns(result, request))
}

fn interface(name: &str, sandbox: Option<&str>) -> Interface {
    let mut interface = Interface::default();
    interface.name = name.to_owned();
    interface.sandbox = sandbox.map(str::to_owned);
    interface
}

/// The pod's addresses and routes, and those of the bridge as its gateway.
fn give_addresses(
    host: &mut Netlink,
    request: &Request<'_>,
    conf: &Conf,
    bridge: &Link,
    namespace: &Namespace,
    result: &mut CniResult,
) -> Result<(), Failure> {
    let gateways = gateway::choose(conf, result);
    let ifname = request.target.ifname;
    let result_now = &*result;
    namespace.within(|| {
        let mut netlink = Netlink::open()?;
        let link = sandbox::interface(&mut netlink, ifname)?;
        let ipv6 = |setting, value: &str| {
            sysctl::write_if_possible(&sysctl::ipv6(ifname, setting), value);
        };
        if conf.enable_dad {
            ipv6("enhanced_dad", "1");
            ipv6("accept_dad", "1");
        } else if link.ipv6.is_none_or(|ipv6| ipv6.accept_dad != 0) {
            ipv6("accept_dad", "0");
        }
        let notify = sysctl::path(&["net", "ipv4", "conf", ifname, "arp_notify"]);
        sysctl::write_if_possible(&notify, "1");
        sandbox::configure(&mut netlink, &link, result_now, request.deadline)
    })??;
    if conf.is_gateway() {
        let made = gateway::give(host, conf, bridge, &gateways)?;
        result.interfaces.extend(made);
    }
    Ok(())
}

fn set_container_up(namespace: &Namespace, ifname: &str) -> Result<(), Failure> {
    namespace.within(|| {
        let mut netlink = Netlink::open()?;
        let link = sandbox::link(&mut netlink, ifname, "somebody removed it; try again")?;
        sandbox::set_up(&mut netlink, &link)
    })?
}

/// Waits until the port can pass traffic, and reads the hardware addresses as they are then.
fn finish(
    host: &mut Netlink,
    conf: &Conf,
    bridge: &Link,
    pair: &Pair,
    result: &mut CniResult,
) -> Result<(), Failure> {
    let port = match conf.disable_container_interface {
        true => sandbox::link(host, &pair.host, "somebody removed it; try again")?,
        false => wait_for_port(host, &pair.host)?,
    };
    // The bridge takes the address of its first port, unless it has one of its own.
    let bridge = sandbox::link(host, &bridge.name, "somebody removed it; try again")?;
    result.interfaces[0].mac = Some(bridge.mac);
    result.interfaces[1].mac = Some(port.mac);
    Ok(())
}

/// Waits for the kernel to announce that the port is up.
fn wait_for_port(host: &mut Netlink, name: &str) -> Result<Link, Failure> {
    let mut events = None;
    let end = Instant::now() + PORT_TIME;
    loop {
        let port = sandbox::link(host, name, "somebody removed it; try again")?;
        if port.is_operational {
            return Ok(port);
        }
        let Some(waiting) = &mut events else {
            events = Some(Events::open(Topic::Links)?);
            continue;
        };
        if !waiting.wait(end)? {
            return Err(Failure::NoCarrier {
                link: name.to_owned(),
            });
        }
    }
}

/// CHECK of the bridge, the port and the pod's interface.
fn check_links(
    conf: &Conf,
    namespace: &Namespace,
    request: &Request<'_>,
    result: &CniResult,
) -> Result<(), Failure> {
    let ifname = request.target.ifname;
    let mut host = Netlink::open()?;
    let bridge = host.link(&conf.bridge)?;
    let bridge = bridge.filter(|link| link.kind == "bridge");
    let bridge =
        bridge.ok_or_else(|| Failure::changed(format!("there is no bridge {}", conf.bridge)))?;
    let listed = |name: &str| result.interfaces.iter().find(|one| one.name == name);
    let expected = listed(&conf.bridge).and_then(|one| one.mac.as_ref());
    let Some(of_bridge) = listed(&conf.bridge) else {
        let problem = format!("prevResult has no interface {}", conf.bridge);
        return Err(Failure::changed(problem));
    };
    // Only a router was given one: any other bridge has the lowest of its ports' addresses, which come and go with pods.
    let is_other = |mac: &_| gateway::is_router(conf, request) && *mac != bridge.mac;
    if expected.is_some_and(is_other) || of_bridge.sandbox.is_some() {
        let what = format!("the hardware address of {} is {}", bridge.name, bridge.mac);
        return Err(Failure::changed(what));
    }
    if bridge.is_promiscuous != conf.promisc_mode {
        let what = format!(
            "promiscMode of {} is {}",
            bridge.name, bridge.is_promiscuous
        );
        return Err(Failure::changed(what));
    }
    let sandbox = Some(request.target.netns);
    let mut interfaces = result.interfaces.iter();
    let ours = interfaces.find(|one| one.name == ifname && one.sandbox.as_deref() == sandbox);
    let Some(ours) = ours else {
        let what = format!(
            "prevResult has no interface {ifname} in {}",
            request.target.netns
        );
        return Err(Failure::changed(what));
    };
    let inside = veth::check_inside(namespace, ifname, ours.mac.as_deref())?;
    let ports = result.interfaces.iter().filter(|one| one.sandbox.is_none());
    for port in ports.filter(|one| one.name != conf.bridge) {
        let Some(link) = host.link(&port.name)? else {
            return Err(Failure::changed(format!(
                "the interface {} does not exist",
                port.name
            )));
        };
        let is_ours = link.kind == "veth"
            && Some(link.index) == inside.parent
            && link.parent == Some(inside.index)
            && link.controller == Some(bridge.index);
        if !is_ours {
            continue;
        }
        if port.mac.as_ref().is_some_and(|mac| *mac != link.mac) {
            let what = format!("the hardware address of {} is {}", link.name, link.mac);
            return Err(Failure::changed(what));
        }
        return Ok(());
    }
    let what = format!("{ifname} has no other end on the bridge {}", conf.bridge);
    Err(Failure::changed(what))
}

/// The VLAN that a new port of this bridge has.
fn default_vlan(bridge: &Link) -> Option<u16> {
    match bridge.details {
        Details::Bridge { default_vlan } if default_vlan > 0 => Some(default_vlan),
        _ => None,
    }
}
