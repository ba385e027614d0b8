//! The checkpoint file of the kubelet's device manager
//! (`kubernetes/pkg/kubelet/cm/devicemanager/checkpoint`). Its checksum is a hash of Go's memory layout
//! and is not checked; the kubelet replaces the file in one step.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{Allocations, CheckpointError};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    /// `null` while no pod has a device.
    pod_device_entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "PodUID")]
    pod_uid: String,
    #[serde(rename = "ResourceName")]
    resource: String,
    #[serde(rename = "DeviceIDs")]
    devices: Option<Devices>,
}

/// Since Kubernetes 1.20 a list for each NUMA node (-1: none); before, one list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Devices {
    List(Vec<String>),
    ByNode(BTreeMap<String, Option<Vec<String>>>),
}

impl Devices {
    /// In the order of the NUMA nodes.
    fn flat(self) -> Vec<String> {
        match self {
            Devices::List(devices) => devices,
            Devices::ByNode(nodes) => {
                let mut nodes: Vec<_> = nodes.into_iter().collect();
                nodes.sort_by_key(|(node, _)| node.parse::<i64>().unwrap_or(i64::MAX));
                nodes
                    .into_iter()
                    .flat_map(|(_, devices)| devices.unwrap_or_default())
                    .collect()
            }
        }
    }
}

/// What the file says of a pod, in its own order.
pub(super) fn devices(path: &Path, pod_uid: &str) -> Result<Allocations, CheckpointError> {
    let text = fs::read(path).map_err(|source| CheckpointError::Read {
        path: path.to_owned(),
        source,
    })?;
    let file: File =
        serde_json::from_slice(&text).map_err(|source| CheckpointError::Undecodable {
            path: path.to_owned(),
            source,
        })?;
    Ok(file
        .data
        .pod_device_entries
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| entry.pod_uid == pod_uid)
        .map(|entry| {
            let devices = entry.devices.map(Devices::flat).unwrap_or_default();
            (entry.resource, devices)
        })
        .collect())
}
