//! `host-device`: moves an interface of the host into the sandbox, and back at DEL. As the reference plugin, section
//! "main/host-device"; devices of user-space drivers (DPDK) and `useInterfaceNetwork` are left to the executable.

mod device;
mod moves;

use cni::result::CniResult;
use netlink::Netlink;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::ipam::{self, Ipam, with_only_own_dns};
use crate::plugin::{Plugin, Request};
use crate::sandbox;
use crate::shape::Shape;
use crate::single::{self, Addresses, Announcement, Made};
use device::Conf;
use moves::Host;

const KEYS: &[(&str, Shape)] = &[
    ("device", Shape::Any),
    ("hwaddr", Shape::Any),
    ("kernelpath", Shape::Any),
    ("pciBusID", Shape::Any),
    ("useInterfaceNetwork", Shape::Any),
    // Of these deviceID is read.
    ("runtimeConfig", Shape::Any),
    ("args", Shape::Any),
    ("ipam", Shape::Any),
];

pub(crate) struct HostDevice;

impl Plugin for HostDevice {
    fn kind(&self) -> &'static str {
        "host-device"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn leaves_to_executable(&self, conf: &Map<String, Value>) -> Option<&'static str> {
        if conf.get("useInterfaceNetwork") == Some(&Value::Bool(true)) {
            return Some("useInterfaceNetwork takes addresses, routes and rules of the host along");
        }
        let is_dpdk = device::has_user_space_driver(conf);
        is_dpdk.then_some("the device has a driver of user space")
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        Conf::read(request)?.choice().map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf = Conf::read(request)?;
        let namespace = sandbox::open(request.target.netns)?;
        let ifname = request.target.ifname;
        let mut host = Host::open()?;
        let device = device::find(&mut Netlink::open()?, &conf.choice()?)?;
        host.move_in(&device, &namespace, ifname)?;
        let made = Made {
            request,
            namespace: &namespace,
            announcement: Announcement::Default,
        };
        let result = made.finish(Addresses::of(request));
        // The reference leaves the device in the sandbox then.
        let result = result.inspect_err(|_| host.undo(&device, &namespace, ifname))?;
        Ok(match Ipam::of(request) {
            Some(_) => with_only_own_dns(result, request),
            None => result,
        })
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        Conf::read(request)?;
        // A device whose namespace is gone went back to the host with it. The reference releases no address then, and fails
        // if the device is back already.
        if let Some(namespace) = sandbox::open_if_there(request.target.netns)? {
            match Host::open()?.move_out(&namespace, request.target.ifname) {
                // It is another's: its addresses are not ours, which can be released.
                Err(foreign @ Failure::NoFormerName { .. }) => {
                    release(request)?;
                    return Err(foreign);
                }
                moved => moved?,
            }
        }
        release(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        Conf::read(request)?.choice()?;
        let namespace = sandbox::open(request.target.netns)?;
        let result = single::expected(request)?;
        single::check(request, &namespace, &result, |_| Ok(()))
    }

    fn status(&self, request: &Request<'_>) -> Result<(), Failure> {
        Conf::read(request)?;
        ipam::status(request)
    }

    fn gc(&self, request: &Request<'_>) -> Result<(), Failure> {
        ipam::gc(request)
    }
}

fn release(request: &Request<'_>) -> Result<(), Failure> {
    Ipam::of(request).map_or(Ok(()), |ipam| ipam.del())
}
