//! The door: calls of built-in plugins, before those of others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use cni::error::{Code, ErrorObject};
use cni::plugins::{Call, Location, PluginError, Plugins};
use cni::skel::Command;
use cni::version::Version;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::kinds;
use crate::plugin::{Plugin, Request};
use crate::selection::Selection;
use crate::shape::{self, Others};

/// The field of the span around a call in which is noted that it was served here.
pub const MODE_FIELD: &str = "mode";
/// What is noted there.
pub const BUILT_IN: &str = "built_in";

/// Plugins of which some are served in this process, and the others by `P`.
pub struct Builtin<P> {
    others: P,
    selection: Selection,
    more: Vec<Box<dyn Plugin + Send>>,
}

/// Why a configuration is left to the executable.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Left {
    /// The type is not built in, or not selected.
    NotBuiltIn,
    /// The configuration asks for something that is not built in.
    Unserved(String),
}

impl<P: Plugins> Builtin<P> {
    /// Those of the selection, before `others`.
    pub fn before(others: P, selection: Selection) -> Builtin<P> {
        Builtin {
            others,
            selection,
            more: Vec::new(),
        }
    }

    /// The same with one more plugin of this process.
    #[must_use]
    pub fn with(mut self, plugin: Box<dyn Plugin + Send>) -> Builtin<P> {
        self.more.push(plugin);
        self
    }

    /// The others.
    pub fn others(&self) -> &P {
        &self.others
    }

    /// Serves a call here, or not at all: for a program that is this plugin and has no other to go to.
    ///
    /// # Errors
    /// [`PluginError::Failed`], also if the configuration asks for what is not built in.
    pub fn call_here(&self, call: &Call<'_>, deadline: Instant) -> Result<Vec<u8>, PluginError> {
        if call.command == Command::Version {
            return Ok(versions());
        }
        let read = read(call).map_err(|object| refused(call.kind, object))?;
        match self.served(call.kind, &read.conf) {
            Ok((plugin, conf)) => self.serve(plugin, call, &read, &conf, deadline),
            Err(left) => {
                let reason = match left {
                    Left::Unserved(reason) => reason,
                    Left::NotBuiltIn => "the type is not built in".to_owned(),
                };
                let msg = format!(
                    "{reason}; install the reference plugin {} in place of this one",
                    call.kind
                );
                let object = ErrorObject::new(Code::UNSUPPORTED_FIELD, msg);
                Err(refused(call.kind, object.in_version(read.version)))
            }
        }
    }

    fn serve(
        &self,
        plugin: &dyn Plugin,
        call: &Call<'_>,
        read: &Read,
        conf: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Vec<u8>, PluginError> {
        if Instant::now() >= deadline {
            let plugin = call.kind.to_owned();
            return Err(PluginError::NoTimeLeft { plugin });
        }
        let request = self.request(call, read, conf, deadline);
        let served = guarded(|| serve(plugin, &request));
        served.map_err(|failure| failed(call.kind, &failure, read.version))
    }

    fn request<'a>(
        &'a self,
        call: &Call<'a>,
        read: &Read,
        conf: &'a Map<String, Value>,
        deadline: Instant,
    ) -> Request<'a> {
        Request {
            command: call.command,
            target: call.target,
            version: read.version,
            conf,
            stdin: call.stdin,
            variables: call.variables,
            plugins: self,
            deadline,
        }
    }

    fn known(&self, kind: &str) -> Option<&dyn Plugin> {
        let more = self
            .more
            .iter()
            .map(|plugin| plugin.as_ref() as &dyn Plugin);
        let mut more = more.filter(|plugin| plugin.kind() == kind);
        more.next()
            .or_else(|| kinds::of(kind).map(|one| one as &dyn Plugin))
    }

    /// The plugin that serves a configuration here, and the configuration in its spelling.
    fn served(
        &self,
        kind: &str,
        conf: &Map<String, Value>,
    ) -> Result<(&dyn Plugin, Map<String, Value>), Left> {
        let known = self.known(kind).filter(|_| self.selection.has(kind));
        let plugin = known.ok_or(Left::NotBuiltIn)?;
        let others = match &self.selection {
            Selection::Types(_) => Others::Ignored,
            _ => plugin.other_keys(),
        };
        let conf = shape::canonical(conf, plugin.keys(), others)
            .map_err(|unknown| Left::Unserved(format!("the key {} is unknown", unknown.0)))?;
        match plugin.leaves_to_executable(&conf) {
            Some(reason) => Err(Left::Unserved(reason.to_owned())),
            None => Ok((plugin, conf)),
        }
    }
}

impl<P: Plugins> Plugins for Builtin<P> {
    fn locate(&self, kind: &str, conf: &Map<String, Value>) -> Result<Location, PluginError> {
        match self.served(kind, conf) {
            Ok(_) => Ok(Location::BuiltIn),
            Err(_) => self.others.locate(kind, conf),
        }
    }

