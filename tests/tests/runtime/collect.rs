//! GC. No containerd calls it yet (2.4 has the verb in its library only), so it is called as libcni does:
//! with the sandboxes that the runtime lists.

use std::fs;

use e2e::Node;
use serde_json::{Value, json};

use crate::fixture::{INTERFACES, Scene};

fn collect(scene: &Scene) -> e2e::Outcome {
    let node: &Node = scene.runtime.node();
    let sandboxes = scene.kubelet().list();
    let valid: Vec<Value> = sandboxes
        .iter()
        .map(|sandbox| json!({ "containerID": sandbox.id, "ifname": "eth0" }))
        .collect();
    let conf = json!({ "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid });
    node.call("GC").conf(conf).run()
}

#[test]
fn what_a_runtime_has_forgotten_is_collected_and_what_it_lists_is_left_alone() {
    let mut scene = Scene::new("forgot");
    scene.run("lost");
    scene.runtime.power_off();
    let containerd = scene.runtime.machine().lib_dir().join("containerd");
    fs::remove_dir_all(containerd).expect("lose the state of containerd");
    scene.runtime.boot();
    assert_eq!(scene.kubelet().list(), []);
    let (a, b) = (scene.run("a"), scene.run("b"));
    assert_eq!(scene.leases().len(), 3 * INTERFACES.len());

    collect(&scene).ok();
    assert_eq!(scene.leases().len(), 2 * INTERFACES.len());
    scene.assert_connected(&a, &b);
    for pod in [&a, &b] {
        scene.delete(pod);
    }
    let cache = scene.runtime.machine().lib_dir().join("cni/results");
    fs::remove_dir_all(cache).expect("libcni remembers the lost pod");
    scene.assert_clean();
}
