//! Faults of those who know of pods and networks: the agent, the API server and our credentials there.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use e2e::kube::PLUGIN;
use e2e::{Agent, ApiServer, Node};
use serde_json::{Value, json};

use super::{Fault, fault, warning};
use crate::doctor::scene::Scene;

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "agent's socket missing",
        &["the agent's socket ", "agent.sock is not there"],
        no_agent,
    ),
    fault(
        "agent's socket stale",
        &["nobody listens on the agent's socket "],
        stale_agent,
    ),
    fault(
        "something else on agent's socket",
        &["agent.sock does not answer as an agent"],
        odd_agent,
    ),
    warning(
        "agent killed, API server there",
        &["nobody listens on the agent's socket "],
        killed_agent,
    ),
    fault(
        "API server away",
        &["the API server https://127.0.0.1:1/ does not serve us: Connection refused"],
        api_away,
    ),
    fault(
        "token expired",
        &["the token of the kubeconfig has expired"],
        expired_token,
    ),
    fault(
        "token is none",
        &[
            "the API server https://",
            " does not serve us: HTTP 401 Unauthorized",
        ],
        wrong_token,
    ),
    fault(
        "token without rights",
        &[
            "our credentials may not get pods, get network-attachment-definitions, patch pods/status",
        ],
        no_rights,
    ),
    fault(
        "kubeconfig missing",
        &["kubeconfig ", "absent.kubeconfig", "No such file"],
        no_kubeconfig,
    ),
    fault(
        "nobody knows of networks",
        &["nobody knows which networks pods ask for: the configuration has no kubeconfig"],
        nobody_knows,
    ),
    fault(
        "nobody knows of networks, and a pod came",
        &["nobody knows which networks pods ask for: the configuration has no kubeconfig"],
        nobody_knew,
    ),
    fault(
        "networksDir missing",
        &["the folder ", "/networks: No such file"],
        no_folder,
    ),
];

/// A node that asks its agent and nobody else.
fn agent_only(name: &str) -> Scene {
    let scene = Scene::of(Node::new(name).with_agent());
    let socket = scene.node.agent_socket();
    fs::create_dir(socket.parent().expect("a folder")).expect("make a folder");
    scene
}

/// A node that asks the API server and no agent, with a kubeconfig that was changed.
fn api_only(name: &str, change: impl FnOnce(&ApiServer, &mut Value)) -> Scene {
    let api = ApiServer::shared();
    let node = Node::new(name).with_api(api);
    let text = fs::read_to_string(api.plugin_kubeconfig()).expect("read a kubeconfig");
    let mut kubeconfig: Value = process::yaml::read(&text).expect("a kubeconfig is YAML");
    change(api, &mut kubeconfig);
    let path = node.folder().join("changed.kubeconfig");
    let text = process::yaml::write(&kubeconfig).expect("JSON is YAML");
    fs::write(&path, text).expect("write a kubeconfig");
    Scene::of(node.conf(json!({ "kubeconfig": path, "agentSocket": "" })))
}

fn with_token(name: &str, token: impl FnOnce(&ApiServer) -> String) -> Scene {
    api_only(name, |api, kubeconfig| {
        kubeconfig["users"][0]["user"] = json!({ "token": token(api) });
    })
}

fn no_agent() -> Scene {
    agent_only("no-agent")
}

fn stale_agent() -> Scene {
    let scene = agent_only("stale");
    drop(UnixListener::bind(scene.node.agent_socket()).expect("listen on a socket"));
    scene
}

fn odd_agent() -> Scene {
    let scene = agent_only("odd");
    let listener = UnixListener::bind(scene.node.agent_socket()).expect("listen on a socket");
    scene.keep(listener)
}

fn killed_agent() -> Scene {
    let api = ApiServer::shared();
    let node = Node::new("killed").with_api(api);
    Agent::start(&node, api).kill9();
    Scene::of(node)
}

fn api_away() -> Scene {
    api_only("away", |_, kubeconfig| {
        kubeconfig["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    })
}

fn expired_token() -> Scene {
    let end = SystemTime::now() - Duration::from_secs(60);
    with_token("expired", |api| api.token_until(PLUGIN.0, PLUGIN.1, end))
}

fn wrong_token() -> Scene {
    with_token("wrong-token", |_| "nobody".to_owned())
}

fn no_rights() -> Scene {
    with_token("no-rights", |api| api.token("doctor", "nobody"))
}

fn no_kubeconfig() -> Scene {
    let node = Node::new("no-file").with_agent();
    let absent = node.folder().join("absent.kubeconfig");
    Scene::of(node.conf(json!({ "kubeconfig": absent, "agentSocket": "" })))
}

/// A node whose configuration names nobody.
fn nobody(name: &str, more: Value) -> Scene {
    let node = Node::new(name).conf(json!({ "networksDir": null, "agentSocket": "" }));
    Scene::of(node.conf(more))
}

fn nobody_knows() -> Scene {
    let kubelet = tempfile::tempdir().expect("make a folder");
    fs::create_dir(kubelet.path().join("pods")).expect("make a folder");
    nobody("nobody", json!({ "kubeletDir": kubelet.path() })).keep(kubelet)
}

fn nobody_knew() -> Scene {
    let scene = nobody("nobody", json!({}));
    let pod = scene.node.pod("default", "web").create();
    scene.node.add(&pod).error();
    scene
}

fn no_folder() -> Scene {
    let scene = Scene::new("no-folder");
    fs::remove_dir(scene.node.networks_dir()).expect("remove a folder");
    scene
}
