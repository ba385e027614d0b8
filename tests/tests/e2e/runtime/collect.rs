//! Sandboxes that the runtime has forgotten. No containerd calls GC, 2.4 neither, so it is called as libcni
//! does: with the sandboxes that the runtime lists. Without it, the agent sees on the runtime's socket
//! which are gone.

use std::fs;
use std::thread;
use std::time::Duration;

use e2e::runtime::Release;
use e2e::{Node, Outcome, wait_until};
use serde_json::{Value, json};

use crate::runtime::fixture::{Hold, INTERFACES, Scene};

/// What makes the agent look every second, for sandboxes that are gone for a second.
const AT_ONCE: [&str; 2] = ["--repair-interval-seconds=1", "--orphan-grace-seconds=1"];

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a pod, and lets containerd lose everything that it knows.
fn forget(scene: &mut Scene) {
    scene.run("lost");
    scene.runtime.power_off();
    let lib = scene.runtime.machine().lib_dir();
    // The second is what libcni remembers.
    for folder in ["containerd", "cni"] {
        fs::remove_dir_all(lib.join(folder)).expect("lose the state of containerd");
    }
    scene.runtime.boot();
    assert_eq!(scene.kubelet().list(), []);
    assert_eq!(scene.leases().len(), INTERFACES.len());
}

fn collect(scene: &Scene) -> Outcome {
    let sandboxes = scene.kubelet().list();
    let valid: Vec<Value> = sandboxes
        .iter()
        .map(|sandbox| json!({ "containerID": sandbox.id, "ifname": "eth0" }))
        .collect();
    let conf = json!({ "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid });
    scene.runtime.node().call("GC").conf(conf).run()
}

#[test]
fn gc_deletes_what_the_runtime_has_forgotten_and_leaves_what_it_lists_alone() {
    let mut scene = Scene::new("forgot");
    forget(&mut scene);
    let (a, b) = (scene.run("a"), scene.run("b"));
    assert_eq!(scene.leases().len(), 3 * INTERFACES.len());
    collect(&scene).ok();
    assert_eq!(scene.leases().len(), 2 * INTERFACES.len());
    scene.assert_connected(&a, &b);
    for pod in [&a, &b] {
        scene.delete(pod);
    }
    scene.assert_clean();
}

#[test]
fn the_agent_has_what_the_runtime_has_forgotten_deleted_while_the_kubelet_asks_for_status() {
    let mut scene = Scene::with_agent(Node::new("looks"), Release::Pinned, "looks", &AT_ONCE);
    forget(&mut scene);
    wait_until("the leases come back", PATIENCE, || {
        // As a kubelet does every few seconds: containerd asks meta-cni.
        scene.kubelet().network_ready().expect("it is ready");
        scene.leases().is_empty().then_some(())
    });
    scene.assert_clean();
}

#[test]
fn a_pod_whose_add_takes_longer_than_the_agent_waits_is_no_orphan() {
    let scene = Scene::with_agent(Node::new("slow"), Release::Pinned, "slow", &AT_ONCE);
    let node = scene.runtime.node();
    let hold = Hold::new(&scene, "ADD");
    let uid = scene.create_pod("web", "storage,slow");
    let (kubelet, asked) = (scene.kubelet().clone(), uid.clone());
    let attempt = thread::spawn(move || kubelet.run_pod("slow", "web", &asked));
    let id = node.wait_for_call("ADD net2 slow").container_id;
    let mark = node.state_dir().join("orphans").join(&id);
    wait_until("the agent takes it for an orphan", PATIENCE, || {
        mark.exists().then_some(())
    });
    hold.release();
    let sandbox = attempt.join().expect("the thread ends").expect("a sandbox");
    wait_until("the mark is looked at", PATIENCE, || {
        scene.kubelet().network_ready().expect("it is ready");
        (!mark.exists()).then_some(())
    });
    assert_eq!(scene.leases().len(), 2);
    assert_eq!(scene.runtime.netns(&sandbox).links().len(), 4);
    scene.kubelet().delete_pod(&sandbox.id);
    scene.assert_clean();
}
