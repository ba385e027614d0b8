//! `macvlan`: a link with a hardware address of its own on a master. As the reference plugin, section "main/macvlan".

use cni::result::CniResult;
use netlink::{Details, MacVlanMode, NewKind, NewLink};
use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::ipam::{self, with_only_own_dns};
use crate::master::{self, Master};
use crate::plugin::{Plugin, Request};
use crate::shape::Shape;
use crate::single::{self, Addresses, Announcement, Made};
use crate::{hardware, sandbox};

const KEYS: &[(&str, Shape)] = &[
    ("master", Shape::Any),
    ("mode", Shape::Any),
    ("mtu", Shape::Any),
    ("mac", Shape::Any),
    ("linkInContainer", Shape::Any),
    ("bcqueuelen", Shape::Any),
    // Of these the reference reads runtimeConfig.mac alone.
    ("runtimeConfig", Shape::Any),
    ("args", Shape::Any),
    ("ipam", Shape::Any),
];

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    master: String,
    mode: String,
    mtu: i64,
    mac: String,
    link_in_container: bool,
    #[serde(rename = "bcqueuelen")]
    broadcast_queue: u32,
}

impl Conf {
    fn master(&self) -> Master<'_> {
        Master::new(&self.master, self.link_in_container)
    }

    fn mode(&self) -> Result<MacVlanMode, Failure> {
        match self.mode.as_str() {
            "" | "bridge" => Ok(MacVlanMode::Bridge),
            "private" => Ok(MacVlanMode::Private),
            "vepa" => Ok(MacVlanMode::Vepa),
            "passthru" => Ok(MacVlanMode::Passthrough),
            other => {
                let problem = format!("{other:?} is none; use bridge, private, vepa or passthru");
                Err(Failure::field("mode", problem))
            }
        }
    }

    /// The hardware address that is asked for: `runtimeConfig.mac`, else `MAC` of CNI_ARGS, else `mac`.
    fn mac(&self, request: &Request<'_>) -> Result<Option<Vec<u8>>, Failure> {
        let runtime = request
            .conf
            .get("runtimeConfig")
            .and_then(Value::as_object)
            .and_then(|runtime| cni::key::value_of(runtime, "mac")?.as_str());
        let asked = [
            ("runtimeConfig.mac", runtime),
            ("MAC of CNI_ARGS", request.argument("MAC")),
            ("mac", Some(self.mac.as_str())),
        ];
        let mut asked = asked.into_iter();
        let first =
            asked.find_map(|(field, mac)| Some((field, mac.filter(|mac| !mac.is_empty())?)));
        first
            .map(|(field, mac)| hardware::read(field, mac))
            .transpose()
    }
}

pub(crate) struct Macvlan;

impl Plugin for Macvlan {
    fn kind(&self) -> &'static str {
        "macvlan"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn owns_interface(&self) -> bool {
        true
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf: Conf = request.read()?;
        conf.mode()?;
        conf.mac(request).map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf: Conf = request.read()?;
        let namespace = sandbox::open(request.target.netns)?;
        let ifname = request.target.ifname;
        let kind = NewKind::Macvlan {
            mode: conf.mode()?,
            broadcast_queue: (conf.broadcast_queue > 0).then_some(conf.broadcast_queue),
        };
        let mac = conf.mac(request)?;
        conf.master().make(&namespace, |master| {
            Ok(NewLink {
                mac: mac.as_deref(),
                mtu: master::mtu(conf.mtu, master)?,
                ..NewLink::new(ifname, kind)
            })
        })?;
        let made = Made {
            request,
            namespace: &namespace,
            announcement: Announcement::Sent,
        };
        let result = made.finish_or_remove(Addresses::of(request))?;
        Ok(with_only_own_dns(result, request))
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: Conf = request.read()?;
        single::remove(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf: Conf = request.read()?;
        let namespace = sandbox::open(request.target.netns)?;
        let master = conf.master().find(&namespace)?;
        master::mtu(conf.mtu, &master)?;
        let result = single::expected(request)?;
        let mode = conf.mode()?;
        single::check(request, &namespace, &result, |link| {
            single::check_details(link, "macvlan", "mode", Details::Macvlan(mode))
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
