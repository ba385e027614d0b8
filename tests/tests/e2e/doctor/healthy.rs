//! A node with nothing wrong: no finding, with a folder, with the API server, and with an agent.

use e2e::{Agent, ApiServer, IpamServer, Node};
use serde_json::json;

use crate::doctor::scene::{Scene, address, attached, leasing, pool};

#[test]
fn a_healthy_node_yields_no_finding() {
    let server = IpamServer::start();
    pool(&server, "blue", "10.2.0.0/24");
    let scene = Scene::new("healthy");
    let node = &scene.node;
    node.master("up0");
    let by_another_name = "ip link property add dev up0 altname storage-of-rack-17";
    node.host().sh(by_another_name);
    let mut macvlan = node.macvlan("storage-of-rack-17", &["10.3.0.0/24", "fd00:3::/64"]);
    macvlan["mtu"] = json!(1500);
    node.nad(
        "default",
        "red",
        node.list(&[macvlan, json!({ "type": "tuning" })]),
    );
    node.nad(
        "default",
        "blue",
        leasing(node, &address(&server), &["blue"]),
    );
    attached(node, "web", "red, blue");
    node.pod("default", "next").networks("blue@disk").create();

    let report = scene.report(&[]);
    assert_eq!(report["findings"], json!([]), "{report:#}");
    assert_eq!(report["notLookedAt"], json!([]), "{report:#}");
    let looked = &report["lookedAt"];
    for (what, number) in [("networks", 3), ("pods", 2), ("records", 1)] {
        assert_eq!(looked[what], number, "{looked:#}");
    }
    for plugin in ["bridge", "macvlan", "tuning", "host-local", "meta-ipam"] {
        assert!(looked["plugins"][plugin].is_array(), "{looked:#}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        looked["versions"],
        json!({ "doctor": version, "plugin": version })
    );
    assert_eq!(looked["kernel"]["bridge"], true, "{looked:#}");

    let output = scene.doctor(&[]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("0 faults, 0 warnings\n"), "{text}");
}

#[test]
fn with_the_api_server_pods_of_records_are_looked_at_and_with_the_right_to_list_all_are() {
    let api = ApiServer::shared();
    let node = Node::new("api")
        .with_api(api)
        .conf(json!({ "agentSocket": "" }));
    let scene = Scene::of(node);
    let node = &scene.node;
    api.nad(
        "healthy",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24"]),
    );
    let pod = node.pod("healthy", "web").networks("blue").create_in(api);
    node.add(&pod).ok();
    node.pod("healthy", "next")
        .networks("missing")
        .create_in(api);

    let report = scene.report(&[]);
    assert_eq!(report["findings"], json!([]), "{report:#}");
    assert_eq!(report["lookedAt"]["pods"], 1, "{report:#}");
    let not = report["notLookedAt"].as_array().expect("a list");
    assert_eq!(
        not.len(),
        2,
        "pods and networks cannot be listed: {report:#}"
    );

    let admin = format!("--kubeconfig={}", api.kubeconfig().display());
    let report = scene.report(&[&admin]);
    assert_eq!(report["lookedAt"]["pods"], 2, "{report:#}");
    assert_eq!(report["notLookedAt"], json!([]), "{report:#}");
    let causes = scene.causes(&[&admin]);
    let cause = "network healthy/missing: there is no such NetworkAttachmentDefinition";
    assert!(causes[0].starts_with(cause), "{causes:?}");
    node.del(&pod).ok();
}

#[test]
fn with_an_agent_its_version_is_reported_and_it_is_asked_for_pods() {
    let api = ApiServer::shared();
    let scene = Scene::of(Node::new("agent").with_agent());
    let node = &scene.node;
    let agent = Agent::start(node, api);
    api.nad(
        "agent",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24"]),
    );
    let pod = node.pod("agent", "web").networks("blue").create_in(api);
    node.add(&pod).ok();
    let report = scene.report(&[]);
    assert_eq!(report["findings"], json!([]), "{report:#}");
    assert_eq!(report["lookedAt"]["pods"], 1, "{report:#}");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        report["lookedAt"]["versions"]["agent"], version,
        "{report:#}"
    );
    node.del(&pod).ok();
    drop(agent);
}
