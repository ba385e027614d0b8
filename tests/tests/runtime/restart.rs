//! containerd goes down between the start and the end of sandboxes, and in the middle of an ADD.

use std::fs;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::fixture::Scene;

fn pods_outlive_containerd(name: &str, signal: Signal) {
    let mut scene = Scene::new(name);
    let (a, b) = (scene.run("a"), scene.run("b"));
    scene.runtime.stop_containerd(signal);
    scene.runtime.start_containerd();
    assert!(scene.kubelet().is_ready(&a.sandbox));
    let c = scene.run("c");
    scene.assert_connected(&a, &b);
    scene.assert_connected(&c, &a);
    for pod in [&a, &b, &c] {
        scene.delete(pod);
    }
    scene.assert_clean();
}

#[test]
fn pods_outlive_a_restart_of_containerd() {
    pods_outlive_containerd("term", Signal::SIGTERM);
}

#[test]
fn pods_outlive_a_kill_of_containerd() {
    pods_outlive_containerd("kill", Signal::SIGKILL);
}

#[test]
fn a_pod_that_was_being_made_when_containerd_was_killed_is_cleaned_up_after_its_start() {
    let mut scene = Scene::new("halfway");
    let node = scene.runtime.node();
    let hold = node.folder().join("hold");
    fs::write(&hold, "").expect("write a file");
    let slow = node.recording("slow", json!({ "hold": hold, "on": ["ADD"], "link": true }));
    scene.api.nad("halfway", "slow", slow);
    let uid = scene.create_pod("web", "storage,slow");
    let (kubelet, running) = (scene.kubelet().clone(), uid.clone());
    let attempt = thread::spawn(move || kubelet.run_pod("halfway", "web", &running));
    node.wait_for_call("ADD net2 slow");
    scene.runtime.stop_containerd(Signal::SIGKILL);
    let answer = attempt.join().expect("the thread ends");
    answer.expect_err("containerd is dead");

    scene.runtime.start_containerd();
    fs::remove_file(&hold).expect("remove a file");
    scene.kubelet().delete_all_pods();
    scene.assert_clean();
    let pod = scene.run("next");
    scene.delete(&pod);
    scene.assert_clean();
}
