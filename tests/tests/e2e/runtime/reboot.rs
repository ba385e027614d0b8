//! The power goes: processes, namespaces, interfaces and `/run` are gone, `/var/lib` is kept.

use std::fs;

use crate::runtime::fixture::{INTERFACES, Scene};

/// Runs two pods, and takes the power away under them.
fn scene_without_power(name: &str) -> Scene {
    let mut scene = Scene::new(name);
    let (a, b) = (scene.run("a"), scene.run("b"));
    scene.assert_connected(&a, &b);
    scene.power_off();
    scene
}

/// Asserts that containerd remembers two sandboxes that do not run, and deletes them.
#[track_caller]
fn delete_remembered(scene: &Scene) {
    let remembered = scene.kubelet().list();
    assert_eq!(remembered.len(), 2, "{remembered:?}");
    assert!(remembered.iter().all(|sandbox| sandbox.state == NOT_READY));
    scene.kubelet().delete_all_pods();
}

/// `SANDBOX_NOTREADY` of CRI.
const NOT_READY: i32 = 1;

#[test]
fn after_a_reboot_all_leases_come_back_and_new_pods_are_connected() {
    let mut scene = scene_without_power("reboot");
    scene.ipam.restart();
    scene.agent.restart();
    assert_eq!(
        scene.leases().len(),
        2 * INTERFACES.len(),
        "kept over the reboot"
    );
    scene.runtime.boot();
    delete_remembered(&scene);
    scene.assert_clean();

    let (c, d) = (scene.run("c"), scene.run("d"));
    scene.assert_connected(&c, &d);
    for pod in [&c, &d] {
        scene.delete(pod);
    }
    scene.assert_clean();
}

#[test]
fn leases_come_back_when_address_service_and_agent_are_up_last() {
    let mut scene = scene_without_power("late");
    scene.runtime.boot();
    delete_remembered(&scene);
    let waiting = fs::read_dir(scene.runtime.node().state_dir().join("releases"));
    assert_eq!(
        waiting.expect("releases wait").count(),
        2 * INTERFACES.len()
    );

    scene.ipam.restart();
    scene.agent.restart();
    let pod = scene.run("next");
    scene.delete(&pod);
    scene.assert_clean();
}
