//! Which device goes to which network of a pod.

use cni::netconf::PluginConf;
use serde_json::{Map, Value};

use super::{Device, DeviceError, DeviceSource, PodDevices};
use crate::author::Author;
use crate::cluster::Pod;
use crate::config::Config;
use crate::gather::Found;
use crate::problem::Problem;
use crate::wanted::Wanted;

/// The device of each of `wanted`, in their order. Of a network with a resource, the one that the pod names among those that
/// the kubelet gave to the pod, else the next one of them, if the pod has devices of the resource. Of another network, the one that
/// the pod names, if the node allows it. The kubelet is asked only if a network has a resource.
///
/// # Errors
/// [`DeviceError`] if the pod's devices cannot be read, if the pod has devices of a resource but too few, or if a device is
/// named that the pod was not given.
pub fn assign(
    config: &Config,
    pod: Option<&Pod>,
    wanted: &[Wanted],
    found: &[Result<Found, Problem>],
) -> Result<Vec<Option<Device>>, DeviceError> {
    let mut given = Given {
        config,
        pod,
        devices: None,
    };
    let mut assigned = vec![None; wanted.len()];
    let both = || wanted.iter().zip(found).enumerate();
    // Devices that are named are not handed out to those that name none.
    for (index, (wanted, found)) in both() {
        if let (Some(id), Ok(found)) = (&wanted.element.device_id, found) {
            given.take_named(found, id)?;
            let resource = found.resource_name.clone();
            let id = id.clone();
            assigned[index] = Some(Device { resource, id });
        }
    }
    for (index, (_, found)) in both() {
        let Ok(found) = found else {
            continue;
        };
        if let (None, Some(resource)) = (&assigned[index], &found.resource_name) {
            let id = given.take(resource)?;
            assigned[index] = id.map(|id| Device {
                resource: Some(resource.clone()),
                id,
            });
        }
        given.check_written(found, assigned[index].as_ref())?;
    }
    Ok(assigned)
}

/// What the kubelet gave to the pod, asked when the first network needs it.
struct Given<'a> {
    config: &'a Config,
    pod: Option<&'a Pod>,
    devices: Option<PodDevices>,
}

impl Given<'_> {
    /// The pod's devices; without a pod, there are none.
    fn devices(&mut self) -> Result<Option<&mut PodDevices>, DeviceError> {
        let Some(pod) = self.pod else {
            return Ok(None);
        };
        if self.devices.is_none() {
            let kubelet_dir = self.config.kubelet_dir.clone();
            self.devices = Some(DeviceSource { kubelet_dir }.pod_devices(pod)?);
        }
        Ok(self.devices.as_mut())
    }

    fn take(&mut self, resource: &str) -> Result<Option<String>, DeviceError> {
        match self.devices()? {
            Some(devices) => devices.take(resource),
            None => Ok(None),
        }
    }

    /// Hands out a device that the pod names.
    fn take_named(&mut self, found: &Found, device: &str) -> Result<(), DeviceError> {
        let Some(resource) = &found.resource_name else {
            return self.check_allowed(found, device);
        };
        let devices = self.devices()?;
        let is_given = devices.is_some_and(|devices| devices.take_named(resource, device));
        match is_given {
            true => Ok(()),
            false => Err(self.not_given(found, resource, device)),
        }
    }

    /// Checks the devices that the text of a tenant's network names.
    fn check_written(&self, found: &Found, assigned: Option<&Device>) -> Result<(), DeviceError> {
        if found.author == Author::Node {
            return Ok(());
        }
        // Without a resource, AttachmentPolicies say which links of the node a network takes.
        if let Some(resource) = &found.resource_name
            && let Some(link) = found.list.plugins.iter().flat_map(links).next()
        {
            return Err(self.not_given(found, resource, link));
        }
        for device in found.list.plugins.iter().flat_map(written) {
            match &found.resource_name {
                _ if assigned.is_some_and(|assigned| assigned.id == device) => {}
                Some(resource) => return Err(self.not_given(found, resource, device)),
                None => self.check_allowed(found, device)?,
            }
        }
        Ok(())
    }

    fn check_allowed(&self, found: &Found, device: &str) -> Result<(), DeviceError> {
        let mut allowed = self.config.allowed_devices.iter();
        match allowed.any(|allowed| allowed == "*" || allowed == device) {
            true => Ok(()),
            false => Err(DeviceError::NotAllowed {
                device: device.to_owned(),
                network: found.network.clone(),
            }),
        }
    }

    fn not_given(&self, found: &Found, resource: &str, device: &str) -> DeviceError {
        let pod = self
            .pod
            .map(|pod| format!("{}/{}", pod.namespace, pod.name));
        DeviceError::NotGiven {
            device: device.to_owned(),
            network: found.network.clone(),
            resource: resource.to_owned(),
            pod: pod.unwrap_or_default(),
        }
    }
}

/// A plugin's configuration, and that of flannel's delegate. Of keys in another case, none comes this far.
fn configurations(plugin: &PluginConf) -> impl Iterator<Item = &Map<String, Value>> {
    let delegate = plugin.get("delegate").and_then(Value::as_object);
    [Some(plugin.as_map()), delegate].into_iter().flatten()
}

/// The devices that a plugin's configuration names.
fn written(plugin: &PluginConf) -> impl Iterator<Item = &str> {
    let all = configurations(plugin).flat_map(|conf| {
        let runtime = conf.get("runtimeConfig");
        let runtime = runtime.and_then(|runtime| runtime.get("deviceID"));
        [conf.get("deviceID"), conf.get("pciBusID"), runtime]
    });
    all.flatten().filter_map(Value::as_str)
}

/// The links that host-device takes before it takes the device (containernetworking plugins, main/host-device).
fn links(plugin: &PluginConf) -> impl Iterator<Item = &str> {
    let is_host_device = |conf: &&Map<String, Value>| {
        conf.get("type").and_then(Value::as_str) == Some("host-device")
    };
    configurations(plugin)
        .filter(is_host_device)
        .flat_map(|conf| ["device", "hwaddr", "kernelpath"].map(|key| conf.get(key)))
        .flatten()
        .filter_map(Value::as_str)
        .filter(|link| !link.is_empty())
}
