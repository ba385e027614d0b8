//! The devices that the kubelet gave to a pod, handed out to its attachments in order, and the files
//! that describe them to plugins ([`info`]).
//!
//! The kubelet is asked over its PodResources API; where it does not answer, its checkpoint file is read.

mod assign;
mod checkpoint;
pub mod info;
mod podresources;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cluster::{Allocations, Pod};
use crate::diagnosis::Explain;

pub use assign::assign;
pub use podresources::PodResourcesError;

/// Where the kubelets of all distributions keep their state by default (`--root-dir`).
const KUBELET_DIR: &str = "/var/lib/kubelet";

/// A device that goes to an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The device plugin resource, if the device comes from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The device.
    pub id: String,
}

/// A device that could not be found, or a file about one that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Neither the kubelet nor its checkpoint file says which devices a pod has.
    #[error(
        "cannot learn the devices of pod {pod}: no answer on {dir}/pod-resources/kubelet.sock ({kubelet}) and no use in the checkpoint beside it",
        dir = kubelet_dir.display()
    )]
    Unknown {
        /// Namespace and name.
        pod: String,
        /// The kubelet's folder.
        kubelet_dir: PathBuf,
        /// Why the kubelet did not answer.
        kubelet: PodResourcesError,
        /// What is wrong with the checkpoint file.
        #[source]
        source: CheckpointError,
    },
    /// A pod has no device left for an attachment.
    #[error("pod {pod} has no device of {resource} left: {allocated} allocated, all in use")]
    NoneLeft {
        /// The resource name.
        resource: String,
        /// Namespace and name.
        pod: String,
        /// How many devices of the resource the pod has.
        allocated: usize,
    },
    /// A network or an annotation names a device that the kubelet did not give to the pod.
    #[error(
        "device {device} of network {network} was not given to pod {pod} by the kubelet, or is in use by another of its \
         networks"
    )]
    NotGiven {
        /// The device.
        device: String,
        /// The network.
        network: String,
        /// The resource name of the network.
        resource: String,
        /// Namespace and name.
        pod: String,
    },
    /// A network without a resource or an annotation names a device that the node does not allow.
    #[error("device {device} of network {network} is not in allowedDevices of the node")]
    NotAllowed {
        /// The device.
        device: String,
        /// The network.
        network: String,
    },
    /// A resource, device, network or interface cannot be part of a file name.
    #[error("{part} {text:?} cannot be part of the name of a device info file")]
    Name {
        /// What it names, for example `device ID`.
        part: &'static str,
        /// The text, at most its first 64 characters.
        text: String,
    },
    /// The path is not of a device info file for plugins.
    #[error("{path} is not a device info file of {folder}")]
    OutsideFolder {
        /// The path.
        path: PathBuf,
        /// Where such files are.
        folder: PathBuf,
    },
    /// A device info file is not JSON, not an object, or too large.
    #[error("device info file {path} is not a JSON object of at most 1 MiB: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A device info file could not be read, written or removed.
    #[error("cannot {action} device info file {path}")]
    File {
        /// `read`, `write` or `remove`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

impl Explain for DeviceError {
    fn remedy(&self) -> Option<String> {
        match self {
            DeviceError::Unknown { kubelet_dir, .. } => Some(format!(
                "does the kubelet run, with --root-dir {}?",
                kubelet_dir.display()
            )),
            DeviceError::NoneLeft { .. } => {
                Some("ask for one per attachment in the containers' resources".to_owned())
            }
            DeviceError::NotGiven { resource, .. } => Some(format!(
                "leave deviceID out, or name a device of {resource} that the pod has"
            )),
            DeviceError::NotAllowed { .. } => Some(
                "give the network the annotation k8s.v1.cni.cncf.io/resourceName, so that the kubelet gives the pod a \
                 device, or have it added there"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// The kubelet's checkpoint file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// It does not hold what a kubelet writes.
    #[error("{path} is not a checkpoint of the kubelet's device manager")]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        #[source]
        source: serde_json::Error,
    },
}

/// Where the devices of pods are learned.
#[derive(Clone, Debug)]
pub struct DeviceSource {
    /// The kubelet's folder (its `--root-dir`), `/var/lib/kubelet` by default.
    pub kubelet_dir: PathBuf,
}

impl Default for DeviceSource {
    fn default() -> Self {
        DeviceSource {
            kubelet_dir: KUBELET_DIR.into(),
        }
    }
}

impl DeviceSource {
    /// The devices of a pod: those that came with it, else those of [`DeviceSource::allocations`].
    ///
    /// # Errors
    /// As [`DeviceSource::allocations`].
    pub fn pod_devices(&self, pod: &Pod) -> Result<PodDevices, DeviceError> {
        let found = match &pod.devices {
            Some(devices) => devices.clone(),
            None => self.allocations(pod)?,
        };
        Ok(PodDevices::new(pod, found))
    }

    /// What the kubelet gave to a pod: as it says within 2 s, else as its checkpoint file says.
    ///
    /// Blocks; not to be called from inside an async runtime.
    ///
    /// # Errors
    /// [`DeviceError::Unknown`] if neither can be used. A pod that both know nothing of has no devices.
    pub fn allocations(&self, pod: &Pod) -> Result<Allocations, DeviceError> {
        let socket = self.kubelet_dir.join("pod-resources/kubelet.sock");
        let checkpoint = self
            .kubelet_dir
            .join("device-plugins/kubelet_internal_checkpoint");
        let uid = pod.runtime_uid();
        match podresources::devices(&socket, &pod.namespace, &pod.name) {
            Ok(Some(devices)) => Ok(devices),
            Ok(None) => Ok(checkpoint::devices(&checkpoint, uid).unwrap_or_default()),
            Err(kubelet) => match checkpoint::devices(&checkpoint, uid) {
                Ok(devices) => {
                    tracing::warn!(
                        socket = %socket.display(),
                        error = %kubelet,
                        "the kubelet does not list devices; its checkpoint file does"
                    );
                    Ok(devices)
                }
                Err(source) => Err(DeviceError::Unknown {
                    pod: format!("{}/{}", pod.namespace, pod.name),
                    kubelet_dir: self.kubelet_dir.clone(),
                    kubelet,
                    source,
                }),
            },
        }
    }
}

/// The devices of one pod, and which of them have been handed out.
#[derive(Clone, Debug)]
pub struct PodDevices {
    pod: String,
    resources: BTreeMap<String, Resource>,
}

#[derive(Clone, Debug, Default)]
struct Resource {
    devices: Vec<String>,
    /// Those of them that were handed out.
    taken: Vec<String>,
}

impl PodDevices {
    fn new(pod: &Pod, allocations: Allocations) -> Self {
        let mut resources: BTreeMap<String, Resource> = BTreeMap::new();
        for (name, devices) in allocations {
            let resource = resources.entry(name).or_default();
            for device in devices {
                // An init container's devices serve the containers after it as well.
                if !resource.devices.contains(&device) {
                    resource.devices.push(device);
                }
            }
        }
        PodDevices {
            pod: format!("{}/{}", pod.namespace, pod.name),
            resources,
        }
    }

    /// The device IDs of a resource in container order, those that were handed out included.
    pub fn of(&self, resource: &str) -> &[String] {
        self.resources
            .get(resource)
            .map_or(&[], |resource| &resource.devices)
    }

    /// Hands out the next device of a resource that is free: each device once, in container order. None if the pod
    /// has no device of it: no device plugin serves the resource (resources of KubeVirt's bridge-marker
    /// only choose the node), or the pod does not request it.
    ///
    /// # Errors
    /// [`DeviceError::NoneLeft`] if all of the pod's devices were handed out.
    pub fn take(&mut self, resource: &str) -> Result<Option<String>, DeviceError> {
        let Some(known) = self.resources.get_mut(resource) else {
            return Ok(None);
        };
        if known.devices.is_empty() {
            return Ok(None);
        }
        let mut free = known.devices.iter();
        let Some(device) = free.find(|device| !known.taken.contains(device)) else {
            return Err(DeviceError::NoneLeft {
                resource: resource.to_owned(),
                pod: self.pod.clone(),
                allocated: known.devices.len(),
            });
        };
        known.taken.push(device.clone());
        Ok(Some(device.clone()))
    }

    /// Hands out this device of a resource; false if the pod does not have it, or it was handed out.
    pub fn take_named(&mut self, resource: &str, device: &str) -> bool {
        let Some(known) = self.resources.get_mut(resource) else {
            return false;
        };
        let is = |other: &String| other == device;
        let is_free = known.devices.iter().any(is) && !known.taken.iter().any(is);
        if is_free {
            known.taken.push(device.to_owned());
        }
        is_free
    }
}

#[cfg(test)]
mod tests;
