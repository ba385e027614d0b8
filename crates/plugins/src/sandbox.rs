//! The interface of an attachment inside its sandbox: addresses and routes as the plugin for addresses has them.
//! Follows the reference plugins' package ipam (`ConfigureIface`) and package ip (`SettleAddresses`, the checks of CHECK).

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use cni::result::{CniResult, Route};
use ipnetwork::IpNetwork;
use netlink::netns::{Namespace, NetnsError};
use netlink::{
    Beside, Detection, Events, Family, Link, LinkChange, Netlink, NetlinkError, NewLink, NewRoute,
    Topic,
};

use crate::failure::Failure;
use crate::sysctl;

/// How long duplicate address detection may take (`dadSettleTimeout` of the reference).
const DETECTION_TIME: Duration = Duration::from_secs(5);

/// The namespace of CNI_NETNS, which must not be the plugin's own.
///
/// # Errors
/// [`Failure::Netns`] if it is none, and if it is that of this process.
pub(crate) fn open(netns: &str) -> Result<Namespace, Failure> {
    let path = Path::new(netns);
    let namespace = Namespace::open(path)?;
    match namespace.is_own()? {
        true => Err(Failure::OwnNamespace {
            path: path.to_owned(),
        }),
        false => Ok(namespace),
    }
}

