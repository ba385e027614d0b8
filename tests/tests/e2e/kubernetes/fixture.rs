//! What the tests of this rung share: nodes on an API server, the server that may be broken, and what
//! a client sees afterwards.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use e2e::kube::PLUGIN;
use e2e::{ApiServer, Node, Outcome, Pod};
use serde_json::{Value, json};

/// How long anything may take that is not a call of meta-cni.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A node on the API server that all tests share. Each test has namespaces of its own there.
pub(crate) fn node(name: &str) -> Node {
    Node::new(name).with_api(ApiServer::shared())
}

/// The API server that tests stop and pause, one test at a time. It runs again when this is dropped.
pub(crate) struct Faulty(MutexGuard<'static, ApiServer>);

/// Takes it, as soon as no other test has it.
pub(crate) fn faulty() -> Faulty {
    static SERVER: OnceLock<Mutex<ApiServer>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Mutex::new(ApiServer::start()));
    Faulty(server.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Deref for Faulty {
    type Target = ApiServer;

    fn deref(&self) -> &ApiServer {
        &self.0
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.resume();
        if std::net::TcpStream::connect(self.address()).is_err() {
            self.restart();
        }
    }
}

/// The plugin's kubeconfig of a server, changed and written into the node's folder.
pub(crate) fn changed_kubeconfig(
    node: &Node,
    api: &ApiServer,
    change: impl FnOnce(&mut Value),
) -> PathBuf {
    let text = fs::read_to_string(api.plugin_kubeconfig()).expect("read a kubeconfig");
    let mut kubeconfig: Value = process::yaml::read(&text).expect("a kubeconfig is YAML");
    change(&mut kubeconfig);
    let path = node.folder().join("changed.kubeconfig");
    let text = process::yaml::write(&kubeconfig).expect("JSON is YAML");
    fs::write(&path, text).expect("write a kubeconfig");
    path
}

/// Writes what Kubernetes gives to every pod of a ServiceAccount, as namespace and name, into the folder
/// `serviceaccount` of a node.
pub(crate) fn write_service_account(node: &Node, account: (&str, &str)) {
    let (api, folder) = (ApiServer::shared(), node.folder().join("serviceaccount"));
    fs::create_dir(&folder).expect("make a folder");
    let write = |name: &str, text: Vec<u8>| {
        fs::write(folder.join(name), text).expect("write a file");
    };
    write("token", api.token(account.0, account.1).into_bytes());
    write("ca.crt", fs::read(api.ca()).expect("read the authority"));
    write("namespace", account.0.as_bytes().to_vec());
}

/// The requests of the plugin's ServiceAccount about a namespace ([`ApiServer::requests_about`]).
pub(crate) fn requests(api: &ApiServer, namespace: &str) -> Vec<String> {
    api.requests_about(PLUGIN, api.plugin_kubeconfig(), namespace)
}

/// The Events of a namespace as `<type> <reason>` and message, sorted.
pub(crate) fn events(api: &ApiServer, namespace: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut events: Vec<_> = api
        .events(namespace)
        .iter()
        .map(|event| {
            let kind = format!("{} {}", text(&event["type"]), text(&event["reason"]));
            (kind, text(&event["message"]))
        })
        .collect();
    events.sort();
    events
}

/// Code and whole text of a failure: the message, and what did not fit into it.
#[track_caller]
pub(crate) fn failure(outcome: &Outcome) -> (u64, String) {
    let (code, msg, details) = outcome.error();
    let text = format!(
        "{}{}",
        msg.trim_end_matches('…'),
        details.trim_start_matches('…')
    );
    (code, text)
}

/// Asserts that a text says all of these.
#[track_caller]
pub(crate) fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// The interfaces of a pod by name: networks that are attached side by side come in any order.
pub(crate) fn sorted_links(pod: &Pod) -> Vec<String> {
    let mut links = pod.netns().links();
    links.sort();
    links
}

/// The names of a list of objects, for comparing with what is expected.
pub(crate) fn names(list: &Value, key: &str) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts
        .map(|entry| entry[key].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Stops ADD in a network of the recording plugin, until it is released.
pub(crate) struct Hold(PathBuf);

impl Hold {
    pub(crate) fn new(node: &Node) -> Hold {
        let path = node.folder().join("hold");
        fs::write(&path, "").expect("write a file");
        Hold(path)
    }

    /// How that network behaves, see [`Node::recording`].
    pub(crate) fn record(&self) -> Value {
        json!({ "hold": self.0, "on": ["ADD"], "link": true, "ips": ["10.9.0.5/24"] })
    }

    pub(crate) fn release(self) {
        fs::remove_file(&self.0).expect("remove a file");
    }
}