    fn validate(&self, call: &Call<'_>) -> Result<(), PluginError> {
        let Ok(read) = read(call) else {
            return Ok(());
        };
        let Ok((plugin, conf)) = self.served(call.kind, &read.conf) else {
            return Ok(());
        };
        let request = self.request(call, &read, &conf, Instant::now());
        let checked = guarded(|| plugin.validate(&request));
        checked.map_err(|failure| failed(call.kind, &failure, read.version))
    }

    fn call(&self, call: &Call<'_>, deadline: Instant) -> Result<Vec<u8>, PluginError> {
        if self.known(call.kind).is_none() || !self.selection.has(call.kind) {
            return self.others.call(call, deadline);
        }
        if call.command == Command::Version {
            return Ok(versions());
        }
        let read = read(call).map_err(|object| refused(call.kind, object))?;
        match self.served(call.kind, &read.conf) {
            Ok((plugin, conf)) => {
                tracing::Span::current().record(MODE_FIELD, BUILT_IN);
                self.serve(plugin, call, &read, &conf, deadline)
            }
            Err(left) => {
                if let Left::Unserved(reason) = left {
                    tracing::debug!(plugin = call.kind, reason, "executed, not built in");
                }
                self.others.call(call, deadline)
            }
        }
    }
}

/// What every plugin reads of its standard input.
struct Read {
    conf: Map<String, Value>,
    version: Version,
}

/// Reads the configuration of a call as the reference does (libcni 1.3, package skel).
fn read(call: &Call<'_>) -> Result<Read, ErrorObject> {
    let conf: Map<String, Value> = serde_json::from_slice(call.stdin).map_err(|error| {
        ErrorObject::new(
            Code::DECODING_FAILURE,
            format!("the configuration is not a JSON object: {error}"),
        )
    })?;
    let version = match cni::key::value_of(&conf, "cniVersion") {
        None | Some(Value::Null) => Version::V0_1_0,
        Some(Value::String(text)) if text.is_empty() => Version::V0_1_0,
        Some(Value::String(text)) => {
            text.parse()
                .map_err(|error: cni::version::UnknownVersion| {
                    ErrorObject::new(Code::INCOMPATIBLE_VERSION, error.to_string())
                })?
        }
        Some(other) => {
            let msg = format!("cniVersion is {other}, not a string");
            return Err(ErrorObject::new(Code::DECODING_FAILURE, msg));
        }
    };
    if call.command == Command::Check && !version.has_check()
        || matches!(call.command, Command::Gc | Command::Status) && !version.has_gc_and_status()
    {
        let command = call.command.as_str();
        let msg = format!("cniVersion {version} does not have {command}; use a newer one");
        return Err(ErrorObject::new(Code::INCOMPATIBLE_VERSION, msg));
    }
    let name = cni::key::value_of(&conf, "name").and_then(Value::as_str);
    match name.unwrap_or_default() {
        "" => Err(ErrorObject::new(
            Code::INVALID_NETWORK_CONFIG,
            "name is missing; name the network",
        )),
        name if !cni::name::is_identifier(name) => {
            let msg = format!(
                "name {name:?} cannot name a network; use letters, digits, '.', '_' and '-'"
            );
            Err(ErrorObject::new(Code::INVALID_NETWORK_CONFIG, msg))
        }
        _ => Ok(Read { conf, version }),
    }
}

fn serve(plugin: &dyn Plugin, request: &Request<'_>) -> Result<Vec<u8>, Failure> {
    let nothing = |()| Vec::new();
    match request.command {
        Command::Add => {
            plugin.validate(request)?;
            let result = plugin.add(request)?;
            let value = result.to_value(request.version);
            let value = value.map_err(|source| Failure::Result { source })?;
            Ok(value.to_string().into_bytes())
        }
        Command::Del => plugin.del(request).map(nothing),
        Command::Check => plugin.check(request).map(nothing),
        Command::Status => plugin.status(request).map(nothing),
        Command::Gc => plugin.gc(request).map(nothing),
        Command::Version => Ok(versions()),
    }
}

/// The answer to VERSION, for which a configuration is not read.
fn versions() -> Vec<u8> {
    let supported = Version::ALL.map(|version| version.as_str());
    let latest = Version::LATEST.as_str();
    let answer = serde_json::json!({"cniVersion": latest, "supportedVersions": supported});
    answer.to_string().into_bytes()
}

/// A panic of a plugin is its failure, as a program that crashes is: what the pod's other plugins made is still undone.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Failure::Fault))
}

fn failed(kind: &str, failure: &Failure, version: Version) -> PluginError {
    refused(kind, failure.to_object().in_version(version))
}

fn refused(kind: &str, object: ErrorObject) -> PluginError {
    PluginError::Failed {
        plugin: kind.to_owned(),
        object,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_panics_has_failed() {
        let failure = guarded::<()>(|| panic!("a test")).unwrap_err();
        let object = failure.to_object();
        assert_eq!(object.code, Code::INTERNAL);
        assert!(object.msg.contains("builtinPlugins"), "{}", object.msg);
        assert!(guarded(|| Ok(())).is_ok());
    }
}
