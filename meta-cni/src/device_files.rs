//! The files about the devices of attachments, around ADD and DEL: copied before the plugins run, read for network-status,
//! removed with the attachment.

use serde_json::Value;

use crate::attachment::Attachment;
use crate::config::Config;
use crate::device::info::{DeviceInfoFiles, is_declared};
use crate::device::{Device, DeviceError};

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
            if is_declared(&attachment.list) {
                return Err(error);
            }
            tracing::warn!(%error, network = attachment.network, "network-status goes without device-info");
        }
    }
    Ok(())
}

/// What is known about the device behind an attachment; a file that cannot be read is logged.
pub fn info_of(config: &Config, attachment: &Attachment) -> Option<Value> {
    let path = attachment.device_info_file.as_ref()?;
    files(config).read(path).unwrap_or_else(|error| {
        tracing::warn!(%error, network = attachment.network, "network-status goes without device-info");
        None
    })
}

/// Removes the files of attachments; a file that cannot be removed is logged.
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
