//! `ipvlan`: a link with the hardware address of its master. As the reference plugin, section "main/ipvlan"; in a chain it
//! takes master and addresses from the plugin before it.

use cni::result::CniResult;
use netlink::{Details, IpVlanFlags, IpVlanMode, NewKind, NewLink};
use serde::Deserialize;

use crate::failure::Failure;
use crate::ipam::{self, Ipam, with_only_own_dns};
use crate::master::Master;
use crate::plugin::{Plugin, Request};
use crate::sandbox;
use crate::shape::Shape;
use crate::single::{self, Addresses, Announcement, Made};

const KEYS: &[(&str, Shape)] = &[
    ("master", Shape::Any),
    ("mode", Shape::Any),
    ("mtu", Shape::Any),
    ("linkInContainer", Shape::Any),
    ("ipam", Shape::Any),
    // Not read.
    ("args", Shape::Any),
    ("runtimeConfig", Shape::Any),
];

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    master: String,
    mode: String,
    mtu: i64,
    link_in_container: bool,
}

impl Conf {
    /// The name of the master: of the configuration, else of the only interface that the plugin before has made, else empty
    /// for the link of the default route.
    fn master<'a>(&'a self, earlier: Option<&'a CniResult>) -> Result<Master<'a>, Failure> {
        let name = match (self.master.as_str(), earlier) {
            ("", Some(earlier)) => match earlier.interfaces.as_slice() {
                [only] => only.name.as_str(),
                several => {
                    let count = several.len();
                    let problem =
                        format!("is empty, and prevResult has {count} interfaces, not 1; name one");
                    return Err(Failure::field("master", problem));
                }
            },
            (name, _) => name,
        };
        Ok(Master::new(name, self.link_in_container))
    }

    fn mode(&self) -> Result<IpVlanMode, Failure> {
        match self.mode.as_str() {
            "" | "l2" => Ok(IpVlanMode::L2),
            "l3" => Ok(IpVlanMode::L3),
            "l3s" => Ok(IpVlanMode::L3S),
            other => {
                let problem = format!("{other:?} is none; use l2, l3 or l3s");
                Err(Failure::field("mode", problem))
            }
        }
    }
}

/// Those of the plugin for addresses; without one, those of the plugin before in the chain.
fn addresses<'a>(
    request: &'a Request<'a>,
    earlier: Option<CniResult>,
) -> Result<Addresses<'a>, Failure> {
    let known = earlier.filter(|earlier| !earlier.ips.is_empty());
    match (Ipam::of(request), known) {
        (None, Some(known)) => Ok(Addresses::Known(known)),
        _ => Ipam::needed(request).map(Addresses::Leased),
    }
}

pub(crate) struct Ipvlan;

impl Plugin for Ipvlan {
    fn kind(&self) -> &'static str {
        "ipvlan"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn owns_interface(&self) -> bool {
        true
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf: Conf = request.read()?;
        conf.mode().map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf: Conf = request.read()?;
        let earlier = request.prev_result()?;
        let namespace = sandbox::open(request.target.netns)?;
        let ifname = request.target.ifname;
        let kind = NewKind::Ipvlan {
            mode: conf.mode()?,
            flags: IpVlanFlags::empty(),
        };
        let mtu = u32::try_from(conf.mtu).ok().filter(|mtu| *mtu > 0);
        let master = conf.master(earlier.as_ref())?;
        let addresses = addresses(request, earlier.clone())?;
        master.make(&namespace, |_| {
            Ok(NewLink {
                mtu,
                ..NewLink::new(ifname, kind)
            })
        })?;
        let made = Made {
            request,
            namespace: &namespace,
            announcement: Announcement::Sent,
        };
        let result = made.finish_or_remove(addresses)?;
        Ok(with_only_own_dns(result, request))
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        // The reference needs a master here, too, and fails when there is neither one nor a default route.
        let _: Conf = request.read()?;
        single::remove(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf: Conf = request.read()?;
        let namespace = sandbox::open(request.target.netns)?;
        let result = single::expected(request)?;
        // Which master an ADD without its name took is not recorded. The reference fails then, whatever it was.
        if !conf.master.is_empty() {
            conf.master(None)?.find(&namespace)?;
        }
        let mode = conf.mode()?;
        single::check(request, &namespace, &result, |link| {
            single::check_details(link, "ipvlan", "mode", Details::Ipvlan(mode))
        })
    }

    fn status(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: Conf = request.read()?;
        ipam::status(request)
    }

    fn gc(&self, request: &Request<'_>) -> Result<(), Failure> {
        ipam::gc(request)
    }
}

#[cfg(test)]
mod tests {
    use cni::result::Interface;

    use super::*;

    fn earlier(names: &[&str]) -> CniResult {
        let mut result = CniResult::default();
        result.interfaces = names
            .iter()
            .map(|name| {
                let mut interface = Interface::default();
                interface.name = (*name).to_owned();
                interface
            })
            .collect();
        result
    }

    #[test]
    fn the_master_is_named_or_the_only_interface_of_the_chain() {
        let named = Conf {
            master: "eth1".to_owned(),
            ..Conf::default()
        };
        let empty = Conf::default();
        let cases = [
            (&named, None, Some("eth1")),
            (&named, Some(vec!["a", "b"]), Some("eth1")),
            (&empty, None, Some("")),
            (&empty, Some(vec!["bond0"]), Some("bond0")),
            (&empty, Some(vec![]), None),
            (&empty, Some(vec!["a", "b"]), None),
        ];
        for (conf, before, expected) in cases {
            let before = before.map(|names| earlier(&names));
            let master = conf.master(before.as_ref()).ok();
            assert_eq!(master.map(|master| master.name), expected);
        }
    }
}
