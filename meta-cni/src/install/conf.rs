//! Our own configuration: made from the primary network, the node's folders and the administrator's settings.

use std::fs;
use std::path::Path;

use process::yaml;
use serde_json::{Map, Value, json};

use super::InstallError;
use super::changes::{Changes, digest_of};
use super::place::Places;
use super::primary::Primary;
use super::receipt::Receipt;
use crate::config::Config;

const MODE: u32 = 0o644;
/// Keys that the installer writes itself.
const RESERVED: [&str; 4] = ["type", "name", "cniVersion", "agentSocket"];
/// How long an ADD waits for an agent that is restarted or not up yet: below the 110 s that a verb has.
const AGENT_SECONDS: u64 = 60;

/// Reads the administrator's settings: keys of the configuration, in YAML or JSON.
pub(super) fn read_settings(path: &Path) -> Result<Map<String, Value>, InstallError> {
    let text = fs::read_to_string(path).map_err(InstallError::read(path))?;
    let wrong = |problem: String| InstallError::Settings {
        path: path.to_owned(),
        problem,
    };
    let settings: Option<Map<String, Value>> =
        yaml::read(&text).map_err(|error| wrong(error.to_string()))?;
    let settings = settings.unwrap_or_default();
    if let Some(key) = RESERVED.iter().find(|key| settings.contains_key(**key)) {
        return Err(wrong(format!("{key} is what the installer writes itself")));
    }
    Config::parse(&settings).map_err(|error| wrong(error.to_string()))?;
    Ok(settings)
}

/// The text of the configuration.
pub(super) fn text(
    places: &Places,
    primary: &Primary,
    cni_version: Option<&str>,
    settings: &Map<String, Value>,
) -> String {
    let socket = places.agent_socket.as_deref().map(Path::to_string_lossy);
    let mut capabilities = Map::new();
    for name in ["portMappings", "bandwidth"] {
        capabilities.insert(name.to_owned(), Value::Bool(true));
    }
    capabilities.extend(primary.capabilities.clone());
    let mut plugin = json!({
        "type": "meta-cni",
        // Named, so that an ADD waits for the agent also on a node that has not had one yet.
        "agentSocket": socket.unwrap_or_default(),
        "agentTimeoutSeconds": AGENT_SECONDS,
        "clusterNetwork": primary.path,
        // The runtime is not ready, and ADDs wait, while the primary network is not there.
        "readinessindicatorfile": primary.path,
        "attachmentPolicy": "enforce",
        "capabilities": capabilities,
        "logLevel": "info",
        "logFile": "/var/log/meta-cni.log",
    });
    if let Value::Object(keys) = &mut plugin {
        for (key, path) in places.keys() {
            keys.insert(key.to_owned(), json!(path));
        }
        keys.extend(settings.clone());
    }
    let list = json!({
        "cniVersion": cni_version.unwrap_or(primary.version.as_str()),
        "name": "meta-cni",
        "plugins": [plugin],
    });
    format!("{list:#}\n")
}

/// Puts the configuration in its place, if it is another one.
pub(super) fn install(
    places: &Places,
    text: &str,
    primary: &Primary,
    receipt: &mut Receipt,
    changes: &mut Changes<'_>,
) -> Result<(), InstallError> {
    let on_node = places.conf();
    let here = places.here(&on_node);
    if fs::read(&here).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(());
    }
    receipt.note_file(places, changes, &on_node, &digest_of(text.as_bytes()))?;
    let why = format!(
        "the primary network is {} of {}",
        primary.name,
        primary.path.display()
    );
    changes.write(&here, text.as_bytes(), MODE, &why)
}
