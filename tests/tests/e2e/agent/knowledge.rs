//! What an ADD costs at the API server, and what it knows.

use e2e::{ApiServer, wait_until};
use serde_json::{Value, json};

use crate::agent::fixture::{PATIENCE, network, node, requests};

#[test]
fn an_add_costs_one_patch_and_no_get() {
    let ((node, agent), api) = (node("cost"), ApiServer::shared());
    for (name, number) in [("red", 1), ("blue", 2)] {
        api.nad("cost", name, network(&node, name, number));
    }
    let pod = node.pod("cost", "web").networks("red,blue").create_in(api);
    wait_until("the agent knows the pod and its networks", PATIENCE, || {
        let pods = agent.metric("meta_cni_watched_objects{kind=\"pods\"}") >= 1.0;
        let reported =
            agent.metric("meta_cni_watched_objects{kind=\"network-attachment-definitions\"}");
        (pods && reported >= 2.0).then_some(())
    });
    let before = agent.metric("meta_cni_api_requests_total{verb=\"get\",code=\"200\"}");
    node.add(&pod).ok();
    let posted = wait_until("three Events", PATIENCE, || {
        let events = api.events("cost");
        (events.len() == 3).then_some(events)
    });
    assert!(
        posted
            .iter()
            .all(|event| event["reason"] == "AddedInterface")
    );
    assert_eq!(
        requests(api, "cost"),
        [
            "create events",
            "create events",
            "create events",
            "patch pods/web/status"
        ]
    );
    let patches = agent.metric("meta_cni_api_requests_total{verb=\"patch\",code=\"200\"}");
    let gets = agent.metric("meta_cni_api_requests_total{verb=\"get\",code=\"200\"}") - before;
    assert_eq!((patches, gets), (1.0, 0.0));
    let status = api.network_status("cost", "web");
    let interfaces: Vec<&Value> = status
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["interface"])
        .collect();
    assert_eq!(interfaces, ["eth0", "net1", "net2"]);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn a_pod_and_a_network_that_were_just_made_are_found() {
    let ((node, _agent), api) = (node("fresh"), ApiServer::shared());
    for round in 0..20 {
        let name = format!("net-{round}");
        api.nad("fresh", &name, network(&node, &name, round));
        let pod = node
            .pod("fresh", &format!("web-{round}"))
            .networks(&name)
            .create_in(api);
        node.add(&pod).ok();
        node.del(&pod).ok();
    }
    node.assert_clean();
}

#[test]
fn a_pod_that_appears_late_is_waited_for_and_one_that_does_not_is_try_again_later() {
    let ((node, _agent), api) = (node("late"), ApiServer::shared());
    api.namespace("late");
    let pod = node.pod("late", "web").without_manifest().create();
    node.add(&pod).fails(11, &["there is no pod late/web"]);
    let made_again = node.pod("late", "again").create_in(api);
    let old = node.pod("late", "again").without_manifest().create();
    assert_ne!(made_again.uid, old.uid);
    node.add(&old).fails(11, &["late/again", "UID"]);
    node.assert_clean();
}

#[test]
fn a_missing_or_changed_network_is_answered_as_it_is_now() {
    let ((node, _agent), api) = (node("changed"), ApiServer::shared());
    let pod = node.pod("changed", "web").networks("red").create_in(api);
    node.add(&pod)
        .fails(7, &["changed/red", "there is no such"]);
    let event = wait_until("an Event", PATIENCE, || api.events("changed").pop());
    assert_eq!(event["reason"], "FailedAttach");
    api.nad("changed", "red", network(&node, "red", 1));
    node.add(&pod).ok();
    node.del(&pod).ok();
    api.nad("changed", "red", json!("{broken}"));
    wait_until("the change is known", PATIENCE, || {
        let outcome = node.add(&pod);
        if outcome.status.success() {
            node.del(&pod).ok();
            return None;
        }
        outcome.fails(7, &["changed/red"]);
        Some(())
    });
    node.assert_clean();
}

/// Requests of the agent for networks of a namespace.
fn gets(namespace: &str) -> usize {
    let all = requests(ApiServer::shared(), namespace);
    let is_get = |request: &&String| request.starts_with("get network-attachment-definitions");
    all.iter().filter(is_get).count()
}

#[test]
fn networks_that_are_missing_cost_one_request_each_and_none_the_second_time() {
    let ((node, _agent), api) = (node("absent"), ApiServer::shared());
    let names = |number: usize| {
        let names: Vec<_> = (0..number).map(|number| format!("n{number}")).collect();
        names.join(",")
    };
    let many = node
        .pod("absent", "many")
        .networks(&names(1000))
        .create_in(api);
    node.add(&many).fails(7, &["names 1000 networks"]);
    assert_eq!(gets("absent"), 0);
    let pod = node
        .pod("absent", "web")
        .networks(&names(64))
        .create_in(api);
    for _ in 0..2 {
        node.add(&pod).fails(7, &["absent/n0", "there is no such"]);
        assert_eq!(gets("absent"), 64);
    }
    node.assert_clean();
}

#[test]
fn a_network_that_is_too_large_is_known_by_its_size() {
    let ((node, agent), api) = (node("large"), ApiServer::shared());
    let pad = "a".repeat(64 << 10);
    api.nad("large", "red", node.recording("red", json!({ "pad": pad })));
    wait_until("the agent knows the network", PATIENCE, || {
        let reported =
            agent.metric("meta_cni_watched_objects{kind=\"network-attachment-definitions\"}");
        (reported >= 1.0).then_some(())
    });
    let pod = node.pod("large", "web").networks("red").create_in(api);
    node.add(&pod).fails(7, &["large/red", "at most 65536"]);
    node.assert_clean();
}

#[test]
fn a_pod_that_is_made_again_gets_its_own_networks() {
    let ((node, _agent), api) = (node("remade"), ApiServer::shared());
    api.nad("remade", "red", network(&node, "red", 1));
    for networks in ["", "red", ""] {
        let pod = node.pod("remade", "web").networks(networks).create_in(api);
        node.add(&pod).ok();
        let expected: &[&str] = if networks.is_empty() {
            &["lo", "eth0"]
        } else {
            &["lo", "eth0", "net1"]
        };
        assert_eq!(pod.netns().links(), expected);
        node.del(&pod).ok();
        api.delete_pod("remade", "web");
    }
    node.assert_clean();
}
