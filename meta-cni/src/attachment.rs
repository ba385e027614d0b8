//! One network of a pod as it was planned: what records keep, and what plugins are run from.

use std::net::IpAddr;
use std::path::PathBuf;

use cni::netconf::NetConfList;
use serde::{Deserialize, Serialize};

use crate::device::Device;

/// One network of a pod, ready to be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name for people: `namespace/name` of its NetworkAttachmentDefinition, or the name of
    /// its configuration.
    pub network: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// CNI_ARGS.
    pub args: String,
    /// The plugins, each with its whole standard input but for `prevResult`.
    pub list: NetConfList,
    /// Whether CHECK asks the plugins although the network is a secondary one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub check_by_plugins: bool,
    /// Gateways of the default routes that go over this interface; empty: it shall have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<Vec<IpAddr>>,
    /// The device that goes to this attachment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// The file about the device behind the interface, for network-status: of every attachment that has a
    /// device or a plugin that declares `CNIDeviceInfoFile`; such a plugin reads or writes the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_info_file: Option<PathBuf>,
}
