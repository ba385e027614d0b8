//! The daemon of the IPAM plugin dhcp, where a network expects it.

use cni::error::with_causes;

use super::finding::{Area, Finding};
use super::networks::Network;
use crate::dhcp;

/// The daemons that do not run.
pub(super) fn check(networks: &[Network]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for network in networks {
        let Ok(found) = &network.found else {
            continue;
        };
        let away = dhcp::sockets(&found.list).filter_map(|socket| dhcp::check(&socket).err());
        findings.extend(away.map(|error| {
            let remedy = "start it on this node (`dhcp daemon`, in the folder of the plugins), best as a systemd service";
            let mut found = Finding::fault(Area::Addresses, with_causes(&error), remedy);
            found.severity = network.severity();
            found.seen(network.described())
        }));
    }
    findings
}
