//! The table of the types that are built in.

use crate::Plugin;
use crate::bridge::Bridge;
use crate::dummy::Dummy;
use crate::host_device::HostDevice;
use crate::host_local::HostLocal;
use crate::ipvlan::Ipvlan;
use crate::loopback::Loopback;
use crate::macvlan::Macvlan;
use crate::ptp::Ptp;
use crate::sbr::Sbr;
use crate::static_addresses::Static;
use crate::tuning::Tuning;
use crate::vlan::Vlan;
use crate::vrf::Vrf;

/// All of them but `meta-ipam`, which belongs to meta-cni.
static ALL: &[&dyn Plugin] = &[
    &Bridge,
    &Macvlan,
    &Ipvlan,
    &Vlan,
    &Ptp,
    &Dummy,
    &Loopback,
    &HostDevice,
    &HostLocal,
    &Static,
    &Tuning,
    &Sbr,
    &Vrf,
];

/// What else is built in by whoever owns the [`crate::Builtin`].
pub(crate) const META_IPAM: &str = "meta-ipam";

/// The plugin of a type.
pub(crate) fn of(kind: &str) -> Option<&'static dyn Plugin> {
    ALL.iter().copied().find(|plugin| plugin.kind() == kind)
}

/// The types that can be named.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let known = ALL.iter().map(|plugin| plugin.kind());
    known.chain([META_IPAM])
}

/// The plugins, in the order of the table.
pub fn all() -> &'static [&'static dyn Plugin] {
    ALL
}
