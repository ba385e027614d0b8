//! What the main plugins share whose attachment is one interface of the sandbox (macvlan, ipvlan, vlan, dummy and, but for
//! its removal, host-device): addresses, the result, DEL and CHECK.

use cni::result::{CniResult, Interface};
use netlink::netns::Namespace;
use netlink::{Details, Link, Netlink};

use crate::failure::Failure;
use crate::ipam::Ipam;
use crate::plugin::Request;
use crate::{sandbox, sysctl};

/// Where the addresses of the interface come from.
pub(crate) enum Addresses<'a> {
    /// It has none: it is set up, and that is all.
    None,
    /// The plugin for addresses.
    Leased(Ipam<'a>),
    /// The result of a plugin before this one.
    Known(CniResult),
}

impl<'a> Addresses<'a> {
    /// Those of the configuration's own plugin for addresses, if it names one.
    pub(crate) fn of(request: &'a Request<'a>) -> Addresses<'a> {
        Ipam::of(request).map_or(Addresses::None, Addresses::Leased)
    }
}

/// Whether the network hears of the interface's addresses when it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// By ARP and neighbour advertisements that nobody asked for.
    Sent,
    /// The kernel's default.
    Default,
}

/// An interface that was made in the sandbox, and is down.
#[derive(Clone, Copy)]
pub(crate) struct Made<'a> {
    /// The request that asked for it.
    pub(crate) request: &'a Request<'a>,
    /// The sandbox.
    pub(crate) namespace: &'a Namespace,
    /// Whether its addresses are announced.
    pub(crate) announcement: Announcement,
}

impl Made<'_> {
    /// Gives the interface its addresses and sets it up. The addresses are released again if that fails; the interface is
    /// left to the caller.
    ///
    /// # Errors
    /// [`Failure`] of the plugin for addresses, or of the kernel.
    pub(crate) fn finish(&self, addresses: Addresses<'_>) -> Result<CniResult, Failure> {
        match addresses {
            Addresses::None => self.configure(CniResult::default()),
            Addresses::Known(result) => self.configure(result),
            Addresses::Leased(ipam) => {
                let result = ipam.add()?;
                self.configure(result).inspect_err(|_| ipam.undo())
            }
        }
    }

    /// The same of an interface that exists for this attachment alone: it is removed again if that fails.
    ///
    /// # Errors
    /// As [`Made::finish`].
    pub(crate) fn finish_or_remove(&self, addresses: Addresses<'_>) -> Result<CniResult, Failure> {
        let finished = self.finish(addresses);
        finished.inspect_err(|_| sandbox::undo_link(self.namespace, self.request.target.ifname))
    }

    fn configure(&self, mut result: CniResult) -> Result<CniResult, Failure> {
        let (request, ifname) = (self.request, self.request.target.ifname);
        for ip in &mut result.ips {
            ip.interface = Some(0);
        }
        let link = self.namespace.within(|| {
            if self.announcement == Announcement::Sent && !result.ips.is_empty() {
                announce(ifname);
            }
            let mut netlink = Netlink::open()?;
            let link = sandbox::interface(&mut netlink, ifname)?;
            sandbox::configure(&mut netlink, &link, &result, request.deadline)?;
            Ok::<_, Failure>(link)
        })??;
        result.interfaces = vec![interface(ifname, &link, request.target.netns)];
        Ok(result)
    }
}

/// Makes the kernel announce the addresses of an interface when it is set up.
fn announce(ifname: &str) {
    let arp = sysctl::path(&["net", "ipv4", "conf", ifname, "arp_notify"]);
    sysctl::write_if_possible(&arp, "1");
    sysctl::write_if_possible(&sysctl::ipv6(ifname, "ndisc_notify"), "1");
}

fn interface(ifname: &str, link: &Link, netns: &str) -> Interface {
    let mut interface = Interface::default();
    interface.name = ifname.to_owned();
    interface.mac = Some(link.mac.clone());
    interface.sandbox = Some(netns.to_owned());
    interface
}

/// DEL of the interface and its addresses: first the interface, so that no address is free that is still in use.
///
/// # Errors
/// [`Failure`] if one of them is left.
pub(crate) fn remove(request: &Request<'_>) -> Result<(), Failure> {
    if let Some(namespace) = sandbox::open_if_there(request.target.netns)? {
        sandbox::remove_link(&namespace, request.target.ifname)?;
    }
    Ipam::of(request).map_or(Ok(()), |ipam| ipam.del())
}

/// What CHECK compares with: `prevResult`, after the plugin for addresses had its say.
///
/// # Errors
/// [`Failure::Ipam`]; [`Failure::NoPrevResult`]; [`Failure::PrevResult`].
pub(crate) fn expected(request: &Request<'_>) -> Result<CniResult, Failure> {
    if let Some(ipam) = Ipam::of(request) {
        ipam.check()?;
    }
    request.needed_prev_result()
}

/// CHECK of the interface: it is in the result, exists, is as `is_right` has it, and has the addresses and routes.
///
/// # Errors
/// [`Failure::Changed`] that names the first difference.
pub(crate) fn check(
    request: &Request<'_>,
    namespace: &Namespace,
    result: &CniResult,
    is_right: impl FnOnce(&Link) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let (ifname, netns) = (request.target.ifname, request.target.netns);
    let mut listed = result.interfaces.iter().rev();
    let ours = listed.find(|one| one.name == ifname && one.sandbox.as_deref() == Some(netns));
    let ours = ours.ok_or_else(|| {
        Failure::changed(format!("prevResult has no interface {ifname} in {netns}"))
    })?;
    namespace.within(|| {
        let mut netlink = Netlink::open()?;
        let link = netlink.link(ifname)?.ok_or_else(|| {
            Failure::changed(format!("the interface {ifname} of the pod does not exist"))
        })?;
        is_right(&link)?;
        if ours.mac.as_ref().is_some_and(|mac| *mac != link.mac) {
            let what = format!("the hardware address of {ifname} is {}", link.mac);
            return Err(Failure::changed(what));
        }
        sandbox::check(&mut netlink, ifname, result)
    })?
}

/// CHECK of the kind of a link, and of what only this kind has, which is called `what`.
///
/// # Errors
/// [`Failure::Changed`] if one of them is another.
pub(crate) fn check_details(
    link: &Link,
    kind: &str,
    what: &str,
    wanted: Details,
) -> Result<(), Failure> {
    check_kind(link, kind)?;
    match link.details == wanted {
        true => Ok(()),
        false => {
            let (name, found) = (&link.name, link.details);
            let what = format!("the {what} of {name} is {found:?}, not {wanted:?}");
            Err(Failure::changed(what))
        }
    }
}

/// CHECK of the kind of a link.
///
/// # Errors
/// [`Failure::Changed`] if it is of another.
pub(crate) fn check_kind(link: &Link, kind: &str) -> Result<(), Failure> {
    match link.kind == kind {
        true => Ok(()),
        false => Err(Failure::changed(format!("{} is not a {kind}", link.name))),
    }
}
