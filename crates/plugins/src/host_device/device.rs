//! Which device a configuration asks for: by name, hardware address, path of the kernel, or as a device of the PCI or
//! auxiliary bus.

use std::fs;
use std::path::{Path, PathBuf};

use netlink::{Link, Netlink};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::hardware;
use crate::plugin::Request;

/// The devices of the PCI bus (sysfs).
const PCI: &str = "/sys/bus/pci/devices";
/// Those of the auxiliary bus.
const AUXILIARY: &str = "/sys/bus/auxiliary/devices";
/// Drivers that keep a device from the kernel's network, for DPDK.
const USER_SPACE_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Conf {
    device: String,
    #[serde(rename = "hwaddr")]
    hardware_address: String,
    #[serde(rename = "kernelpath")]
    kernel_path: String,
    #[serde(rename = "pciBusID")]
    pci: String,
    // Read by the executable.
    #[serde(rename = "useInterfaceNetwork")]
    _use_interface_network: bool,
    #[serde(skip)]
    device_id: Option<String>,
}

/// A device as a configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Named(String),
    WithAddress(Vec<u8>),
    /// The first network device in this folder of sysfs.
    In(PathBuf),
    Pci(String),
}

impl Conf {
    pub(super) fn read(request: &Request<'_>) -> Result<Conf, Failure> {
        let mut conf: Conf = request.read()?;
        conf.device_id = device_id(request.conf).map(str::to_owned);
        Ok(conf)
    }

    /// The device: the first of name, hardware address, path and bus that is set. An id of the runtime stands for the bus.
    pub(super) fn choice(&self) -> Result<Choice, Failure> {
        self.choice_on([Path::new(PCI), Path::new(AUXILIARY)])
    }

    fn choice_on(&self, [pci, auxiliary]: [&Path; 2]) -> Result<Choice, Failure> {
        let of_bus = match self.device_id.as_deref() {
            Some(id) if is_on(pci, id) => Some(Choice::Pci(id.to_owned())),
            Some(id) if is_on(auxiliary, id) => Some(Choice::In(auxiliary.join(id).join("net"))),
            Some(id) => {
                let problem = format!("{id:?} is no device of the PCI or auxiliary bus");
                return Err(Failure::field("runtimeConfig.deviceID", problem));
            }
            None if self.pci.is_empty() => None,
            None if is_on(pci, &self.pci) => Some(Choice::Pci(self.pci.clone())),
            None => {
                let problem = format!("{:?} is no device of the PCI bus", self.pci);
                return Err(Failure::field("pciBusID", problem));
            }
        };
        if !self.device.is_empty() {
            return Ok(Choice::Named(self.device.clone()));
        }
        if !self.hardware_address.is_empty() {
            let octets = hardware::read("hwaddr", &self.hardware_address)?;
            return Ok(Choice::WithAddress(octets));
        }
        if !self.kernel_path.is_empty() {
            if !self.kernel_path.starts_with("/sys/devices/") {
                let problem = "must begin with /sys/devices/";
                return Err(Failure::field("kernelpath", problem));
            }
            return Ok(Choice::In(Path::new(&self.kernel_path).join("net")));
        }
        let problem = "is missing; set it, or hwaddr, kernelpath or pciBusID";
        of_bus.ok_or_else(|| Failure::field("device", problem))
    }
}

/// `runtimeConfig.deviceID`, unless it is empty.
fn device_id(conf: &Map<String, Value>) -> Option<&str> {
    let runtime = conf.get("runtimeConfig")?.as_object()?;
    let id = cni::key::value_of(runtime, "deviceID")?.as_str()?;
    (!id.is_empty()).then_some(id)
}

/// Whether a device of this id is on a bus.
fn is_on(bus: &Path, id: &str) -> bool {
    let is_name = !id.contains('/') && ![".", ".."].contains(&id);
    is_name && bus.join(id).exists()
}

/// Whether the device that a configuration names on the PCI bus has a driver of user space.
pub(super) fn has_user_space_driver(conf: &Map<String, Value>) -> bool {
    let bus = Path::new(PCI);
    let by_runtime = device_id(conf);
    let id = by_runtime.or_else(|| conf.get("pciBusID").and_then(Value::as_str));
    id.filter(|id| is_on(bus, id)).is_some_and(|id| {
        let driver = bus.join(id).join("driver").canonicalize().ok();
        let name = driver.as_deref().and_then(Path::file_name);
        name.is_some_and(|name| USER_SPACE_DRIVERS.iter().any(|driver| name == *driver))
    })
}

