//! [`Plugins`] for tests: keeps the calls, and answers as the test says. The tests of meta-cni have it by its path.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Map, Value};

use cni::error::{Code, ErrorObject};
use cni::plugins::{Call, Location, PluginError, Plugins};

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Called {
    pub(crate) plugin: String,
    pub(crate) command: &'static str,
    pub(crate) container_id: String,
    pub(crate) netns: String,
    pub(crate) ifname: String,
    pub(crate) args: String,
    pub(crate) stdin: Value,
    pub(crate) variables: Vec<(String, String)>,
}

/// Keeps every call, in the order in which they began, and answers with `answer`.
pub(crate) struct Recording<A> {
    answer: A,
    calls: Mutex<Vec<Called>>,
}

impl<A: Fn(&Called) -> Result<Vec<u8>, PluginError> + Sync> Recording<A> {
    pub(crate) fn new(answer: A) -> Self {
        Recording {
            answer,
            calls: Mutex::default(),
        }
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.calls.lock().unwrap().clone()
    }

    /// The calls, for example `ADD bridge net1`.
    pub(crate) fn briefs(&self) -> Vec<String> {
        let brief = |call: &Called| format!("{} {} {}", call.command, call.plugin, call.ifname);
        self.calls().iter().map(brief).collect()
    }
}

impl<A: Fn(&Called) -> Result<Vec<u8>, PluginError> + Sync> Plugins for Recording<A> {
    fn locate(&self, kind: &str, _: &Map<String, Value>) -> Result<Location, PluginError> {
        Ok(Location::Executable(PathBuf::from(kind)))
    }

    fn call(&self, call: &Call<'_>, _: Instant) -> Result<Vec<u8>, PluginError> {
        let called = Called {
            plugin: call.kind.to_owned(),
            command: call.command.as_str(),
            container_id: call.target.container_id.to_owned(),
            netns: call.target.netns.to_owned(),
            ifname: call.target.ifname.to_owned(),
            args: call.target.args.to_owned(),
            stdin: serde_json::from_slice(call.stdin).unwrap(),
            variables: call
                .variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        self.calls.lock().unwrap().push(called.clone());
        (self.answer)(&called)
    }
}

/// The failure of a plugin that said why.
pub(crate) fn failed(plugin: &str, code: u32, msg: &str) -> PluginError {
    PluginError::Failed {
        plugin: plugin.to_owned(),
        object: ErrorObject::new(Code(code), msg),
    }
}
