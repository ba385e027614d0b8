//! Nodes and plugins that the tests of this suite have in common.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use e2e::{Node, Pod};
use serde_json::{Value, json};

/// A pod with a recorded interface on each of these networks, besides the default one.
pub(crate) fn pod(node: &Node, name: &str, networks: &[&str]) -> Pod {
    let networks = networks.join(",");
    node.pod("default", name).networks(&networks).create()
}

/// A network of the recording plugin that makes a link, and otherwise behaves as `record` says.
pub(crate) fn link(node: &Node, name: &str, record: Value) -> Value {
    let mut conf = node.recording(name, record);
    conf["record"]["link"] = json!(true);
    conf
}

/// Installs a plugin that is a shell script: `add` is what it does on ADD, the other verbs succeed.
/// Its configuration is on standard input.
pub(crate) fn script(node: &Node, name: &str, add: &str) -> PathBuf {
    let path = node.bin_dir().join(name);
    let text = format!("#!/bin/sh\n[ \"$CNI_COMMAND\" = ADD ] || exit 0\n{add}\n");
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&path)
        .expect("make a script");
    file.write_all(text.as_bytes()).expect("write a script");
    path
}

/// The configuration of a [`script`].
pub(crate) fn scripted(name: &str) -> Value {
    json!({ "cniVersion": "1.1.0", "name": name, "type": name })
}
