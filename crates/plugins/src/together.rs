//! The interfaces of several attachments of one sandbox, removed by one request: the kernel waits until nobody uses them once
//! for all of them, and not once for each.

use netlink::{LinkChange, Netlink};

use crate::failure::Failure;
use crate::{kinds, sandbox};

/// The group (IFLA_GROUP) of links that are about to be removed: "mcni" in ASCII, far from the small numbers that people
/// give away.
const GROUP: u32 = 0x6d63_6e69;

/// Whether DEL of the built-in plugin of this type does no more to the sandbox than to remove the interface CNI_IFNAME.
pub fn owns_interface(kind: &str) -> bool {
    kinds::of(kind).is_some_and(|plugin| plugin.owns_interface())
}

/// Removes the interfaces with these names from the network namespace at `netns` at once, and returns how many there were.
/// That some of them, or the namespace, do not exist any more is no error.
///
/// # Errors
/// [`Failure`]; all interfaces are still there then.
pub fn remove_interfaces(netns: &str, names: &[&str]) -> Result<usize, Failure> {
    let Some(namespace) = sandbox::open_if_there(netns)? else {
        return Ok(0);
    };
    namespace.within(|| {
        let mut netlink = Netlink::open()?;
        let about_to_go = LinkChange {
            group: Some(GROUP),
            ..LinkChange::default()
        };
        let mut count = 0;
        for name in names {
            if let Some(link) = netlink.link(name)? {
                let doing = format!("put {name} into a group");
                netlink.change(&doing, link.index, &about_to_go)?;
                count += 1;
            }
        }
        if count > 0 {
            netlink.delete_group(GROUP)?;
        }
        Ok(count)
    })?
}
