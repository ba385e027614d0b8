//! `dummy`: a link of the sandbox that leads nowhere, with addresses. As the reference plugin, section "main/dummy".

use cni::result::CniResult;
use netlink::{Netlink, NewKind, NewLink};
use serde::de::IgnoredAny;

use crate::failure::Failure;
use crate::ipam::Ipam;
use crate::plugin::{Plugin, Request};
use crate::sandbox;
use crate::shape::Shape;
use crate::single::{self, Addresses, Announcement, Made};

/// Its only key is `ipam`; the others may stand in any configuration, and are not read.
const KEYS: &[(&str, Shape)] = &[
    ("ipam", Shape::Any),
    ("args", Shape::Any),
    ("runtimeConfig", Shape::Any),
];

pub(crate) struct Dummy;

impl Plugin for Dummy {
    fn kind(&self) -> &'static str {
        "dummy"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn owns_interface(&self) -> bool {
        true
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: IgnoredAny = request.read()?;
        Ipam::needed(request).map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let ipam = Ipam::needed(request)?;
        let namespace = sandbox::open(request.target.netns)?;
        let ifname = request.target.ifname;
        let link = NewLink::new(ifname, NewKind::Dummy);
        namespace.within(|| sandbox::make_link(&mut Netlink::open()?, &link))??;
        let made = Made {
            request,
            namespace: &namespace,
            announcement: Announcement::Default,
        };
        made.finish_or_remove(Addresses::Leased(ipam))
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        // Without ipam there is nothing to release; the reference fails for ever then.
        let _: IgnoredAny = request.read()?;
        single::remove(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: IgnoredAny = request.read()?;
        Ipam::needed(request)?;
        let namespace = sandbox::open(request.target.netns)?;
        let mut result = single::expected(request)?;
        // As the reference, which does not compare them.
        result.routes.clear();
        single::check(request, &namespace, &result, |link| {
            single::check_kind(link, "dummy")?;
            match link.is_up {
                true => Ok(()),
                false => Err(Failure::changed(format!("{} is down", link.name))),
            }
        })
    }

    fn status(&self, request: &Request<'_>) -> Result<(), Failure> {
        let _: IgnoredAny = request.read()?;
        Ipam::needed(request)?.status()
    }

    fn gc(&self, request: &Request<'_>) -> Result<(), Failure> {
        crate::ipam::gc(request)
    }
}
