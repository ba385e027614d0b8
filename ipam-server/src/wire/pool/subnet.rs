//! The addresses of one family of a pool.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipam_core::family::{Family, number};
use ipam_core::free_set::FreeSet;
use ipam_core::pool::{Route, Subnet};
use ipnetwork::IpNetwork;
use proto::ipam::v1 as ipam;

use crate::wire::Malformed;
use crate::wire::problems::{Problems, parse_address};

/// A subnet as messages have it.
pub(super) fn encode(subnet: &Subnet) -> ipam::Subnet {
    let range = |range: &RangeInclusive<u128>| {
        let (first, last) = (subnet.address(*range.start()), subnet.address(*range.end()));
        match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        }
    };
    let gateway = subnet.gateway.map(|at| subnet.address(at).to_string());
    ipam::Subnet {
        cidr: subnet.cidr(),
        ranges: subnet.ranges.iter().map(range).collect(),
        excludes: subnet.excludes.iter().map(range).collect(),
        gateway: gateway.unwrap_or_default(),
        routes: encode_routes(subnet).collect(),
    }
}

/// The routes of a subnet as messages have them.
pub fn encode_routes(subnet: &Subnet) -> impl Iterator<Item = ipam::Route> + '_ {
    subnet.routes.iter().map(|route| ipam::Route {
        dst: route.dst.to_string(),
        gw: route.gw.map(|gw| gw.to_string()).unwrap_or_default(),
        mtu: route.mtu,
    })
}

/// The subnet of a message. What is wrong is added to `problems`.
///
/// # Errors
/// [`Malformed`] if a text has no value; `problems` says more.
pub(super) fn decode(
    family: Family,
    message: ipam::Subnet,
    problems: &mut Problems,
) -> Result<Subnet, Malformed> {
    let at = match family {
        Family::V4 => "pool.ipv4",
        Family::V6 => "pool.ipv6",
    };
    let field = format!("{at}.cidr");
    let network = match cidr(&message.cidr, family) {
        Ok(network) => network,
        Err(problem) => {
            problems.add(&field, problem);
            return Err(Malformed::field(&field, &message.cidr));
        }
    };
    if network.prefix() == 0 {
        problems.add(&field, "a prefix length of 0 is every address there is");
        return Err(Malformed::field(&field, &message.cidr));
    }
    let whole = Subnet::of(network);
    let mut malformed = None;
    let mut missing = |field: &str, text: &str| {
        malformed.get_or_insert_with(|| Malformed::field(field, text));
    };
    let mut ranges = Vec::new();
    let mut together = FreeSet::new();
    for (index, text) in message.ranges.iter().enumerate() {
        let field = format!("{at}.ranges[{index}]");
        let Some(range) = inside(&field, text, &whole, problems) else {
            missing(&field, text);
            continue;
        };
        let before = together.count();
        together.add_range(range.clone());
        if together.count() - before != range.end() - range.start() + 1 {
            problems.add(field, format!("{text} overlaps another range"));
        }
        ranges.push(range);
    }
    let mut excludes = Vec::new();
    for (index, text) in message.excludes.iter().enumerate() {
        let field = format!("{at}.excludes[{index}]");
        match inside(&field, text, &whole, problems) {
            Some(range) => excludes.push(range),
            None => missing(&field, text),
        }
    }
    let gateway = gateway(at, &message.gateway, &whole, problems);
    if gateway.is_none() && !message.gateway.is_empty() {
        missing(&format!("{at}.gateway"), &message.gateway);
    }
    let routes = routes(at, &message.routes, family, problems);
    let subnet = Subnet {
        ranges,
        excludes,
        gateway,
        ..whole
    };
    let subnet = subnet.with_leasable();
    if subnet.leasable.count() == 0 && !problems.names(at) {
        problems.add(
            format!("{at}.ranges"),
            "leave no address that can be leased",
        );
    }
    match malformed {
        Some(malformed) => Err(malformed),
        None => Ok(Subnet {
            routes: routes?,
            ..subnet
        }),
    }
}

