//! Pods: where they run, and what their network-status says of their interfaces.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::NETWORK_STATUS;

/// The older name of the annotation.
const OLDER: &str = "k8s.v1.cni.cncf.io/networks-status";

/// Namespace and name of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::migrate) struct PodName {
    pub(in crate::migrate) namespace: String,
    pub(in crate::migrate) name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::migrate) struct PodSeen {
    pub(in crate::migrate) uid: String,
    pub(in crate::migrate) node: String,
    /// Whether none of its containers runs or will run again.
    pub(in crate::migrate) has_ended: bool,
    pub(in crate::migrate) interfaces: Vec<Interface>,
}

/// An element of network-status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::migrate) struct Interface {
    /// NAMESPACE/NAME of a NetworkAttachmentDefinition, or the default network's name.
    pub(in crate::migrate) name: String,
    pub(in crate::migrate) interface: String,
    pub(in crate::migrate) ips: Vec<IpAddr>,
}

impl PodSeen {
    /// Reads an object.
    ///
    /// # Errors
    /// If it has no name.
    pub(super) fn read(object: &Value) -> Result<(PodName, PodSeen), String> {
        let text = |path: &str| {
            let value = object.pointer(path).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let name = PodName {
            namespace: match text("/metadata/namespace") {
                namespace if namespace.is_empty() => "default".to_owned(),
                namespace => namespace,
            },
            name: text("/metadata/name"),
        };
        if name.name.is_empty() {
            return Err("it has no name".to_owned());
        }
        let annotations = object.pointer("/metadata/annotations");
        let status = [NETWORK_STATUS, OLDER]
            .into_iter()
            .find_map(|key| annotations?.get(key)?.as_str());
        // Without a status that can be read, whereabouts' own objects still say most.
        let elements: Vec<Value> = status
            .and_then(|status| serde_json::from_str(status).ok())
            .unwrap_or_default();
        let pod = PodSeen {
            uid: text("/metadata/uid"),
            node: text("/spec/nodeName"),
            has_ended: matches!(text("/status/phase").as_str(), "Succeeded" | "Failed"),
            interfaces: elements
                .into_iter()
                .filter_map(|element| serde_json::from_value(element).ok())
                .collect(),
        };
        Ok((name, pod))
    }

    /// The interface that has an address.
    pub(in crate::migrate) fn with_address(&self, address: IpAddr) -> Option<&Interface> {
        let mut all = self.interfaces.iter();
        all.find(|one| one.ips.contains(&address))
    }

    /// An interface by its name.
    pub(in crate::migrate) fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|one| one.interface == name)
    }
}
