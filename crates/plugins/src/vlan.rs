//! `vlan`: a link for the frames of a master that have one VLAN. As the reference plugin, section "main/vlan".

use cni::result::CniResult;
use netlink::{Details, NewKind, NewLink};
use serde::Deserialize;

use crate::failure::Failure;
use crate::ipam::{self, with_only_own_dns};
use crate::master::{self, Master};
use crate::plugin::{Plugin, Request};
use crate::sandbox;
use crate::shape::Shape;
use crate::single::{self, Addresses, Announcement, Made};

/// The highest VLAN (IEEE 802.1Q).
const HIGHEST: u16 = 4094;

const KEYS: &[(&str, Shape)] = &[
    ("master", Shape::Any),
    ("vlanId", Shape::Any),
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
    vlan_id: i64,
    mtu: i64,
    link_in_container: bool,
}

impl Conf {
    fn master(&self) -> Result<Master<'_>, Failure> {
        if self.master.is_empty() {
            let problem = "is missing; name the interface that carries the VLAN";
            return Err(Failure::field("master", problem));
        }
        Ok(Master::new(&self.master, self.link_in_container))
    }

    fn id(&self) -> Result<u16, Failure> {
        let id = u16::try_from(self.vlan_id).ok();
        id.filter(|id| *id <= HIGHEST).ok_or_else(|| {
            let problem = format!("{} is no VLAN; use 0 to {HIGHEST}", self.vlan_id);
            Failure::field("vlanId", problem)
        })
    }
}

pub(crate) struct Vlan;

impl Plugin for Vlan {
    fn kind(&self) -> &'static str {
        "vlan"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn owns_interface(&self) -> bool {
        true
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf: Conf = request.read()?;
        conf.master()?;
        conf.id().map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf: Conf = request.read()?;
        let namespace = sandbox::open(request.target.netns)?;
        let ifname = request.target.ifname;
        let kind = NewKind::Vlan { id: conf.id()? };
        conf.master()?.make(&namespace, |master| {
            Ok(NewLink {
                mtu: master::mtu(conf.mtu, master)?,
                ..NewLink::new(ifname, kind)
            })
        })?;
        let made = Made {
            request,
            namespace: &namespace,
            announcement: Announcement::Default,
        };
        let result = made.finish_or_remove(Addresses::of(request))?;
        Ok(with_only_own_dns(result, request))
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        // The reference needs its master here, and fails for ever when that is gone or its MTU was lowered.
        let _: Conf = request.read()?;
        single::remove(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf: Conf = request.read()?;
        let namespace = sandbox::open(request.target.netns)?;
        let result = single::expected(request)?;
        conf.master()?.find(&namespace)?;
        let id = conf.id()?;
        single::check(request, &namespace, &result, |link| {
            single::check_details(link, "vlan", "VLAN", Details::Vlan(id))?;
            let name = &link.name;
            match conf.mtu == 0 || conf.mtu == i64::from(link.mtu) {
                true => Ok(()),
                false => Err(Failure::changed(format!(
                    "the MTU of {name} is {}",
                    link.mtu
                ))),
            }
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
