//! One attachment, as its record has it, compared with what the kernel has. Pure: values in, a sentence out.

use cni::result::{CniResult, Interface, Route};
use netlink::netns;
use netlink::{Detection, Family, Link};

use crate::diagnosis::Diagnosis;
use crate::record::{Entry, Record};
use crate::route::DefaultRoute;
use crate::snapshot::Snapshot;

/// What brings back what is gone.
const REMEDY: &str = "delete the pod to have it made again";

/// Who made the attachments of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MadeBy {
    /// meta-cni: its results say which default routes are true.
    Us,
    /// Multus, which sets default routes behind the backs of its results.
    Multus,
}

/// What attachments are compared with.
pub(super) struct Comparison<'a> {
    /// All attachments of the pod.
    pub(super) record: &'a Record,
    /// Who made them.
    pub(super) made_by: MadeBy,
    /// The path of the pod's namespace today.
    pub(super) netns: &'a str,
    /// What the kernel has.
    pub(super) now: &'a Snapshot,
}

/// An interface of a result that the kernel has as a link of the pod.
struct Present<'a> {
    /// Its place in the result.
    index: usize,
    interface: &'a Interface,
    link: &'a Link,
}

impl<'a> Comparison<'a> {
    /// The first link that is gone.
    pub(super) fn missing_interface(&self, entry: &Entry) -> Option<Diagnosis> {
        let interfaces = entry.result.iter().flat_map(|result| &result.interfaces);
        interfaces
            .filter(|interface| self.is_here(interface) && is_link(interface))
            .find(|interface| self.link(&interface.name).is_none())
            .map(|interface| {
                let name = &interface.name;
                Diagnosis::new(format!("interface {name} is gone from the pod"), REMEDY)
            })
    }

    /// The first default route that is not as the attachment asked for.
    pub(super) fn wrong_default_route(&self, entry: &Entry) -> Option<Diagnosis> {
        let asked = entry.attachment.default_route.as_ref()?;
        let ifname = entry.attachment.ifname.as_str();
        if asked.is_empty() {
            let mut any = Family::BOTH
                .into_iter()
                .flat_map(|family| self.default_routes_over(ifname, family));
            return any.next().map(|route| {
                let family = route.family;
                format!("it has an {family} default route, which it was to have none of").into()
            });
        }
        asked.iter().find_map(|gateway| {
            let family = Family::from(*gateway);
            let mut over = self.default_routes_over(ifname, family);
            if over.all(|route| route.gateway != Some(*gateway)) {
                return Some(format!("the default route via {gateway} is gone").into());
            }
            self.record
                .attachments()
                .map(|other| other.ifname.as_str())
                .filter(|other| *other != ifname)
                .find(|other| self.default_routes_over(other, family).next().is_some())
                .map(|other| format!("{other} has an {family} default route beside it").into())
        })
    }

    /// The first address that another host has.
    pub(super) fn duplicate(&self, entry: &Entry) -> Option<Diagnosis> {
        let ips = entry.result.iter().flat_map(|result| &result.ips);
        ips.map(|ip| ip.address.ip())
            .find(|ip| {
                let mut held = self.now.addresses.iter();
                held.any(|held| held.address.ip() == *ip && held.detection == Detection::Failed)
            })
            .map(|ip| {
                Diagnosis::new(
                    format!(
                        "another host has address {ip} (IPv6 duplicate address detection failed)"
                    ),
                    "take it from that host, or delete the pod",
                )
            })
    }

    /// The first MAC address, address or route of the result that is not there any more.
    pub(super) fn change(&self, entry: &Entry) -> Option<Diagnosis> {
        let result = entry.result.as_ref()?;
        let here = result.interfaces.iter().enumerate();
        let here: Vec<_> = here.filter(|(_, one)| self.is_here(one)).collect();
        let present: Vec<Present<'_>> = here
            .iter()
            .filter_map(|&(index, interface)| {
                let link = self.link(&interface.name)?;
                Some(Present {
                    index,
                    interface,
                    link,
                })
            })
            .collect();
        // Of a device that no link stands for, the kernel knows neither addresses nor routes.
        let all_are_links = !here.is_empty() && present.len() == here.len();
        present
            .iter()
            .find_map(other_mac)
            .or_else(|| self.missing_address(result, &present, all_are_links))
            .or_else(|| {
                let routes = result.routes.iter().filter(|_| all_are_links);
                let mut routes = routes.filter(|route| self.is_for_us(route));
                routes.find_map(|route| self.missing_route(route, &present))
            })
    }

