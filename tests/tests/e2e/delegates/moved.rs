//! Plugins that are in another folder than at ADD, as after an upgrade of k3s or RKE2.

use std::fs;
use std::path::Path;

use e2e::{Call, Node, Pod};
use serde_json::json;

use crate::delegates::attach::both;

/// A call whose `binDir` and CNI_PATH are this folder.
fn call_in<'n>(node: &'n Node, verb: &str, bin: &Path) -> Call<'n> {
    let path = bin.display().to_string();
    node.call(verb)
        .conf(json!({ "binDir": bin }))
        .env("CNI_PATH", &path)
}

fn pod(node: &Node, name: &str) -> Pod {
    let pod = node.pod("default", name).create();
    call_in(node, "ADD", &node.bin_dir()).pod(&pod).run().ok();
    pod
}

#[test]
fn check_del_and_gc_find_the_plugins_and_their_ipam_in_todays_folder() {
    for node in both("moved") {
        let (deleted, collected) = (pod(&node, "deleted"), pod(&node, "collected"));
        let new = node.folder().join("433356f0");
        fs::rename(node.bin_dir(), &new).unwrap();
        call_in(&node, "CHECK", &new).pod(&deleted).run().ok();
        call_in(&node, "DEL", &new).pod(&deleted).run().ok();
        assert_eq!(node.leased("br-default").len(), 2, "those of the other pod");
        call_in(&node, "GC", &new)
            .conf(json!({ "cni.dev/valid-attachments": [] }))
            .run()
            .ok();
        assert!(!node.record_file(&collected).exists());
        assert!(node.leased("br-default").is_empty());
        fs::rename(&new, node.bin_dir()).unwrap();
        node.assert_clean();
    }
}
