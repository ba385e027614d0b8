//! Pods of a dump: where they run, and what their network-status says of their interfaces.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use crate::labels::PodName;

/// The annotation that Multus writes, and its older name.
const STATUS: [&str; 2] = [
    "k8s.v1.cni.cncf.io/network-status",
    "k8s.v1.cni.cncf.io/networks-status",
];

/// Pods by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<(String, String), Pod>);

/// A pod.
#[derive(Debug, Default)]
pub(super) struct Pod {
    pub(super) uid: String,
    pub(super) node: String,
    pub(super) interfaces: Vec<Interface>,
}

/// An element of network-status.
#[derive(Debug, Deserialize)]
pub(super) struct Interface {
    /// NAMESPACE/NAME of a NetworkAttachmentDefinition, or the default network's name.
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) interface: String,
    #[serde(default)]
    pub(super) ips: Vec<IpAddr>,
}

impl Pods {
    /// Adds an object.
    pub(super) fn add(&mut self, object: &Value) {
        let text = |path: &str| {
            let value = object.pointer(path).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let annotations = object.pointer("/metadata/annotations");
        let status = STATUS
            .iter()
            .find_map(|name| annotations?.get(*name)?.as_str());
        // Without a status that can be read, its networks and the IPPools still say most.
        let elements: Vec<Value> = status
            .and_then(|status| serde_json::from_str(status).ok())
            .unwrap_or_default();
        let pod = Pod {
            uid: text("/metadata/uid"),
            node: text("/spec/nodeName"),
            interfaces: elements
                .into_iter()
                .filter_map(|element| serde_json::from_value(element).ok())
                .collect(),
        };
        let name = (text("/metadata/namespace"), text("/metadata/name"));
        self.0.insert(name, pod);
    }

    /// A pod by its name.
    pub(super) fn get(&self, name: &PodName) -> Option<&Pod> {
        self.0.get(&(name.namespace.clone(), name.name.clone()))
    }
}

impl Pod {
    /// The interface that has an address.
    pub(super) fn with_address(&self, address: IpAddr) -> Option<&Interface> {
        let mut all = self.interfaces.iter();
        all.find(|one| one.ips.contains(&address))
    }

    /// An interface by its name.
    pub(super) fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|one| one.interface == name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_its_node_and_its_interfaces_as_far_as_they_can_be_read() {
        let mut pods = Pods::default();
        let status = r#"[{"name": "kindnet", "ips": ["10.244.0.5"], "default": true},
            {"name": "ns/blue", "interface": "net1", "ips": ["10.20.0.7", "fd00:20::7"]}, {"ips": "?"}]"#;
        pods.add(&json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "u1",
                "annotations": {"k8s.v1.cni.cncf.io/network-status": status}},
            "spec": {"nodeName": "n1"}
        }));
        pods.add(&json!({"metadata": {"name": "bare", "namespace": "ns"}, "spec": {}}));
        let pod = |name: &str| pods.get(&crate::labels::pod(name).expect("a name"));
        let web = pod("ns/web").expect("there");
        assert_eq!((web.node.as_str(), web.uid.as_str()), ("n1", "u1"));
        assert_eq!(web.interfaces.len(), 2);
        let address = "fd00:20::7".parse().expect("an address");
        assert_eq!(
            web.with_address(address).map(|at| at.interface.as_str()),
            Some("net1")
        );
        assert_eq!(
            web.interface("net1").map(|at| at.name.as_str()),
            Some("ns/blue")
        );
        assert!(pod("ns/bare").is_some_and(|pod| pod.interfaces.is_empty()));
        assert!(pod("ns/none").is_none());
    }
}
