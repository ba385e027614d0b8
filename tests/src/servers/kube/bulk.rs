//! Many objects at once, as a cluster has them.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use kube::api::{Api, PostParams};
use kube::core::DynamicObject;
use serde_json::Value;

use super::objects::uid_of;
use crate::servers::kube::{ApiServer, block_on};
use crate::servers::manifests;

/// Requests that are made at the same time.
const AT_ONCE: usize = 32;

impl ApiServer {
    /// Makes pods of one namespace, each given by its name and its node, all with the same annotations; gives their UIDs
    /// in the same order.
    ///
    /// # Panics
    /// When the server refuses one, or one is there already.
    pub fn create_pods<'a>(
        &self,
        namespace: &str,
        annotations: &BTreeMap<String, String>,
        pods: impl IntoIterator<Item = (String, &'a str)>,
    ) -> Vec<String> {
        self.namespace(namespace);
        let manifest = |(name, node): (String, &str)| {
            manifests::bound_manifest(namespace, &name, annotations, node)
        };
        let pods = pods.into_iter().map(manifest);
        let made = create_all(&self.api("v1", "Pod", namespace), pods);
        made.iter().map(uid_of).collect()
    }

    /// Makes NetworkAttachmentDefinitions of one namespace, each given by its name and its configuration.
    ///
    /// # Panics
    /// When the server refuses one, or one is there already.
    pub fn create_nads(
        &self,
        namespace: &str,
        networks: impl IntoIterator<Item = (String, Value)>,
    ) {
        self.install_nad_crd();
        self.namespace(namespace);
        let kind = "NetworkAttachmentDefinition";
        let api = self.api("k8s.cni.cncf.io/v1", kind, namespace);
        let manifest =
            |(name, config): (String, Value)| manifests::nad_manifest(namespace, &name, config);
        create_all(&api, networks.into_iter().map(manifest));
    }
}

/// What the server made of the objects, in their order.
fn create_all(api: &Api<DynamicObject>, objects: impl Iterator<Item = Value>) -> Vec<Value> {
    let create = async |object: Value| {
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        let made = api.create(&PostParams::default(), &object).await;
        let made = made.unwrap_or_else(|error| panic!("create {object:?}: {error}"));
        serde_json::to_value(made).expect("objects are JSON")
    };
    block_on(
        stream::iter(objects)
            .map(create)
            .buffered(AT_ONCE)
            .collect(),
    )
}