/// The link of a device.
///
/// # Errors
/// [`Failure::NoLink`], [`Failure::NoDevice`].
pub(super) fn find(host: &mut Netlink, choice: &Choice) -> Result<Link, Failure> {
    match choice {
        Choice::Named(name) => by_name(host, name),
        Choice::WithAddress(octets) => {
            let mac = cni::hardware::text(octets);
            // The kernel finds no link by its hardware address.
            let mut all = host.links()?.into_iter();
            all.find(|link| link.mac == mac)
                .ok_or_else(|| Failure::NoDevice {
                    place: format!("hardware address {mac}"),
                })
        }
        Choice::In(folder) => first_in(host, folder),
        Choice::Pci(id) => first_in(host, &of_pci(&Path::new(PCI).join(id))?),
    }
}

fn by_name(host: &mut Netlink, name: &str) -> Result<Link, Failure> {
    let remedy = "name an interface of the host that no other pod has";
    crate::sandbox::link(host, name, remedy)
}

/// The folder of the network devices of a PCI device; one of virtio has a device below it.
fn of_pci(device: &Path) -> Result<PathBuf, Failure> {
    let own = device.join("net");
    if own.exists() {
        return Ok(own);
    }
    let below = sorted(device)?.into_iter();
    let mut virtio = below.filter(|name| name.starts_with("virtio"));
    virtio
        .find_map(|name| Some(device.join(name).join("net")).filter(|net| net.exists()))
        .ok_or_else(|| none_in(device))
}

fn first_in(host: &mut Netlink, folder: &Path) -> Result<Link, Failure> {
    let first = sorted(folder)?.into_iter().next();
    by_name(host, &first.ok_or_else(|| none_in(folder))?)
}

fn none_in(folder: &Path) -> Failure {
    Failure::NoDevice {
        place: folder.display().to_string(),
    }
}

/// The names in a folder, in order.
fn sorted(folder: &Path) -> Result<Vec<String>, Failure> {
    let read = || {
        let names = fs::read_dir(folder)?;
        let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    };
    read().map_err(|source| Failure::File {
        doing: "read",
        path: folder.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(device: &str, address: &str, path: &str, pci: &str, id: Option<&str>) -> Conf {
        Conf {
            device: device.to_owned(),
            hardware_address: address.to_owned(),
            kernel_path: path.to_owned(),
            pci: pci.to_owned(),
            _use_interface_network: false,
            device_id: id.map(str::to_owned),
        }
    }

    #[test]
    fn the_first_of_name_address_path_and_bus_names_the_device() {
        let bus = tempfile::tempdir().unwrap();
        let (pci, auxiliary) = (bus.path().join("pci"), bus.path().join("auxiliary"));
        fs::create_dir_all(pci.join("0000:01:00.0")).unwrap();
        fs::create_dir_all(auxiliary.join("mlx5_core.sf.4")).unwrap();
        let mac = "02:00:00:00:00:01";
        let octets = vec![2, 0, 0, 0, 0, 1];
        let path = "/sys/devices/virtual";
        let known = "0000:01:00.0";
        let sub = auxiliary.join("mlx5_core.sf.4/net");
        let cases = [
            (
                conf("eth1", mac, path, "", None),
                Some(Choice::Named("eth1".to_owned())),
            ),
            (
                conf("", mac, path, known, None),
                Some(Choice::WithAddress(octets)),
            ),
            (
                conf("", "", path, known, None),
                Some(Choice::In("/sys/devices/virtual/net".into())),
            ),
            (
                conf("", "", "", known, None),
                Some(Choice::Pci(known.to_owned())),
            ),
            (
                conf("", "", "", "", Some(known)),
                Some(Choice::Pci(known.to_owned())),
            ),
            (
                conf("", "", "", "0000:09:00.0", Some(known)),
                Some(Choice::Pci(known.to_owned())),
            ),
            (
                conf("", "", "", known, Some("mlx5_core.sf.4")),
                Some(Choice::In(sub)),
            ),
            (conf("", "", "", "", None), None),
            (conf("", "02:00", "", "", None), None),
            (conf("", "", "/sys/class/net/eth0", "", None), None),
            (conf("", "", "", "0000:09:00.0", None), None),
            // As the reference: a bus that has no such device is an error even if a name is there.
            (conf("eth1", "", "", "", Some("0000:09:00.0")), None),
            (conf("", "", "", "..", None), None),
        ];
        for (conf, expected) in cases {
            let chosen = conf.choice_on([&pci, &auxiliary]).ok();
            assert_eq!(chosen, expected, "{conf:?}");
        }
    }

    #[test]
    fn a_virtio_device_has_its_network_devices_one_level_below() {
        let device = tempfile::tempdir().unwrap();
        let found = of_pci(device.path()).unwrap_err().to_string();
        assert!(found.contains("no network device"), "{found}");
        let net = device.path().join("virtio3/net");
        fs::create_dir_all(&net).unwrap();
        assert_eq!(of_pci(device.path()).unwrap(), net);
        let own = device.path().join("net");
        fs::create_dir(&own).unwrap();
        assert_eq!(of_pci(device.path()).unwrap(), own);
    }
}