fn cidr(text: &str, family: Family) -> Result<IpNetwork, String> {
    let example = match family {
        Family::V4 => "10.20.0.0/24",
        Family::V6 => "fd00:20::/64",
    };
    let wrong = || format!("{text:?} is not an {family} network such as {example}");
    let (host, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let host = parse_address(host, Some(family))?;
    let plain = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (prefix.len() > 1 && prefix.starts_with('0')) {
        return Err(wrong());
    }
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    let network = IpNetwork::new(host, prefix).map_err(|_| wrong())?;
    if network.network() != host {
        return Err(format!(
            "{text} has host bits; the network is {}/{prefix}",
            network.network()
        ));
    }
    Ok(network)
}

/// Reads `a-b`, a CIDR or one address, inside of a network.
fn inside(
    field: &str,
    text: &str,
    network: &Subnet,
    problems: &mut Problems,
) -> Option<RangeInclusive<u128>> {
    let (family, all) = (network.family, &network.all);
    let read = || -> Result<RangeInclusive<u128>, String> {
        if let Some((first, last)) = text.split_once('-') {
            let first = number(parse_address(first.trim(), Some(family))?);
            let last = number(parse_address(last.trim(), Some(family))?);
            if first > last {
                return Err(format!("{text} begins after its end"));
            }
            Ok(first..=last)
        } else if text.contains('/') {
            cidr(text, family).map(|network| Subnet::of(network).all)
        } else {
            let one = number(parse_address(text, Some(family))?);
            Ok(one..=one)
        }
    };
    match read() {
        Ok(range) if !all.contains(range.start()) || !all.contains(range.end()) => {
            problems.add(field, format!("{text} is not inside the cidr"));
            None
        }
        Ok(range) => Some(range),
        Err(problem) => {
            problems.add(field, problem);
            None
        }
    }
}

fn gateway(at: &str, text: &str, network: &Subnet, problems: &mut Problems) -> Option<u128> {
    if text.is_empty() {
        return None;
    }
    let field = format!("{at}.gateway");
    let gateway = problems.address(&field, text, Some(network.family))?;
    if !network.all.contains(&number(gateway)) && !may_be_outside(gateway, network.prefix) {
        problems.add(
            field,
            format!(
                "{gateway} is not inside the cidr; name a router inside, a link-local one, or routes with a gw"
            ),
        );
        return None;
    }
    Some(number(gateway))
}

/// Whether the router may be outside of the network: a link-local one is on every link, and the network of
/// one address only has no room for it.
fn may_be_outside(gateway: IpAddr, prefix: u8) -> bool {
    match gateway {
        IpAddr::V4(four) => four.is_link_local() || prefix == 32,
        IpAddr::V6(six) => six.is_unicast_link_local() || prefix == 128,
    }
}

fn routes(
    at: &str,
    messages: &[ipam::Route],
    family: Family,
    problems: &mut Problems,
) -> Result<Vec<Route>, Malformed> {
    let mut routes = Vec::new();
    let mut malformed = None;
    for (index, message) in messages.iter().enumerate() {
        let field = format!("{at}.routes[{index}]");
        let dst = cidr(&message.dst, family);
        let dst = dst.map_err(|problem| problems.add(format!("{field}.dst"), problem));
        let gw = match message.gw.is_empty() {
            true => Ok(None),
            false => problems
                .address(&format!("{field}.gw"), &message.gw, Some(family))
                .map(Some)
                .ok_or(()),
        };
        match (dst, gw) {
            (Ok(dst), Ok(gw)) => routes.push(Route {
                dst,
                gw,
                mtu: message.mtu,
            }),
            _ => malformed = Some(Malformed::field(&field, message)),
        }
    }
    match malformed {
        Some(malformed) => Err(malformed),
        None => Ok(routes),
    }
}
