//! Looking at what calls left on a node for others to read: records, network-status, and the log of the
//! recording plugins.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::node::Node;
use crate::node::plugin::RecordedCall;
use crate::node::pod::Pod;

impl Node {
    /// The file that holds a pod's record, whether it is there or not.
    pub fn record_file(&self, pod: &Pod) -> PathBuf {
        let name = format!("{}.json", pod.container_id);
        self.state_dir().join("attachments").join(name)
    }

    /// The file that a pod's network-status is written to when `networksDir` is the cluster, whether it
    /// is there or not.
    pub fn status_file(&self, pod: &Pod) -> PathBuf {
        let name = format!("{}_{}.json", pod.namespace, pod.name);
        self.networks_dir().join(".status").join(name)
    }

    /// The elements of a pod's network-status.
    ///
    /// # Panics
    /// When it was not written, or is not a JSON list.
    #[track_caller]
    pub fn network_status(&self, pod: &Pod) -> Vec<Value> {
        let path = self.status_file(pod);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// [`RecordedCall::summary`] of every call of recording plugins so far, in the order in which they
    /// started.
    pub fn summaries(&self) -> Vec<String> {
        self.calls().iter().map(RecordedCall::summary).collect()
    }

    /// The last call of this [`RecordedCall::summary`], for example `ADD net1 red`, that was made.
    ///
    /// # Panics
    /// When there was none, showing those that there were.
    #[track_caller]
    pub fn last_call(&self, summary: &str) -> RecordedCall {
        let found = self
            .calls()
            .into_iter()
            .rev()
            .find(|call| call.summary() == summary);
        found.unwrap_or_else(|| panic!("no call {summary}, but {:?}", self.summaries()))
    }
}
