//! The pair of links of an attachment, and the VLANs of its port.

use netlink::netns::Namespace;
use netlink::{Link, Netlink, PortVlan};

use super::conf::Conf;
use super::default_vlan;
use crate::failure::Failure;
use crate::sysctl;
use crate::veth::{Pair, Wanted};

/// The VLAN of frames without a tag on a trunk for which none is named.
const NATIVE_OF_TRUNK: u16 = 1;

/// Makes the pair, its host end a port of the bridge.
pub(super) fn make(
    host: &mut Netlink,
    conf: &Conf,
    bridge: &Link,
    namespace: &Namespace,
    ifname: &str,
) -> Result<Pair, Failure> {
    let wanted = Wanted {
        container: ifname,
        mtu: conf.mtu,
        mac: conf.mac.as_deref(),
        controller: Some(bridge.index),
    };
    let pair = Pair::make(host, namespace, &wanted)?;
    set_up(host, conf, bridge, &pair).inspect_err(|_| pair.remove(host))?;
    Ok(pair)
}

fn set_up(host: &mut Netlink, conf: &Conf, bridge: &Link, pair: &Pair) -> Result<(), Failure> {
    sysctl::write_if_possible(&sysctl::ipv6(&pair.host, "accept_ra"), "0");
    // Both are off on a new port.
    if conf.hairpin_mode || conf.port_isolation {
        host.set_bridge_port(pair.host_index, conf.hairpin_mode, conf.port_isolation)?;
    }
    add_vlans(host, conf, bridge, pair.host_index, &conf.trunk()?)
}

/// The VLANs of a port.
pub(super) fn add_vlans(
    host: &mut Netlink,
    conf: &Conf,
    bridge: &Link,
    port: u32,
    trunk: &[u16],
) -> Result<(), Failure> {
    if conf.vlan().is_none() && trunk.is_empty() {
        return Ok(());
    }
    if !conf.preserve_default_vlan
        && let Some(vlan) = default_vlan(bridge)
    {
        host.remove_port_vlan(port, vlan)?;
    }
    let native = |id| PortVlan {
        id,
        is_native: true,
    };
    if let Some(vlan) = conf.vlan() {
        host.add_port_vlan(port, native(vlan))?;
    }
    for &id in trunk {
        let is_native = false;
        host.add_port_vlan(port, PortVlan { id, is_native })?;
    }
    if conf.vlan().is_none() {
        host.add_port_vlan(port, native(NATIVE_OF_TRUNK))?;
    }
    Ok(())
}
