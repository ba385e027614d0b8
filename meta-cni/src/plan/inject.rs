//! What a plugin's configuration gains before it is run: the list's name and version, `runtimeConfig`
//! for the capabilities that it declares, `args.cni`, and the device.

use std::path::Path;

use cni::netconf::{NetConfList, PluginConf};
use serde_json::{Map, Value, json};

use super::Device;
use crate::selection::Element;

/// The values that there are for capabilities, by capability: those of the runtime, overridden by what
/// the pod asks for.
pub(super) fn capabilities(
    runtime: Map<String, Value>,
    element: &Element,
    device: Option<&Device>,
    device_info_file: Option<&Path>,
) -> Map<String, Value> {
    let mut values = runtime;
    let mut set = |capability: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.insert(capability.to_owned(), value);
        }
    };
    set("ips", (!element.ips.is_empty()).then(|| json!(element.ips)));
    set("mac", element.mac.clone().map(Value::from));
    set(
        "infinibandGUID",
        element.infiniband_guid.clone().map(Value::from),
    );
    set("portMappings", element.port_mappings.clone());
    set("bandwidth", element.bandwidth.clone());
    set("deviceID", device.map(|device| json!(device.id)));
    set(
        "CNIDeviceInfoFile",
        device_info_file.map(|file| json!(file)),
    );
    values
}

/// Puts everything into the plugins of `list`.
///
/// # Errors
/// What is in the way, if the configuration has another kind of value where an object is needed.
pub(super) fn into_list(
    list: &mut NetConfList,
    capabilities: &Map<String, Value>,
    cni_args: Option<&Map<String, Value>>,
    device: Option<&Device>,
) -> Result<(), String> {
    for plugin in &mut list.plugins {
        plugin.set("cniVersion", json!(list.version));
        plugin.set("name", json!(list.name));
        set_runtime_config(plugin, capabilities)?;
        if let Some(cni_args) = cni_args {
            merge_cni_args(plugin, cni_args)?;
        }
        // Any plugin may need the device, not only the first: rdma behind sriov.
        if let Some(device) = device {
            plugin.set("deviceID", json!(device.id));
            plugin.set("pciBusID", json!(device.id));
        }
    }
    Ok(())
}

fn set_runtime_config(
    plugin: &mut PluginConf,
    capabilities: &Map<String, Value>,
) -> Result<(), String> {
    let declared: Vec<_> = capabilities
        .iter()
        .filter(|(capability, _)| plugin.has_capability(capability))
        .collect();
    if declared.is_empty() {
        return Ok(());
    }
    let kind = plugin.plugin_type().to_owned();
    let runtime = plugin
        .object_mut("runtimeConfig")
        .ok_or_else(|| format!("runtimeConfig of plugin {kind:?} must be an object"))?;
    runtime.extend(
        declared
            .into_iter()
            .map(|(capability, value)| (capability.clone(), value.clone())),
    );
    Ok(())
}

fn merge_cni_args(plugin: &mut PluginConf, cni_args: &Map<String, Value>) -> Result<(), String> {
    let kind = plugin.plugin_type().to_owned();
    let args = plugin
        .object_mut("args")
        .and_then(|args| {
            args.entry("cni")
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
        })
        .ok_or_else(|| format!("args.cni of plugin {kind:?} must be an object"))?;
    args.extend(
        cni_args
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    Ok(())
}

#[cfg(test)]
mod tests;
