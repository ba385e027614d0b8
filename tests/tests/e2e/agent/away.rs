//! The agent killed, hanging, not there: what meta-cni does without it.

use e2e::kube::PLUGIN;
use e2e::{Agent, ApiServer, Node, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::agent::fixture::{PATIENCE, network, node};

/// The requests of the plugin itself about a namespace.
fn plugin_requests(api: &ApiServer, namespace: &str) -> Vec<String> {
    api.requests_about(PLUGIN, api.plugin_kubeconfig(), namespace)
}

#[test]
fn with_a_kubeconfig_the_api_server_is_asked_while_the_agent_is_away() {
    let api = ApiServer::shared();
    let node = Node::new("instead").with_api(api);
    let mut agent = Agent::start(&node, api);
    api.nad("instead", "red", network(&node, "red", 1));
    let first = node.pod("instead", "first").networks("red").create_in(api);
    node.add(&first).ok();
    assert_eq!(plugin_requests(api, "instead"), [""; 0]);

    agent.kill9();
    let second = node.pod("instead", "second").networks("red").create_in(api);
    node.add(&second).ok();
    assert!(api.network_status("instead", "second").is_array());
    let asked = plugin_requests(api, "instead");
    assert!(
        asked.contains(&"patch pods/second/status".to_owned()),
        "{asked:?}"
    );
    node.del(&first).ok();
    node.del(&second).ok();

    agent.restart();
    let third = node.pod("instead", "third").networks("red").create_in(api);
    node.add(&third).ok();
    assert_eq!(plugin_requests(api, "instead"), asked);
    node.del(&third).ok();
    node.assert_clean();
}

#[test]
fn with_a_kubeconfig_an_agent_that_hangs_holds_nobody_up_for_long() {
    let api = ApiServer::shared();
    let node = Node::new("hangs").with_api(api);
    let mut agent = Agent::start(&node, api);
    let pod = node.pod("hangs", "web").create_in(api);
    agent.signal(Signal::SIGSTOP);
    let added = node.add(&pod);
    agent.signal(Signal::SIGCONT);
    added.ok();
    let asked = plugin_requests(api, "hangs");
    assert!(asked.contains(&"get pods/web".to_owned()), "{asked:?}");
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn without_a_kubeconfig_add_waits_for_the_agent() {
    let api = ApiServer::shared();
    let node = Node::new("waits").with_agent();
    let mut agent = Agent::stopped(&node, api, &[]);
    let pod = node.pod("waits", "web").create_in(api);
    let adding = node
        .call("ADD")
        .conf(json!({ "agentTimeoutSeconds": 60 }))
        .pod(&pod)
        .spawn();
    agent.restart();
    adding.wait().ok();
    assert!(api.network_status("waits", "web").is_array());
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn without_anybody_to_ask_add_ends_with_try_again_later_and_del_does_not_wait() {
    let ((node, mut agent), api) = (node("nobody"), ApiServer::shared());
    let pod = node.pod("nobody", "web").create_in(api);
    node.add(&pod).ok();
    agent.kill9();
    // An hour, so that whoever waited would be seen to.
    let node = node.conf(json!({ "agentTimeoutSeconds": 3600 }));
    node.del(&pod).ok();
    let unknown = node.pod("nobody", "unknown").create_in(api);
    node.del(&unknown).ok();
    let status = node.status();
    let socket = node.agent_socket().display().to_string();
    status.fails(50, &[&socket, "meta-cnid"]);

    let node = node.conf(json!({ "agentTimeoutSeconds": 1 }));
    let again = node.pod("nobody", "again").create_in(api);
    node.add(&again)
        .fails(11, &["nobody/again", &socket, "meta-cnid"]);
    node.assert_clean();
}

#[test]
fn a_node_that_had_an_agent_waits_for_it_though_no_configuration_names_it() {
    let api = ApiServer::shared();
    let node = Node::new("had").with_agent();
    let node = node.conf(json!({ "agentSocket": null, "agentTimeoutSeconds": 1 }));
    let mut agent = Agent::start(&node, api);
    let pod = node.pod("had", "web").create_in(api);
    node.add(&pod).ok();
    assert!(api.network_status("had", "web").is_array());
    node.del(&pod).ok();
    assert!(agent.stop().success());
    let again = node.pod("had", "again").create_in(api);
    let socket = node.agent_socket().display().to_string();
    node.add(&again)
        .fails(11, &["had/again", &socket, "meta-cnid"]);
    node.assert_clean();
}

#[test]
fn an_agent_that_is_stopped_during_an_add_does_not_wait_for_its_end() {
    let (node, api) = (Node::new("stopped").with_agent(), ApiServer::shared());
    let mut agent = Agent::start_with(&node, api, &["--shutdown-seconds=3600"]);
    let hold = node.folder().join("hold");
    std::fs::write(&hold, "").unwrap();
    let slow = json!({ "hold": hold, "on": ["ADD"], "link": true });
    api.nad("stopped", "slow", node.recording("slow", slow));
    let pod = node.pod("stopped", "web").networks("slow").create_in(api);
    let adding = node.call("ADD").pod(&pod).spawn();
    node.wait_for_call("ADD net1 slow");
    // The ADD has a connection that it does not look at while its plugin runs.
    assert!(agent.stop().success());
    agent.restart();
    std::fs::remove_file(&hold).unwrap();
    adding.wait().ok();
    assert!(api.network_status("stopped", "web").is_array());
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn an_agent_that_is_killed_during_an_add_does_not_undo_it() {
    let ((node, mut agent), api) = (node("midway"), ApiServer::shared());
    let hold = node.folder().join("hold");
    std::fs::write(&hold, "").unwrap();
    let slow = json!({ "hold": hold, "on": ["ADD"], "link": true });
    api.nad("midway", "slow", node.recording("slow", slow));
    let pod = node.pod("midway", "web").networks("slow").create_in(api);
    let adding = node.call("ADD").pod(&pod).spawn();
    node.wait_for_call("ADD net1 slow");
    agent.kill9();
    std::fs::remove_file(&hold).unwrap();
    agent.restart();
    adding.wait().ok();
    assert!(api.network_status("midway", "web").is_array());
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn with_the_api_server_away_nothing_stays_of_an_add_whose_status_cannot_be_written() {
    let api = ApiServer::start();
    let node = Node::new("status-away").with_agent();
    let agent = Agent::start(&node, &api);
    api.nad("default", "red", network(&node, "red", 1));
    let pod = node.pod("default", "web").networks("red").create_in(&api);
    wait_until("the agent knows both", PATIENCE, || {
        let pods = agent.metric("meta_cni_watched_objects{kind=\"pods\"}");
        let networks =
            agent.metric("meta_cni_watched_objects{kind=\"network-attachment-definitions\"}");
        (pods == 1.0 && networks == 1.0).then_some(())
    });
    api.stop();
    let added = node.add(&pod);
    added.fails(11, &["default/web", "network-status", "API server"]);
    node.assert_clean();
    api.restart();
    node.add(&pod).ok();
    node.del(&pod).ok();
    node.assert_clean();
}
