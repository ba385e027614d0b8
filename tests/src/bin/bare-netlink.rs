//! The kernel's part of an ADD, and nothing else: makes the links of a pod with their addresses by the requests that the
//! built-in plugins send. The floor of `bench-attach`.
//!
//!   bare-netlink NAMESPACE INTERFACE=bridge,BRIDGE,IPV4,IPV6 INTERFACE=macvlan,MASTER,IPV4,IPV6…
//!   bare-netlink NAMESPACE INTERFACE…            removes the interfaces

use std::error::Error;
use std::os::fd::AsFd as _;
use std::path::Path;

use ipnetwork::IpNetwork;
use netlink::netns::Namespace;
use netlink::{LinkChange, MacVlanMode, Netlink, NewKind, NewLink};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (namespace, interfaces) = arguments.split_first().ok_or("name a network namespace")?;
    let namespace = Namespace::open(Path::new(namespace))?;
    let mut host = Netlink::open()?;
    let mut addresses = Vec::new();
    for interface in interfaces {
        let Some((ifname, wanted)) = interface.split_once('=') else {
            continue;
        };
        let [kind, under, v4, v6] = wanted.splitn(4, ',').collect::<Vec<_>>()[..] else {
            return Err(format!("{interface} is not INTERFACE=KIND,UNDER,IPV4,IPV6").into());
        };
        let under = host
            .link(under)?
            .ok_or("no bridge or master of that name")?;
        let end = NewLink {
            namespace: Some(namespace.as_fd()),
            ..NewLink::new(ifname, NewKind::Peer)
        };
        match kind {
            "bridge" => {
                let name = format!("k{ifname}{}", std::process::id());
                host.make(&NewLink {
                    controller: Some(under.index),
                    is_up: true,
                    ..NewLink::new(&name, NewKind::Veth { peer: &end })
                })?;
            }
            _ => host.make(&NewLink {
                parent: Some(under.index),
                kind: NewKind::Macvlan {
                    mode: MacVlanMode::Bridge,
                    broadcast_queue: None,
                },
                ..end
            })?,
        }
        let read: [IpNetwork; 2] = [v4.parse()?, v6.parse()?];
        addresses.push((ifname, read));
    }
    let inside = namespace.within(|| configure(interfaces, &addresses))?;
    Ok(inside?)
}

/// Addresses of the interfaces that were made; the interfaces that are only named are removed.
fn configure(
    interfaces: &[String],
    addresses: &[(&str, [IpNetwork; 2])],
) -> Result<(), netlink::NetlinkError> {
    let mut pod = Netlink::open()?;
    for (ifname, addresses) in addresses {
        let Some(link) = pod.link(ifname)? else {
            continue;
        };
        for address in addresses {
            pod.add_address(link.index, *address)?;
        }
        let up = LinkChange {
            is_up: Some(true),
            ..LinkChange::default()
        };
        pod.change("set an interface up", link.index, &up)?;
    }
    for ifname in interfaces.iter().filter(|one| !one.contains('=')) {
        if let Some(link) = pod.link(ifname)? {
            pod.delete_link(link.index)?;
        }
    }
    Ok(())
}
