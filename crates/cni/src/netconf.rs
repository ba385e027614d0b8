//! Network configurations and configuration lists (CNI specification 1.1.0, section 1), from texts,
//! JSON values and files.
//!
//! The case of a field's name does not matter, as it does not for libcni and for plugins in Go. Fields that
//! are not named here pass through unchanged and in their order. A number that fits
//! neither 64 bits nor a double exactly is rounded by the JSON reader.

mod file;

pub use file::{FileError, configuration_files, find_by_name, load_file, load_first};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::key;
use crate::name::is_identifier;
use crate::version::Version;

/// One plugin's configuration: a JSON object whose `type` names the plugin safely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginConf(Map<String, Value>);

/// A list of plugins that run one after the other on the same interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetConfList {
    /// The network's name; empty if the configuration has none (a caller must then set one).
    pub name: String,
    /// The version in which the plugins are spoken to.
    pub version: Version,
    /// Whether CHECK passes without asking the plugins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_check: bool,
    /// Whether GC leaves this network alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_gc: bool,
    /// The plugins in the order of ADD; never empty.
    pub plugins: Vec<PluginConf>,
    /// The keys of the configuration beside `plugins` as they were written, for keys that the specification does not have.
    /// They are read from configurations only: a list that was serialised has none.
    #[serde(skip)]
    pub keys: Map<String, Value>,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetConfError {
    /// The text is not JSON.
    #[error("not valid JSON: {problem}")]
    NotJson {
        /// Where and why.
        problem: String,
    },
    /// A field has a value that it cannot have, or is missing.
    #[error("{field}: {problem}")]
    Field {
        /// The field, for example `plugins[1].type`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// None of the versions that the configuration offers is known.
    #[error(
        "cniVersion {offered} is not supported; supported are 0.1.0 to {}",
        Version::LATEST
    )]
    Version {
        /// What the configuration offers.
        offered: String,
    },
}

