//! flannel's plugin keeps one state a container, whatever the interface: the file `<dataDir>/<container>`,
//! which its DEL reads and removes (flannel-io/cni-plugin, `flannel_linux.go`). The DEL of a second
//! attachment of the container would find nothing and succeed, and leave bridge and leases behind.

use std::path::Path;

use cni::netconf::PluginConf;
use serde_json::{Value, json};

use super::Attachment;

/// Where it keeps its state if `dataDir` does not say.
const DATA_DIR: &str = "/var/lib/cni/flannel";

/// Gives every attachment a `dataDir` of its own whose flannel would share that of an earlier one: the
/// folder that is named after its interface in the shared one.
pub(super) fn separate(attachments: &mut [Attachment]) {
    let mut taken: Vec<String> = Vec::new();
    for attachment in attachments {
        let ifname = &attachment.ifname;
        for plugin in &mut attachment.list.plugins {
            if plugin.plugin_type() != "flannel" {
                continue;
            }
            let mut dir = data_dir(plugin).to_owned();
            if taken.contains(&dir) {
                dir = Path::new(&dir).join(ifname).display().to_string();
                plugin.set("dataDir", json!(dir));
            }
            taken.push(dir);
        }
    }
}

fn data_dir(plugin: &PluginConf) -> &str {
    match plugin.get("dataDir").and_then(Value::as_str) {
        None | Some("") => DATA_DIR,
        Some(dir) => dir,
    }
}
