//! What the agent sees to by itself: annotations that are not as recorded, and sandboxes that are gone.

use std::fs;
use std::time::Duration;

use e2e::{Agent, ApiServer, Node, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::agent::fixture::{PATIENCE, network, node};

/// A record is left alone for ten seconds after its ADD; then the agent compares every second.
const REPAIRED: Duration = Duration::from_secs(60);

const EVERY_SECOND: &[&str] = &["--repair-interval-seconds=1"];

fn status_of(api: &ApiServer, namespace: &str) -> Option<Value> {
    Some(api.network_status(namespace, "web")).filter(Value::is_array)
}

#[test]
fn a_status_that_could_not_be_written_is_written_when_the_agent_and_the_api_server_are_back() {
    let api = ApiServer::start();
    let node = Node::new("repair").with_agent();
    let node = node.conf(json!({ "onStatusFailure": "warn", "agentTimeoutSeconds": 1 }));
    let mut agent = Agent::start_with(&node, &api, EVERY_SECOND);
    api.nad("default", "red", network(&node, "red", 1));
    let pod = node.pod("default", "web").networks("red").create_in(&api);
    wait_until("the agent knows the pod", PATIENCE, || {
        let pods = agent.metric("meta_cni_watched_objects{kind=\"pods\"}");
        let networks =
            agent.metric("meta_cni_watched_objects{kind=\"network-attachment-definitions\"}");
        (pods == 1.0 && networks == 1.0).then_some(())
    });
    api.stop();
    node.add(&pod).ok();
    agent.kill9();
    api.restart();
    assert_eq!(status_of(&api, "default"), None);
    agent.restart();
    let status = wait_until("the repair", REPAIRED, || status_of(&api, "default"));
    assert_eq!(status[1]["interface"], "net1");
    // The annotation is seen before its write has returned to the agent.
    wait_until("the repair is counted", PATIENCE, || {
        (agent.metric("meta_cni_repairs_total") == 1.0).then_some(())
    });
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn an_annotation_that_somebody_changed_is_as_recorded_again() {
    let api = ApiServer::shared();
    let node = Node::new("tampered").with_agent();
    let agent = Agent::start_with(&node, api, EVERY_SECOND);
    let pod = node.pod("tampered", "web").create_in(api);
    node.add(&pod).ok();
    let right = status_of(api, "tampered").expect("it was written");
    let other =
        json!({ "metadata": { "annotations": { "k8s.v1.cni.cncf.io/network-status": "[]" } } });
    api.patch_pod("tampered", "web", &other);
    wait_until("the repair", REPAIRED, || {
        (status_of(api, "tampered").as_ref() == Some(&right)).then_some(())
    });
    node.del(&pod).ok();
    drop(agent);
    node.assert_clean();
}

#[test]
fn with_the_agent_killed_add_works_through_the_api_server_and_del_works() {
    let api = ApiServer::shared();
    let node = Node::new("killed").with_api(api);
    let mut agent = Agent::start(&node, api);
    agent.kill9();
    let pod = node.pod("killed", "web").create_in(api);
    node.add(&pod).ok();
    assert!(status_of(api, "killed").is_some());
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn a_sandbox_that_was_marked_is_deleted_behind_the_next_call() {
    let ((node, agent), api) = (node("orphan"), ApiServer::shared());
    api.nad("orphan", "red", network(&node, "red", 1));
    let orphan = node.pod("orphan", "gone").networks("red").create_in(api);
    let kept = node.pod("orphan", "kept").networks("red").create_in(api);
    node.add(&orphan).ok();
    node.add(&kept).ok();
    let marks = node.state_dir().join("orphans");
    fs::create_dir(&marks).unwrap();
    fs::write(marks.join(&orphan.container_id), "").unwrap();
    fs::write(marks.join("never-recorded"), "").unwrap();
    node.status().ok();
    wait_until("the orphan is deleted", PATIENCE, || {
        let left = fs::read_dir(&marks).unwrap().count();
        (left == 0).then_some(())
    });
    assert_eq!(orphan.netns().links(), ["lo"]);
    assert_eq!(kept.netns().links(), ["lo", "eth0", "net1"]);
    node.del(&kept).ok();
    drop(agent);
    node.assert_clean();
}

#[test]
fn the_agent_counts_the_sandboxes_that_could_not_be_deleted() {
    let ((node, agent), api) = (node("failing"), ApiServer::shared());
    let broken = node.folder().join("broken");
    fs::write(&broken, "").unwrap();
    let mut red = network(&node, "red", 1);
    red["record"]["while"] = json!(broken);
    red["record"]["failOn"] = json!({ "DEL": { "code": 7, "msg": "no" } });
    api.nad("failing", "red", red);
    let pod = node.pod("failing", "web").networks("red").create_in(api);
    node.add(&pod).ok();
    let counted = |number: f64| {
        wait_until("the agent counts", PATIENCE, || {
            (agent.metric("meta_cni_deletions_failing") == number).then_some(())
        });
    };
    node.del(&pod).error();
    counted(1.0);
    fs::remove_file(&broken).unwrap();
    node.del(&pod).ok();
    counted(0.0);
    drop(agent);
    node.assert_clean();
}

#[test]
fn a_hung_agent_is_no_reason_for_del_to_wait() {
    let ((node, mut agent), api) = (node("hung"), ApiServer::shared());
    let pod = node.pod("hung", "web").create_in(api);
    node.add(&pod).ok();
    agent.signal(Signal::SIGSTOP);
    let deleted = node.del(&pod);
    agent.signal(Signal::SIGCONT);
    deleted.ok();
    node.assert_clean();
}