impl NetConfError {
    fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        NetConfError::Field {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl PluginConf {
    /// Takes an object that has a safe `type`; `field` names the object in errors.
    ///
    /// # Errors
    /// [`NetConfError::Field`] if `type` is missing, is not a text or could be a path.
    pub fn new(conf: Value, field: &str) -> Result<PluginConf, NetConfError> {
        let Value::Object(conf) = conf else {
            return Err(NetConfError::field(field, "must be an object"));
        };
        let at = |name: &str| {
            if field.is_empty() {
                name.to_owned()
            } else {
                format!("{field}.{name}")
            }
        };
        match key::value_of(&conf, "type") {
            Some(Value::String(kind)) if is_identifier(kind) => Ok(PluginConf(conf)),
            Some(Value::String(kind)) => Err(NetConfError::field(
                at("type"),
                format!("{kind:?} cannot name a plugin; use letters, digits, '.', '_' and '-'"),
            )),
            Some(_) => Err(NetConfError::field(at("type"), "must be a string")),
            None => Err(NetConfError::field(
                at("type"),
                "is missing; it names the plugin to run",
            )),
        }
    }

    /// `type`: the plugin to call.
    pub fn plugin_type(&self) -> &str {
        self.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the plugin declares `capability`.
    pub fn has_capability(&self, capability: &str) -> bool {
        self.get("capabilities").and_then(|all| all.get(capability)) == Some(&Value::Bool(true))
    }

    /// `ipam`: the configuration of the plugin that it calls for addresses.
    pub fn ipam(&self) -> Option<&Map<String, Value>> {
        self.get("ipam")?.as_object()
    }

    /// The plugins that are called with this configuration: its own, and the one that this calls for addresses.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.plugin_type()).chain(self.ipam_type())
    }

    /// `ipam.type`: that plugin; nothing if it is empty.
    pub fn ipam_type(&self) -> Option<&str> {
        let kind = key::value_of(self.ipam()?, "type")?.as_str()?;
        (!kind.is_empty()).then_some(kind)
    }

    /// The whole configuration.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The value of a field, whatever the case of its name: plugins in Go read it so.
    pub fn get(&self, field: &str) -> Option<&Value> {
        key::value_of(&self.0, field)
    }

    /// Sets a field.
    pub fn set(&mut self, field: &str, value: Value) {
        self.in_usual_case(field);
        self.0.insert(field.to_owned(), value);
    }

    /// Renames a field that is written in another case to its usual name: else a plugin might read either.
    fn in_usual_case(&mut self, field: &str) {
        let is_other = |key: &String| key != field && key::is(key, field);
        if self.0.keys().any(is_other) {
            let value = self.get(field).cloned();
            self.0.retain(|key, _| !key::is(key, field));
            self.0.extend(value.map(|value| (field.to_owned(), value)));
        }
    }

    /// The object at `field`, made if the field is missing; none if the field has another kind of value.
    pub fn object_mut(&mut self, field: &str) -> Option<&mut Map<String, Value>> {
        self.in_usual_case(field);
        match self
            .0
            .entry(field)
            .or_insert_with(|| Value::Object(Map::new()))
        {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The configuration as the plugin reads it on standard input, with `extra` fields set.
    pub fn stdin_with(&self, extra: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<u8> {
        let mut conf = self.0.clone();
        conf.extend(
            extra
                .into_iter()
                .map(|(field, value)| (field.to_owned(), value)),
        );
        Value::Object(conf).to_string().into_bytes()
    }
}

impl NetConfList {
    /// Reads a configuration or a list from its JSON text.
    ///
    /// # Errors
    /// [`NetConfError`], naming the field.
    pub fn parse(text: &str) -> Result<NetConfList, NetConfError> {
        Self::from_value(from_text(text)?)
    }

    /// Reads a configuration (an object with `type`) or a list (an object with `plugins`).
    ///
    /// # Errors
    /// [`NetConfError`], naming the field.
    pub fn from_value(value: Value) -> Result<NetConfList, NetConfError> {
        let list = Self::from_value_with_more_plugins(value, |_| Ok(Vec::new()))?;
        if list.plugins.is_empty() {
            return Err(NetConfError::field(
                "plugins",
                "a configuration needs a type, or a list of plugins",
            ));
        }
        Ok(list)
    }

    /// As [`from_value`](Self::from_value), where `more(name)` returns the plugins that stand beside a
    /// list that does not say `loadOnlyInlinedPlugins`. The list may come out without plugins.
    fn from_value_with_more_plugins(
        value: Value,
        more: impl FnOnce(&str) -> Result<Vec<PluginConf>, NetConfError>,
    ) -> Result<NetConfList, NetConfError> {
        let Value::Object(mut conf) = value else {
            return Err(NetConfError::field(
                "configuration",
                "must be a JSON object",
            ));
        };
        let name = optional_string(&conf, "name")?.unwrap_or_default();
        if !name.is_empty() && !is_identifier(&name) {
            let problem = format!("{name:?} is not a name; use letters, digits, '.', '_' and '-'");
            return Err(NetConfError::field("name", problem));
        }
        let version = negotiate(&conf)?;
        let disable_check = switch(&conf, "disableCheck")?;
        let disable_gc = switch(&conf, "disableGC")?;
        let inlined_only = switch(&conf, "loadOnlyInlinedPlugins")?;
        let mut plugins = match conf.remove("plugins") {
            None if key::value_of(&conf, "type").is_some() => {
                let plugins = vec![PluginConf::new(Value::Object(conf.clone()), "")?];
                return Ok(NetConfList {
                    name,
                    version,
                    disable_check,
                    disable_gc,
                    plugins,
                    keys: conf,
                });
            }
            None => Vec::new(),
            Some(Value::Array(plugins)) => plugins
                .into_iter()
                .enumerate()
                .map(|(index, conf)| PluginConf::new(conf, &format!("plugins[{index}]")))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(NetConfError::field("plugins", "must be a list of objects")),
        };
        if !inlined_only {
            plugins.extend(more(&name)?);
        }
        Ok(NetConfList {
            name,
            version,
            disable_check,
            disable_gc,
            plugins,
            keys: conf,
        })
    }

    /// The types of all plugins that the list needs: its own, each followed by the one that it calls for addresses.
    pub fn plugin_types(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().flat_map(PluginConf::kinds)
    }

    /// Whether GC is for this network: its version has it and it is not switched off.
    pub fn allows_gc(&self) -> bool {
        self.version.has_gc_and_status() && !self.disable_gc
    }
}

fn from_text(text: &str) -> Result<Value, NetConfError> {
    serde_json::from_str(text).map_err(|error| NetConfError::NotJson {
        problem: error.to_string(),
    })
}

/// The highest known version among `cniVersions` and `cniVersion`.
fn negotiate(conf: &Map<String, Value>) -> Result<Version, NetConfError> {
    let mut offered = Vec::new();
    match conf.get("cniVersions") {
        None => {}
        Some(Value::Array(versions)) => {
            for (index, version) in versions.iter().enumerate() {
                let Value::String(text) = version else {
                    return Err(NetConfError::field(
                        format!("cniVersions[{index}]"),
                        "must be a string",
                    ));
                };
                offered.push(text.clone());
            }
        }
        Some(_) => {
            return Err(NetConfError::field(
                "cniVersions",
                "must be a list of strings",
            ));
        }
    }
    let single = optional_string(conf, "cniVersion")?;
    if single.is_some() || offered.is_empty() {
        offered.push(single.unwrap_or_default());
    }
    offered
        .iter()
        .filter_map(|text| text.parse().ok())
        .max()
        .ok_or_else(|| NetConfError::Version {
            offered: offered.join(", "),
        })
}

fn optional_string(conf: &Map<String, Value>, field: &str) -> Result<Option<String>, NetConfError> {
    match key::value_of(conf, field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(NetConfError::field(field, "must be a string")),
    }
}

/// A switch, which is off if its key is absent; libcni also takes the texts "true" and "false".
///
/// # Errors
/// [`NetConfError::Field`] if the key holds anything else.
pub fn switch(conf: &Map<String, Value>, field: &str) -> Result<bool, NetConfError> {
    match key::value_of(conf, field) {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(NetConfError::field(field, "must be true or false")),
    }
}

#[cfg(test)]
mod tests;
