//! An [`Exec`] for tests: keeps what it was asked to run, and answers as the test says.

use std::sync::Mutex;

use serde_json::Value;

use super::{Exec, ExecError, Target};
use crate::cni::error::{Code, ErrorObject};
use crate::cni::skel::Command;

/// One execution that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) plugin: String,
    pub(crate) command: Command,
    pub(crate) container_id: String,
    pub(crate) netns: String,
    pub(crate) ifname: String,
    pub(crate) args: String,
    pub(crate) stdin: Value,
}

impl Call {
    /// For example `ADD bridge net1`.
    pub(crate) fn brief(&self) -> String {
        format!("{} {} {}", self.command.as_str(), self.plugin, self.ifname)
    }
}

/// Keeps every call, in the order in which they began, and answers with `answer`.
pub(crate) struct RecordingExec<A> {
    answer: A,
    calls: Mutex<Vec<Call>>,
}

impl<A: Fn(&Call) -> Result<Vec<u8>, ExecError> + Sync> RecordingExec<A> {
    pub(crate) fn new(answer: A) -> Self {
        RecordingExec {
            answer,
            calls: Mutex::default(),
        }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The calls as [`Call::brief`] has them.
    pub(crate) fn briefs(&self) -> Vec<String> {
        self.calls().iter().map(Call::brief).collect()
    }
}

impl<A: Fn(&Call) -> Result<Vec<u8>, ExecError> + Sync> Exec for RecordingExec<A> {
    fn run(
        &self,
        plugin: &str,
        command: Command,
        target: Target<'_>,
        stdin: &[u8],
    ) -> Result<Vec<u8>, ExecError> {
        let call = Call {
            plugin: plugin.to_owned(),
            command,
            container_id: target.container_id.to_owned(),
            netns: target.netns.to_owned(),
            ifname: target.ifname.to_owned(),
            args: target.args.to_owned(),
            stdin: serde_json::from_slice(stdin).unwrap(),
        };
        self.calls.lock().unwrap().push(call.clone());
        (self.answer)(&call)
    }
}

/// The failure of a plugin that said why.
pub(crate) fn failed(plugin: &str, code: u32, msg: &str) -> ExecError {
    ExecError::Failed {
        plugin: plugin.to_owned(),
        object: ErrorObject::new(Code(code), msg),
    }
}
