//! The programs in the plugin folder, replaced as an installer does it.

use std::path::PathBuf;
use std::process::Command;

use e2e::{Node, locate};

/// meta-cni itself, what it runs, and what that runs.
const OURS: [&str; 2] = ["meta-cni", "meta-ipam"];
const DELEGATES: [&str; 2] = ["bridge", "host-local"];

/// A copy beside the program takes its place by a rename. In a process of its own: a file that a test has open for
/// writing is open in the children that its other threads start as well, and cannot be executed then.
const INSTALL: &str = r#"cp "$1" "$2/.$3.new" && mv "$2/.$3.new" "$2/$3""#;

/// Replaces all programs of the node by new copies.
pub(crate) fn replace(node: &Node) {
    let ours = OURS.map(|name| (name, locate::executable(name)));
    let delegates = DELEGATES.map(|name| (name, locate::pinned_plugins().join(name)));
    for (name, source) in ours.into_iter().chain(delegates) {
        let status = Command::new("sh")
            .args(["-ec", INSTALL, "sh"])
            .args([source, node.bin_dir(), PathBuf::from(name)])
            .status();
        assert!(status.expect("start a shell").success(), "replace {name}");
    }
}
