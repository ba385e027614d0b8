//! What a tenant may ask for where no AttachmentPolicy matches and the node enforces them.

use crds::AttachmentPolicySpec;
use crds::attachment_policy::Plugins;

/// Interfaces of the kernel's own kinds, addresses of the node's own plugins; nothing that takes a device, changes a
/// sysctl or reads a file.
pub(super) fn rules() -> AttachmentPolicySpec {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    AttachmentPolicySpec {
        plugins: Plugins {
            main: names(&["bridge", "ipvlan", "macvlan", "ptp", "vlan"]),
            chained: Vec::new(),
            ipam: names(&["host-local", "meta-ipam", "static"]),
        },
        ..AttachmentPolicySpec::default()
    }
}
