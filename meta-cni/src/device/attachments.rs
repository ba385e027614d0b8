//! Devices of attachments: which device goes to which, and the files about them around ADD and DEL.

use serde_json::Value;

use super::info::DeviceInfoFiles;
use super::{DeviceError, DeviceSource, PodDevices};
use crate::cluster::Pod;
use crate::cni::netconf::{NetConfList, PluginConf};
use crate::config::Config;
use crate::gather::Found;
use crate::plan::{Attachment, Device};
use crate::problem::Problem;
use crate::wanted::Wanted;

/// The device of each of `wanted`, in their order: the one that the pod names, else the next one of the
/// network's resource, if the pod has devices of it. The kubelet is asked only if a network has a resource.
///
/// # Errors
/// [`DeviceError`] if the pod's devices cannot be read, or the pod has devices of a resource but too few.
pub fn assign(
    config: &Config,
    pod: Option<&Pod>,
    wanted: &[Wanted],
    found: &[Result<Found, Problem>],
) -> Result<Vec<Option<Device>>, DeviceError> {
    let mut given: Option<PodDevices> = None;
    let mut assigned = Vec::with_capacity(wanted.len());
    for (wanted, found) in wanted.iter().zip(found) {
        let resource = found
            .as_ref()
            .ok()
            .and_then(|found| found.resource_name.clone());
        let id = match (&wanted.element.device_id, &resource, pod) {
            (Some(id), _, _) => Some(id.clone()),
            (None, Some(resource), Some(pod)) => {
                let given = match &mut given {
                    Some(given) => given,
                    None => {
                        let kubelet_dir = config.kubelet_dir.clone();
                        given.insert(DeviceSource { kubelet_dir }.pod_devices(pod)?)
                    }
                };
                given.take(resource)?
            }
            _ => None,
        };
        assigned.push(id.map(|id| Device { resource, id }));
    }
    Ok(assigned)
}

/// Whether a plugin of the list reads the device info file (`CNIDeviceInfoFile`).
pub fn declares_info(list: &NetConfList) -> bool {
    let declares = |plugin: &PluginConf| plugin.has_capability("CNIDeviceInfoFile");
    list.plugins.iter().any(declares)
}

/// Copies the device plugins' files about the devices to where the CNI plugins read them. A copy that no
/// plugin of an attachment reads is for network-status only: a failure of it is a warning in the log.
///
/// # Errors
/// [`DeviceError`] if a file that a plugin reads cannot be copied.
pub fn prepare<'a>(
    config: &Config,
    attachments: impl IntoIterator<Item = &'a Attachment>,
) -> Result<(), DeviceError> {
    for attachment in attachments {
        if let (
            Some(path),
            Some(Device {
                resource: Some(resource),
                id,
            }),
        ) = (&attachment.device_info_file, &attachment.device)
            && let Err(error) = files(config).copy_for_cni(resource, id, path)
        {
            if declares_info(&attachment.list) {
                return Err(error);
            }
            tracing::warn!(%error, network = attachment.network, "network-status goes without device-info");
        }
    }
    Ok(())
}

/// What is known about the device behind an attachment; a file that cannot be read is told in the log.
pub fn info_of(config: &Config, attachment: &Attachment) -> Option<Value> {
    let path = attachment.device_info_file.as_ref()?;
    files(config).read(path).unwrap_or_else(|error| {
        tracing::warn!(%error, network = attachment.network, "network-status goes without device-info");
        None
    })
}

/// Removes the files of attachments; one that cannot be removed is told in the log.
pub fn clean_up<'a>(config: &Config, attachments: impl IntoIterator<Item = &'a Attachment>) {
    for path in attachments
        .into_iter()
        .filter_map(|attachment| attachment.device_info_file.as_ref())
    {
        if let Err(error) = files(config).remove(path) {
            tracing::warn!(%error, "a device info file stays");
        }
    }
}

fn files(config: &Config) -> DeviceInfoFiles {
    DeviceInfoFiles {
        base: config.device_info_dir.clone(),
    }
}
