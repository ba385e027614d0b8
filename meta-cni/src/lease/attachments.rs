//! What attachments ask meta-ipam for, and what they may hold: the same as their plugins will ask.

use cni::args::Args;
use cni::netconf::PluginConf;
use proto::ipam::v1::{AllocateRequest, ReleaseAttachmentRequest};
use serde_json::{Map, Value};

use super::LeaseError;
use crate::ipam::config::IpamConfig;
use crate::ipam::request;
use crate::record::{Entry, Record};

/// What one attachment asks for.
pub(super) struct Wanted {
    pub(super) config: IpamConfig,
    pub(super) allocate: AllocateRequest,
    pub(super) release: ReleaseAttachmentRequest,
    pub(super) network: String,
}

impl Wanted {
    pub(super) fn held(&self) -> Held {
        Held {
            config: self.config.clone(),
            release: self.release.clone(),
            network: self.network.clone(),
        }
    }
}

/// What one attachment may hold.
pub(super) struct Held {
    pub(super) config: IpamConfig,
    pub(super) release: ReleaseAttachmentRequest,
    pub(super) network: String,
}

/// What the plugins of an attachment will ask meta-ipam for: the same as they will, from the same input.
pub(super) fn wanted(record: &Record, entry: &Entry) -> Result<Option<Wanted>, LeaseError> {
    let attachment = &entry.attachment;
    // A second plugin of the list would ask for the same attachment, and get the same lease.
    for plugin in &attachment.list.plugins {
        let conf = plugin.as_map();
        let config = IpamConfig::of(conf).map_err(|error| LeaseError::Attachment {
            network: attachment.network.clone(),
            ifname: attachment.ifname.clone(),
            source: error.into(),
        })?;
        let Some(config) = config else {
            continue;
        };
        let args = Args::parse(&attachment.args)?;
        let asks = asks(record, entry, conf, &args);
        asks.check_ips().map_err(|source| LeaseError::Attachment {
            network: attachment.network.clone(),
            ifname: attachment.ifname.clone(),
            source,
        })?;
        return Ok(Some(Wanted {
            allocate: asks.allocate(&config),
            release: asks.release(),
            network: attachment.network.clone(),
            config,
        }));
    }
    Ok(None)
}

/// What an attachment may hold: a network that never could lease holds nothing.
pub(super) fn held(record: &Record, entry: &Entry) -> Option<Held> {
    let plugins = entry.attachment.list.plugins.iter();
    plugins.map(PluginConf::as_map).find_map(|conf| {
        let config = IpamConfig::of_release(conf).ok()??;
        let release = asks(record, entry, conf, &Args::default()).release();
        let network = entry.attachment.network.clone();
        Some(Held {
            config,
            release,
            network,
        })
    })
}

pub(super) fn asks<'a>(
    record: &'a Record,
    entry: &'a Entry,
    conf: &'a Map<String, Value>,
    args: &'a Args,
) -> request::Attachment<'a> {
    request::Attachment {
        conf,
        container_id: &record.container_id,
        ifname: &entry.attachment.ifname,
        args,
    }
}
