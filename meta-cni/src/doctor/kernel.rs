//! Kinds of interfaces that the kernel can make. The question changes nothing; only a kind that a network needs and
//! that is not ready is tried, in a network namespace that ends with the try.

use std::collections::BTreeMap;
use std::thread;

use netlink::{Netlink, NetlinkError};
use nix::libc::EOPNOTSUPP;
use nix::sched::{CloneFlags, unshare};

use super::ended;
use super::finding::{Area, Finding, Severity};
use super::networks::Network;

/// Plugins, and the kinds of interfaces that they make.
const KINDS: [(&str, &str); 9] = [
    ("bandwidth", "ifb"),
    ("bridge", "bridge"),
    ("bridge", "veth"),
    ("dummy", "dummy"),
    ("ipvlan", "ipvlan"),
    ("macvlan", "macvlan"),
    ("ptp", "veth"),
    ("vlan", "vlan"),
    ("vrf", "vrf"),
];

/// A kind of interface.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Whether it is there, or came when it was needed.
    pub(super) is_there: bool,
    /// Who needs it.
    needed_by: Vec<String>,
    /// Whether one of them is used on this node.
    is_used: bool,
}

/// Asks the kernel.
pub(super) fn inspect(networks: &[Network]) -> Result<Vec<Kind>, NetlinkError> {
    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    let mut netlink = Netlink::open()?;
    for (plugin, name) in KINDS {
        if !kinds.contains_key(name) {
            let is_there = netlink.has_kind(name)?;
            let kind = Kind {
                name,
                is_there,
                needed_by: Vec::new(),
                is_used: false,
            };
            kinds.insert(name, kind);
        }
        if let Some(kind) = kinds.get_mut(name) {
            for network in networks.iter().filter(|network| uses(network, plugin)) {
                kind.needed_by.push(network.described());
                kind.is_used |= network.severity() == Severity::Fault;
            }
        }
    }
    for kind in kinds
        .values_mut()
        .filter(|kind| kind.is_used && !kind.is_there)
    {
        kind.is_there = comes(kind.name)?;
    }
    Ok(kinds.into_values().collect())
}

fn uses(network: &Network, plugin: &str) -> bool {
    let list = network.found.as_ref().map(|found| &found.list);
    list.is_ok_and(|list| list.plugins.iter().any(|conf| conf.plugin_type() == plugin))
}

/// Whether the kernel knows the kind once it is asked for one, as a plugin would ask.
fn comes(kind: &str) -> Result<bool, NetlinkError> {
    thread::scope(|scope| {
        let tried = scope.spawn(|| {
            let alone = unshare(CloneFlags::CLONE_NEWNET);
            alone.map_err(|errno| NetlinkError::Open {
                source: errno.into(),
            })?;
            match Netlink::open()?.make_of_kind(kind) {
                Err(error) if error.errno() == Some(EOPNOTSUPP) => Ok(false),
                // What else it says of a request that says so little does not matter.
                Ok(()) | Err(NetlinkError::Refused { .. }) => Ok(true),
                Err(error) => Err(error),
            }
        });
        ended(tried)
    })
}

/// What networks need and the kernel does not have.
pub(super) fn check(kinds: &[Kind]) -> Vec<Finding> {
    let lacking = kinds.iter().filter(|kind| kind.is_used && !kind.is_there);
    lacking
        .map(|kind| {
            let cause = format!("the kernel has no {} interfaces", kind.name);
            let remedy = format!(
                "load the module (modprobe {}), run a kernel that has it, or use another plugin",
                module(kind.name)
            );
            let needed = kind.needed_by.iter().map(|by| format!("needed by {by}"));
            Finding::fault(Area::Kernel, cause, remedy).seen_all(needed)
        })
        .collect()
}

/// The module that makes interfaces of a kind.
fn module(kind: &str) -> &str {
    match kind {
        "vlan" => "8021q",
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &'static str, is_there: bool, is_used: bool) -> Kind {
        Kind {
            name,
            is_there,
            needed_by: vec!["network a of every pod".to_owned()],
            is_used,
        }
    }

    #[test]
    fn only_what_a_network_needs_is_a_finding() {
        let kinds = [
            kind("vrf", false, false),
            kind("bridge", true, true),
            kind("vlan", false, true),
        ];
        let found = check(&kinds);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].cause, "the kernel has no vlan interfaces");
        assert!(found[0].remedy.contains("8021q"), "{found:?}");
    }

    #[test]
    fn a_kind_that_no_kernel_has_does_not_come() {
        let mut netlink = Netlink::open().unwrap();
        assert!(!netlink.has_kind("none-such").unwrap());
        if nix::unistd::geteuid().is_root() {
            assert!(!comes("none-such").unwrap());
        }
    }
}
