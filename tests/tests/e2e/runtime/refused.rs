//! Pods that do not start: the error that a kubelet gets, and what is left.

use e2e::Node;
use e2e::runtime::Release;
use serde_json::Value;
use tonic::Status;

use crate::runtime::fixture::Scene;

/// What a kubelet puts into the Event `FailedCreatePodSandBox`.
#[track_caller]
fn refusal(scene: &Scene, name: &str, uid: &str) -> Status {
    let answer = scene.kubelet().run_pod(&scene.namespace, name, uid);
    answer.expect_err("the sandbox was made")
}

#[track_caller]
fn assert_one_line_saying(status: &Status, words: &[&str]) {
    let text = status.message();
    assert!(!text.trim().contains('\n'), "{text}");
    for word in words {
        assert!(text.contains(word), "it does not say {word:?}: {text}");
    }
}

#[test]
fn a_missing_network_is_reported_in_one_line_and_the_next_attempt_works_once_it_exists() {
    let scene = Scene::new("missing");
    let uid = scene.create_pod("web", "storage,nowhere");
    let status = refusal(&scene, "web", &uid);
    assert_one_line_saying(
        &status,
        &[
            "plugin type=\"meta-cni\" failed (add)",
            "missing/web",
            "missing/nowhere",
            "there is no such",
        ],
    );
    scene.assert_clean();

    let storage = scene
        .runtime
        .node()
        .side_bridge("br-nowhere", &["10.40.0.0/24"]);
    scene.api.nad("missing", "nowhere", storage);
    let sandbox = scene.kubelet().run_pod("missing", "web", &uid);
    let sandbox = sandbox.expect("the network is there now");
    scene.runtime.netns(&sandbox).ping("10.40.0.1");
    scene.kubelet().delete_pod(&sandbox.id);
    scene.assert_clean();
}

#[test]
fn an_unreachable_address_service_is_reported_and_nothing_is_left_of_the_pod() {
    let mut scene = Scene::new("away");
    let uid = scene.create_pod("web", "storage,telemetry");
    scene.ipam.kill9();
    let status = refusal(&scene, "web", &uid);
    assert_one_line_saying(&status, &["away/web", "ipam"]);
    scene.ipam.restart();
    let pod = scene.run("next");
    scene.delete(&pod);
    scene.assert_clean();
}

#[test]
fn a_pod_that_the_api_server_does_not_know_is_reported() {
    let scene = Scene::on(Node::new("unknown"), Release::Pinned, "unknown");
    let status = refusal(&scene, "ghost", "5e0c7f6e-0000-4000-8000-000000000009");
    assert_one_line_saying(&status, &["there is no pod unknown/ghost"]);
    scene.assert_clean();
    assert_eq!(scene.leases(), [] as [Value; 0]);
}
