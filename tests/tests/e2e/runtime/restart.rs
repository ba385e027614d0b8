//! containerd goes down between the start and the end of sandboxes, and in the middle of an ADD.

use std::thread;

use crate::runtime::fixture::{Hold, Scene};
use nix::sys::signal::Signal;

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
    let hold = Hold::new(&scene, "ADD");
    let uid = scene.create_pod("web", "storage,slow");
    let kubelet = scene.kubelet().clone();
    let attempt = thread::spawn(move || kubelet.run_pod("halfway", "web", &uid));
    scene.runtime.node().wait_for_call("ADD net2 slow");
    scene.runtime.stop_containerd(Signal::SIGKILL);
    let answer = attempt.join().expect("the thread ends");
    answer.expect_err("containerd is dead");

    scene.runtime.start_containerd();
    assert_eq!(scene.kubelet().list().len(), 1, "it remembers the attempt");
    assert_eq!(scene.leases().len(), 2);
    hold.release();
    scene.kubelet().delete_all_pods();
    scene.assert_clean();
    let pod = scene.run("next");
    scene.delete(&pod);
    scene.assert_clean();
}

#[test]
fn a_pod_that_was_being_stopped_when_containerd_was_killed_is_stopped_after_its_start() {
    let mut scene = Scene::new("stopping");
    let hold = Hold::new(&scene, "DEL");
    let uid = scene.create_pod("web", "storage,slow");
    let sandbox = scene.kubelet().run_pod("stopping", "web", &uid);
    let id = sandbox.expect("a sandbox").id;
    let (kubelet, stopped) = (scene.kubelet().clone(), id.clone());
    let attempt = thread::spawn(move || kubelet.stop_pod(&stopped));
    scene.runtime.node().wait_for_call("DEL net2 slow");
    scene.runtime.stop_containerd(Signal::SIGKILL);
    let answer = attempt.join().expect("the thread ends");
    answer.expect_err("containerd is dead");

    scene.runtime.start_containerd();
    hold.release();
    scene.kubelet().delete_pod(&id);
    scene.assert_clean();
}