    /// The global addresses of the attachment's interfaces that its result does not name.
    pub(super) fn late_addresses(&self, entry: &Entry) -> Vec<String> {
        let Some(result) = &entry.result else {
            return Vec::new();
        };
        let here = result.interfaces.iter().filter(|one| self.is_here(one));
        let links: Vec<u32> = here
            .filter_map(|one| Some(self.link(&one.name)?.index))
            .collect();
        let held = self.now.addresses.iter();
        held.filter(|held| held.is_global && links.contains(&held.link))
            .filter(|held| {
                result
                    .ips
                    .iter()
                    .all(|ip| ip.address.ip() != held.address.ip())
            })
            .map(|held| held.address.to_string())
            .collect()
    }

    fn missing_address(
        &self,
        result: &CniResult,
        present: &[Present<'_>],
        all_are_links: bool,
    ) -> Option<Diagnosis> {
        result.ips.iter().find_map(|ip| {
            let address = ip.address.ip();
            let owner = match ip.interface {
                Some(index) => Some(present.iter().find(|one| one.index == index)?),
                None if all_are_links => None,
                None => return None,
            };
            let is_there = self.now.addresses.iter().any(|held| {
                held.address.ip() == address && owner.is_none_or(|one| one.link.index == held.link)
            });
            let place = owner.map_or("the pod", |one| &one.interface.name);
            let cause = || format!("address {address} is gone from {place}");
            (!is_there).then(|| Diagnosis::new(cause(), REMEDY))
        })
    }

    fn missing_route(&self, route: &Route, present: &[Present<'_>]) -> Option<Diagnosis> {
        let (dst, table) = (route.dst, route.table);
        let is_there = self.now.routes.iter().any(|now| {
            now.destination.network() == dst.network()
                && now.destination.prefix() == dst.prefix()
                && table.is_none_or(|table| table == i64::from(now.table))
                && now.hops.iter().any(|hop| {
                    present.iter().any(|one| one.link.index == hop.link)
                        && (route.gw.is_none() || route.gw == hop.gateway)
                })
        });
        let via = route.gw.map_or_else(String::new, |gw| format!(" via {gw}"));
        let cause = || format!("the route to {dst}{via} is gone");
        (!is_there).then(|| Diagnosis::new(cause(), REMEDY))
    }

    /// Whether the result's word on a route counts: default routes are said by others as well.
    fn is_for_us(&self, route: &Route) -> bool {
        route.dst.prefix() != 0 || self.made_by == MadeBy::Us
    }

    /// Whether the interface is in the pod's namespace.
    fn is_here(&self, interface: &Interface) -> bool {
        let paths = [self.netns, &self.record.netns];
        let sandbox = interface.sandbox.as_ref();
        sandbox.is_some_and(|sandbox| paths.iter().any(|path| netns::is_same(sandbox, path)))
    }

    fn link(&self, name: &str) -> Option<&'a Link> {
        self.now.links.iter().find(|link| link.name == name)
    }

    fn default_routes_over<'s>(
        &'s self,
        ifname: &'s str,
        family: Family,
    ) -> impl Iterator<Item = &'a DefaultRoute> + 's {
        let routes = self.now.default_routes.iter();
        routes.filter(move |route| route.ifname == ifname && route.family == family)
    }
}

/// Whether the kernel must have a link for an interface of the pod. It need not for what a program drives by itself: a
/// device that is bound for DPDK has a `pciID`, a vhost-user port a `socketPath`.
fn is_link(interface: &Interface) -> bool {
    interface.pci_id.is_none() && interface.socket_path.is_none()
}

/// The ports of a bond have the MAC address of the bond.
fn other_mac(present: &Present<'_>) -> Option<Diagnosis> {
    let digits = |mac: &str| mac.replace([':', '-', '.'], "").to_ascii_lowercase();
    let (was, is) = (present.interface.mac.as_deref()?, &present.link.mac);
    let changed = present.link.controller.is_none() && !is.is_empty() && digits(was) != digits(is);
    let name = &present.interface.name;
    let cause = || format!("{name} has MAC address {is}, and had {was} when it was made");
    changed.then(|| Diagnosis::new(cause(), REMEDY))
}

#[cfg(test)]
mod tests;
