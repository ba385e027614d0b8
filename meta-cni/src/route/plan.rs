//! What to do next so that the default routes become as asked: values in, steps out.
//!
//! One call plans one round, from what is true now. A family that lacks the route that was asked for
//! gets it first; only a family that has it loses its others. So no order of events takes the last
//! default route away from a family before its new one is there.

use std::net::IpAddr;

use netlink::{Family, Hop, Link, Route};

/// What is asked for an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The index of the interface.
    pub(super) link: u32,
    /// At most one a family; none: no default routes over this interface.
    pub(super) gateways: Vec<IpAddr>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Set `default via gateway dev link`, replacing what has the same metric.
    Set { gateway: IpAddr, link: u32 },
    /// Remove the whole route.
    Remove { route: &'a Route },
    /// Remove the hops of a multipath route over this interface.
    RemoveHops { route: &'a Route, link: u32 },
}

/// The steps of the next round; none when all is as asked.
pub(super) fn steps<'a>(routes: &'a [Route], asked: &[Asked]) -> Vec<Step<'a>> {
    Family::BOTH
        .into_iter()
        .flat_map(|family| {
            let routes = routes.iter().filter(move |route| route.family == family);
            match gateway_of(family, asked) {
                Some((gateway, link)) => only(routes, gateway, link),
                None => off(routes, &bare(asked)),
            }
        })
        .collect()
}

/// The names of the interfaces whose IPv6 default routes must not come back with the next router
/// advertisement: all if there is to be one IPv6 default route, else those that are to have none.
pub(super) fn without_learned_routes<'a>(links: &'a [Link], asked: &[Asked]) -> Vec<&'a str> {
    let all = gateway_of(Family::V6, asked).is_some();
    let bare = bare(asked);
    links
        .iter()
        .filter(|link| all || bare.contains(&link.index))
        .map(|link| link.name.as_str())
        .collect()
}

fn gateway_of(family: Family, asked: &[Asked]) -> Option<(IpAddr, u32)> {
    asked.iter().find_map(|asked| {
        let gateway = asked
            .gateways
            .iter()
            .find(|gateway| Family::from(**gateway) == family)?;
        Some((*gateway, asked.link))
    })
}

/// The interfaces that are to have no default route.
fn bare(asked: &[Asked]) -> Vec<u32> {
    asked
        .iter()
        .filter(|asked| asked.gateways.is_empty())
        .map(|asked| asked.link)
        .collect()
}

fn only<'a>(routes: impl Iterator<Item = &'a Route>, gateway: IpAddr, link: u32) -> Vec<Step<'a>> {
    let hop = Hop {
        link,
        gateway: Some(gateway),
    };
    let (right, wrong): (Vec<&Route>, Vec<&Route>) = routes.partition(|route| {
        !route.is_transient && route.tos == 0 && route.hops.as_slice() == std::slice::from_ref(&hop)
    });
    if right.is_empty() {
        return vec![Step::Set { gateway, link }];
    }
    wrong
        .into_iter()
        .map(|route| Step::Remove { route })
        .collect()
}

fn off<'a>(routes: impl Iterator<Item = &'a Route>, bare: &[u32]) -> Vec<Step<'a>> {
    routes
        .flat_map(|route| {
            let leaving = bare
                .iter()
                .filter(|link| route.hops.iter().any(|hop| hop.link == **link));
            if route.hops.iter().all(|hop| bare.contains(&hop.link)) {
                return vec![Step::Remove { route }];
            }
            // One interface a round: the route that the step names is another one afterwards.
            leaving
                .take(1)
                .map(|link| Step::RemoveHops { route, link: *link })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests;