/// The same for a DEL: none if the sandbox is gone.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_if_there(netns: &str) -> Result<Option<Namespace>, Failure> {
    if netns.is_empty() {
        return Ok(None);
    }
    match open(netns) {
        Err(Failure::Netns(NetnsError::Missing { .. } | NetnsError::NotANamespace { .. })) => {
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

/// The link of this name in the namespace of the thread.
///
/// # Errors
/// [`Failure::NoLink`] with this remedy.
pub(crate) fn link(
    netlink: &mut Netlink,
    name: &str,
    remedy: &'static str,
) -> Result<Link, Failure> {
    netlink.link(name)?.ok_or_else(|| Failure::NoLink {
        name: name.to_owned(),
        remedy,
    })
}

/// Makes a link inside the sandbox.
///
/// # Errors
/// [`Failure::NameInUse`]; [`Failure::Netlink`].
pub(crate) fn make_link(netlink: &mut Netlink, link: &NewLink<'_>) -> Result<(), Failure> {
    match netlink.make(link) {
        Err(error) if error.errno() == Some(nix::libc::EEXIST) => Err(name_in_use(link.name)),
        made => Ok(made?),
    }
}

/// The interface of the attachment exists already: by another attachment, or another ADD of the same.
pub(crate) fn name_in_use(ifname: &str) -> Failure {
    Failure::NameInUse {
        name: ifname.to_owned(),
        place: "the sandbox",
    }
}

/// Sets a link up.
///
/// # Errors
/// [`Failure::Netlink`].
pub(crate) fn set_up(netlink: &mut Netlink, link: &Link) -> Result<(), Failure> {
    let up = LinkChange {
        is_up: Some(true),
        ..LinkChange::default()
    };
    let doing = format!("set {} up", link.name);
    Ok(netlink.change(&doing, link.index, &up)?)
}

/// Removes the link of this name inside the namespace; that it does not exist is no error. Returns whether it existed.
///
/// # Errors
/// [`Failure::Netlink`], [`Failure::Netns`].
pub(crate) fn remove_link(namespace: &Namespace, name: &str) -> Result<bool, Failure> {
    namespace.within(|| {
        let mut netlink = Netlink::open()?;
        let Some(link) = netlink.link(name)? else {
            return Ok(false);
        };
        match netlink.delete_link(link.index) {
            // It went with its other end in the meantime.
            Err(error) if error.errno() == Some(nix::libc::ENODEV) => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    })?
}

/// Removes a link that a failed ADD made; what is left, DEL removes.
pub(crate) fn undo_link(namespace: &Namespace, name: &str) {
    if let Err(error) = remove_link(namespace, name) {
        tracing::warn!(link = name, %error, "a link of an ADD that failed is left to DEL");
    }
}

/// The interface of the attachment, which is to be configured.
///
/// # Errors
/// [`Failure::NoLink`].
pub(crate) fn interface(netlink: &mut Netlink, ifname: &str) -> Result<Link, Failure> {
    link(netlink, ifname, "another plugin of the chain removed it")
}

/// Gives the interface the addresses and routes of `result`, and sets it up. To be called inside the sandbox.
///
/// # Errors
/// [`Failure`] of the first step that the kernel refused.
pub(crate) fn configure(
    netlink: &mut Netlink,
    link: &Link,
    result: &CniResult,
    deadline: Instant,
) -> Result<(), Failure> {
    let ours = result.ips.iter().filter(|ip| ip.interface.is_some());
    let ours: Vec<_> = ours.collect();
    if ours.iter().any(|ip| ip.address.is_ipv6()) {
        enable_ipv6(netlink, link)?;
    }
    for ip in &ours {
        netlink.add_address(link.index, ip.address)?;
    }
    set_up(netlink, link)?;
    let gateway = |family: Family| {
        let gateways = ours.iter().filter_map(|ip| ip.gateway);
        gateways
            .into_iter()
            .find(|one| Family::from(*one) == family)
    };
    let gateways = Family::BOTH.map(gateway);
    if gateways[1].is_some() {
        let addresses = ours.iter().map(|ip| ip.address.ip());
        settle(netlink, link, addresses, deadline)?;
    }
    for route in &result.routes {
        let family = usize::from(route.dst.is_ipv6());
        let gateway = route.gw.or(gateways[family]);
        netlink.add_route(&of_result(route, link.index, gateway))?;
    }
    Ok(())
}

/// A route of a result over a link.
pub(crate) fn of_result(route: &Route, link: u32, gateway: Option<IpAddr>) -> NewRoute {
    let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    NewRoute {
        priority: number(route.priority).filter(|priority| *priority > 0),
        table: number(route.table),
        scope: route.scope.and_then(|scope| u8::try_from(scope).ok()),
        beside: Beside::Others,
        ..NewRoute::over(link, route.dst, gateway)
    }
}

/// IPv6 on the interface, and its addresses kept while it is down.
fn enable_ipv6(netlink: &mut Netlink, link: &Link) -> Result<(), Failure> {
    let own = netlink.link("lo")?;
    for link in own.iter().chain([link]) {
        if link.ipv6.is_some_and(|ipv6| ipv6.is_disabled) {
            sysctl::write(&sysctl::ipv6(&link.name, "disable_ipv6"), "0")?;
        }
    }
    sysctl::write(&sysctl::ipv6(&link.name, "keep_addr_on_down"), "1")
}

/// Waits until none of these addresses of the link is tentative; those of IPv4 never are.
///
/// # Errors
/// [`Failure::Duplicate`]; [`Failure::Tentative`] if an address still is although the link can pass traffic.
pub(crate) fn settle(
    netlink: &mut Netlink,
    link: &Link,
    addresses: impl IntoIterator<Item = IpAddr>,
    deadline: Instant,
) -> Result<(), Failure> {
    let addresses = addresses.into_iter().filter_map(|address| match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    let mut pending: Vec<Ipv6Addr> = addresses.collect();
    let mut events = None;
    let end = deadline.min(Instant::now() + DETECTION_TIME);
    loop {
        pending = still_pending(netlink, link, pending)?;
        if pending.is_empty() {
            return Ok(());
        }
        // The first question costs no socket: most often nothing is left to wait for.
        let Some(waiting) = &mut events else {
            events = Some(Events::open(Topic::Ipv6Addresses)?);
            continue;
        };
        if !waiting.wait(end)? {
            let now = netlink.link(&link.name)?;
            return match now.is_some_and(|link| link.is_operational) {
                true => Err(Failure::Tentative {
                    link: link.name.clone(),
                }),
                false => Ok(()),
            };
        }
    }
}

/// Those of the addresses whose duplicate detection goes on, asked one by one: a list of all would grow with what others have.
fn still_pending(
    netlink: &mut Netlink,
    link: &Link,
    addresses: Vec<Ipv6Addr>,
) -> Result<Vec<Ipv6Addr>, Failure> {
    let mut pending = Vec::new();
    for address in addresses {
        match netlink.detection(link.index, address)? {
            Some(Detection::Failed) => {
                return Err(Failure::Duplicate {
                    link: link.name.clone(),
                    address: address.into(),
                });
            }
            Some(Detection::Pending) => pending.push(address),
            Some(Detection::Done) | None => {}
        }
    }
    Ok(pending)
}

/// CHECK: the addresses and routes of a result are there. To be called inside the sandbox.
///
/// # Errors
/// [`Failure::Changed`] that names the first one that is not.
pub(crate) fn check(
    netlink: &mut Netlink,
    ifname: &str,
    result: &CniResult,
) -> Result<(), Failure> {
    let gone = format!("the interface {ifname} of the pod does not exist");
    let link = netlink
        .link(ifname)?
        .ok_or_else(|| Failure::changed(gone))?;
    if !result.ips.is_empty() {
        let found = netlink.all_addresses()?;
        let routes = Routes::read(netlink)?;
        for ip in &result.ips {
            let is_it =
                |one: &netlink::LinkAddress| one.link == link.index && one.address == ip.address;
            if !found.iter().any(is_it) {
                let what = format!("{ifname} does not have the address {}", ip.address);
                return Err(Failure::changed(what));
            }
            let subnet = subnet_of(ip.address);
            if !routes.leads_to(subnet, None) {
                let what = format!("there is no route to {subnet}, the network of {ifname}");
                return Err(Failure::changed(what));
            }
        }
    }
    if result.routes.is_empty() {
        return Ok(());
    }
    let routes = Routes::read(netlink)?;
    for route in &result.routes {
        // A default route is found whatever its gateway is, as by the reference.
        let gateway = route.gw.filter(|_| route.dst.prefix() > 0);
        if !routes.leads_to(route.dst, gateway) {
            let what = format!("the route to {} is gone", route.dst);
            return Err(Failure::changed(what));
        }
    }
    Ok(())
}

/// The subnet of an address.
fn subnet_of(address: IpNetwork) -> IpNetwork {
    // The prefix of an address is always one of its family.
    IpNetwork::new(address.network(), address.prefix()).unwrap_or(address)
}

/// Routes of the main table.
struct Routes(Vec<netlink::TableRoute>);

/// RT_TABLE_MAIN, linux/rtnetlink.h.
const MAIN_TABLE: u32 = 254;

impl Routes {
    fn read(netlink: &mut Netlink) -> Result<Routes, NetlinkError> {
        let mut routes = netlink.all_routes(Family::V4)?;
        routes.extend(netlink.all_routes(Family::V6)?);
        routes.retain(|route| route.table == MAIN_TABLE);
        Ok(Routes(routes))
    }

    fn leads_to(&self, destination: IpNetwork, gateway: Option<IpAddr>) -> bool {
        let destination = subnet_of(destination);
        self.0.iter().any(|route| {
            let mut hops = route.hops.iter();
            route.destination == destination
                && gateway.is_none_or(|gateway| hops.any(|hop| hop.gateway == Some(gateway)))
        })
    }
}
