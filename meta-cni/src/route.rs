//! The default routes of a pod: what attachments with `default-route` ask for is made true in the
//! sandbox, one family at a time, and never with a moment in which a family that had a default route
//! has none. The messages to the kernel are those of [`netlink`].

mod beside;
mod correct;
mod plan;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::advertisements::ignore_default_routes;
use crate::diagnosis::Explain;

pub use correct::correct_result;
use netlink::netns::{self, NetnsError};
pub use netlink::{Family, Link};
use netlink::{Netlink, NetlinkError, Route};
use plan::{Asked, Step};

/// Rounds until what was planned must be true. Two are enough when nobody else changes routes.
const ROUNDS: u32 = 8;
/// Prefixes that an error names at most.
const PREFIXES_NAMED: usize = 4;

/// What one attachment with `default-route` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Its interface in the sandbox.
    pub ifname: String,
    /// At most one gateway a family. None at all: the interface is to have no default route.
    pub gateways: Vec<IpAddr>,
}

/// A default route that is true in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Its family.
    pub family: Family,
    /// The next router; none if the route leads onto the link itself.
    pub gateway: Option<IpAddr>,
    /// The interface that it leads over.
    pub ifname: String,
}

/// Default routes that could not be set or read.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The sandbox could not be entered.
    #[error(transparent)]
    Netns {
        /// Why.
        source: NetnsError,
    },
    /// The kernel did not say what there is.
    #[error("cannot read the routes of {netns}")]
    Read {
        /// The sandbox.
        netns: PathBuf,
        /// Why.
        #[source]
        source: NetlinkError,
    },
    /// An attachment asks for an interface that the sandbox does not have.
    #[error(
        "cannot set the default route: the sandbox has no interface {ifname} (it has {present}), since the plugin of that attachment made none of this name"
    )]
    NoInterface {
        /// The interface.
        ifname: String,
        /// Those that are there.
        present: String,
    },
    /// The gateway cannot be reached over the interface without another router.
    #[error(
        "cannot set the default route via {gateway} on {ifname}: the gateway is not on its link, which has {prefixes}"
    )]
    GatewayNotOnLink {
        /// The gateway.
        gateway: IpAddr,
        /// The interface.
        ifname: String,
        /// The addresses and prefix lengths that the interface has in the gateway's family.
        prefixes: String,
        /// What the kernel answered.
        #[source]
        source: NetlinkError,
    },
    /// The route was refused for another reason.
    #[error("cannot set the default route via {gateway} on {ifname}")]
    Set {
        /// The gateway.
        gateway: IpAddr,
        /// The interface.
        ifname: String,
        /// What the kernel answered.
        #[source]
        source: NetlinkError,
    },
    /// A route that has to go was kept.
    #[error("cannot remove an {family} default route of {ifname}")]
    Remove {
        /// Its family.
        family: Family,
        /// The interface, or the first of several.
        ifname: String,
        /// What the kernel answered.
        #[source]
        source: NetlinkError,
    },
    /// Something else in the sandbox keeps changing its default routes.
    #[error(
        "the default routes of {netns} do not stay as set: something else in the sandbox changes them"
    )]
    Unsettled {
        /// The sandbox.
        netns: PathBuf,
    },
}

impl Explain for RouteError {
    fn remedy(&self) -> Option<String> {
        match self {
            RouteError::GatewayNotOnLink { ifname, .. } => Some(format!(
                "name a gateway inside one of its prefixes in default-route, or give {ifname} an address beside the gateway"
            )),
            RouteError::Unsettled { .. } => Some("stop it, or leave default-route away".to_owned()),
            _ => None,
        }
    }
}

/// Makes the default routes of the sandbox what `wants` ask for; gives all that are true afterwards.
///
/// A gateway outside of the prefixes of its interface is taken where no prefix could have it: a link-local
/// router, an interface with host addresses only (/32, /128), and one without an address of the family, which
/// borrows that of another interface (unnumbered).
///
/// For each family with a gateway, `default via GATEWAY dev IFNAME` replaces in one step what was there
/// with the same metric, and then all other default routes of that family go. A want without gateways
/// takes the default routes of both families off its interface. Other families and routes are left
/// alone. Interfaces that lose IPv6 default routes stop learning them from router advertisements, else
/// the next one would bring them back.
///
/// Addresses whose duplicate detection is still under way do not matter: nothing is waited for.
///
/// # Errors
/// [`RouteError`], each variant as it is documented. What was done before the failure is not undone.
pub fn apply(netns: &Path, wants: &[Want]) -> Result<Vec<DefaultRoute>, RouteError> {
    inside(netns, |netlink| {
        let links = netlink.links().map_err(|source| unread(netns, source))?;
        let asked = wants
            .iter()
            .map(|want| asked(want, &links))
            .collect::<Result<Vec<_>, _>>()?;
        ignore_default_routes(&plan::without_learned_routes(&links, &asked));
        for _ in 0..ROUNDS {
            let routes = routes(netlink).map_err(|source| unread(netns, source))?;
            let steps = plan::steps(&routes, &asked);
            if steps.is_empty() {
                return Ok(named(&routes, &links));
            }
            for step in steps {
                take(netlink, step, &links)?;
            }
        }
        Err(RouteError::Unsettled {
            netns: netns.to_owned(),
        })
    })
}

