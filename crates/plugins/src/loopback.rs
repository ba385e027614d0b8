//! `loopback`: sets `lo` of the sandbox up, whatever CNI_IFNAME is. As the reference plugin, section "main/loopback".

use cni::result::{CniResult, Interface, IpConfig};
use netlink::{Family, LinkChange, Netlink};
use serde::de::IgnoredAny;

use crate::failure::Failure;
use crate::plugin::{Plugin, Request};
use crate::sandbox;
use crate::shape::Shape;

/// The name of the loopback interface in every namespace.
const NAME: &str = "lo";
/// The hardware address that it has.
const MAC: &str = "00:00:00:00:00:00";

/// The plugin has no keys of its own; these may stand in any configuration, and are not read.
const KEYS: &[(&str, Shape)] = &[
    ("ipam", Shape::Any),
    ("args", Shape::Any),
    ("runtimeConfig", Shape::Any),
];

pub(crate) struct Loopback;

impl Plugin for Loopback {
    fn kind(&self) -> &'static str {
        "loopback"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: IgnoredAny = request.read()?;
        request.prev_result().map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let earlier = request.prev_result()?;
        let namespace = sandbox::open(request.target.netns)?;
        let found = namespace.within(|| {
            let mut netlink = Netlink::open()?;
            let lo = sandbox::link(&mut netlink, NAME, "use a network namespace of Linux")?;
            sandbox::set_up(&mut netlink, &lo)?;
            // The kernel gives its addresses by itself, and which those are only the list tells; it has two.
            let mut found = netlink.all_addresses()?;
            found.retain(|address| address.link == lo.index);
            Ok::<_, Failure>(found)
        })??;
        let found: Vec<_> = found.iter().map(|one| one.address).collect();
        if let Some(foreign) = found.iter().find(|one| !one.ip().is_loopback()) {
            let what = format!("{NAME} has the address {foreign}, which is no loopback address");
            return Err(Failure::changed(what));
        }
        if let Some(earlier) = earlier {
            return Ok(earlier);
        }
        let mut interface = Interface::default();
        interface.name = NAME.to_owned();
        interface.mac = Some(MAC.to_owned());
        interface.sandbox = Some(request.target.netns.to_owned());
        let mut result = CniResult::default();
        result.interfaces.push(interface);
        let first_of = |family| {
            let mut found = found.iter();
            found.find(|one| Family::from(one.ip()) == family)
        };
        for address in Family::BOTH.into_iter().filter_map(first_of) {
            let mut ip = IpConfig::of(*address);
            ip.interface = Some(0);
            result.ips.push(ip);
        }
        Ok(result)
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        let Some(namespace) = sandbox::open_if_there(request.target.netns)? else {
            return Ok(());
        };
        namespace.within(|| {
            let mut netlink = Netlink::open()?;
            let lo = sandbox::link(&mut netlink, NAME, "use a network namespace of Linux")?;
            let down = LinkChange {
                is_up: Some(false),
                ..LinkChange::default()
            };
            Ok(netlink.change("set lo down", lo.index, &down)?)
        })?
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let namespace = sandbox::open(request.target.netns)?;
        let lo = namespace.within(|| Netlink::open()?.link(NAME))??;
        match lo.is_some_and(|lo| lo.is_up) {
            true => Ok(()),
            false => Err(Failure::changed(format!("{NAME} is down"))),
        }
    }

    fn status(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn gc(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }
}