/// The default routes of the namespace that `netlink` is for, in the order of
/// [`Snapshot::default_routes`](crate::snapshot::Snapshot::default_routes).
pub(crate) fn default_routes(
    netlink: &mut Netlink,
    links: &[Link],
) -> Result<Vec<DefaultRoute>, NetlinkError> {
    Ok(named(&routes(netlink)?, links))
}

fn inside<T: Send>(
    netns: &Path,
    work: impl FnOnce(&mut Netlink) -> Result<T, RouteError> + Send,
) -> Result<T, RouteError> {
    netns::within(netns, || {
        let mut netlink = Netlink::open().map_err(|source| unread(netns, source))?;
        work(&mut netlink)
    })
    .map_err(|source| RouteError::Netns { source })?
}

fn unread(netns: &Path, source: NetlinkError) -> RouteError {
    RouteError::Read {
        netns: netns.to_owned(),
        source,
    }
}

fn asked(want: &Want, links: &[Link]) -> Result<Asked, RouteError> {
    let link = links.iter().find(|link| link.name == want.ifname);
    match link {
        Some(link) => Ok(Asked {
            link: link.index,
            gateways: want.gateways.clone(),
        }),
        None => Err(RouteError::NoInterface {
            ifname: want.ifname.clone(),
            present: links
                .iter()
                .map(|link| link.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

fn routes(netlink: &mut Netlink) -> Result<Vec<Route>, NetlinkError> {
    let mut all = Vec::new();
    for family in Family::BOTH {
        let mut routes = netlink.default_routes(family)?;
        routes.sort_by_key(|route| route.metric);
        all.append(&mut routes);
    }
    Ok(all)
}

fn named(routes: &[Route], links: &[Link]) -> Vec<DefaultRoute> {
    routes
        .iter()
        .flat_map(|route| {
            route.hops.iter().map(|hop| DefaultRoute {
                family: route.family,
                gateway: hop.gateway,
                ifname: name_of(hop.link, links),
            })
        })
        .collect()
}

fn name_of(index: u32, links: &[Link]) -> String {
    links
        .iter()
        .find(|link| link.index == index)
        .map_or_else(|| format!("#{index}"), |link| link.name.clone())
}

fn take(netlink: &mut Netlink, step: Step<'_>, links: &[Link]) -> Result<(), RouteError> {
    match step {
        Step::Set { gateway, link } => set(netlink, gateway, link, links)
            .map_err(|source| refused(netlink, gateway, link, links, source)),
        Step::Remove { route } => netlink.delete(route).map_err(|source| {
            let link = route.hops.first().map_or(0, |hop| hop.link);
            kept(route, link, links, source)
        }),
        Step::RemoveHops { route, link } => netlink
            .delete_hops(route, link)
            .map_err(|source| kept(route, link, links, source)),
    }
}

/// Sets the default route, also via a router that is on the link beside its prefixes.
fn set(
    netlink: &mut Netlink,
    gateway: IpAddr,
    link: u32,
    links: &[Link],
) -> Result<(), NetlinkError> {
    match netlink.replace_default(gateway, link) {
        Err(error) if is_off_link(&error) => {
            let family = Family::from(gateway);
            let own = netlink.addresses(family, link)?;
            let mut others = Vec::new();
            for other in links.iter().filter(|other| other.index != link) {
                others.extend(netlink.addresses(family, other.index)?);
            }
            match beside::is_on_link(gateway, &own, &others) {
                true => netlink.replace_default_on_link(gateway, link),
                false => Err(error),
            }
        }
        done => done,
    }
}

/// Whether the kernel found no way to the gateway over the link.
fn is_off_link(error: &NetlinkError) -> bool {
    use nix::libc::{EHOSTUNREACH, ENETUNREACH};

    matches!(error.errno(), Some(ENETUNREACH | EHOSTUNREACH))
}

fn kept(route: &Route, link: u32, links: &[Link], source: NetlinkError) -> RouteError {
    RouteError::Remove {
        family: route.family,
        ifname: name_of(link, links),
        source,
    }
}

/// Says why the kernel did not take a gateway.
fn refused(
    netlink: &mut Netlink,
    gateway: IpAddr,
    link: u32,
    links: &[Link],
    source: NetlinkError,
) -> RouteError {
    let ifname = name_of(link, links);
    if !is_off_link(&source) {
        return RouteError::Set {
            gateway,
            ifname,
            source,
        };
    }
    let family = Family::from(gateway);
    let prefixes = netlink
        .addresses(family, link)
        .unwrap_or_default()
        .iter()
        .take(PREFIXES_NAMED)
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    RouteError::GatewayNotOnLink {
        gateway,
        ifname,
        prefixes: match prefixes.is_empty() {
            true => format!("no {family} address"),
            false => prefixes.join(", "),
        },
        source,
    }
}

#[cfg(test)]
mod tests;
