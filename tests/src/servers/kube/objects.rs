//! Objects in the API server, as a test writes and reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::gvk::GroupVersionKind;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt, discovery};
use serde_json::{Value, json};

use crate::host::wait::wait_until;
use crate::servers::kube::{ApiServer, block_on};
use crate::servers::manifests;

/// How long a kind may take to be served after its definition was made.
const CRD_PATIENCE: Duration = Duration::from_secs(30);

impl ApiServer {
    /// Makes or changes the objects of a YAML text, in its order (server-side apply, by force). After
    /// a CustomResourceDefinition it waits until the kind is served.
    ///
    /// # Panics
    /// When the server refuses one.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        for document in process::yaml::documents(yaml) {
            let object = document.unwrap_or_else(|error| panic!("not YAML: {error}:\n{yaml}"));
            self.apply_value(&object);
        }
    }

    /// The same with one object; gives what the server made of it.
    ///
    /// # Panics
    /// When the server refuses it.
    #[track_caller]
    pub fn apply_value(&self, object: &Value) -> Value {
        let object: DynamicObject = serde_json::from_value(object.clone())
            .unwrap_or_else(|error| panic!("not an object: {error}: {object}"));
        let api = self.api_of(&object);
        let params = PatchParams::apply("e2e").force();
        let applied = block_on(api.patch(&object.name_any(), &params, &Patch::Apply(&object)));
        let applied = applied.unwrap_or_else(|error| panic!("apply {object:?}: {error}"));
        if object
            .types
            .is_some_and(|types| types.kind == "CustomResourceDefinition")
        {
            wait_until("the kind of a CRD", CRD_PATIENCE, || {
                is_served(&api, &applied)
            });
        }
        serde_json::to_value(applied).expect("objects are JSON")
    }

    /// Makes a namespace unless it is there.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn namespace(&self, name: &str) {
        let metadata = json!({ "name": name });
        self.apply_value(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }));
    }

    /// Makes the kind NetworkAttachmentDefinition known, unless it is.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn install_nad_crd(&self) {
        self.crd.call_once(|| self.apply(NAD_CRD));
    }

    /// Makes or changes an AttachmentPolicy of the namespaces that have these labels, with the other fields of its spec;
    /// makes its kind known, unless it is.
    ///
    /// # Panics
    /// When the server refuses it.
    #[track_caller]
    pub fn policy(&self, name: &str, labels: Value, mut spec: Value) {
        self.policy_crd.call_once(|| self.apply(POLICY_CRD));
        spec["namespaceSelector"] = json!({ "matchLabels": labels });
        self.apply_value(&json!({
            "apiVersion": "meta-cni.io/v1alpha1", "kind": "AttachmentPolicy",
            "metadata": { "name": name }, "spec": spec,
        }));
    }

    /// Makes or changes a NetworkAttachmentDefinition; a string is taken as it stands.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn nad(&self, namespace: &str, name: &str, config: Value) {
        self.install_nad_crd();
        self.namespace(namespace);
        self.apply_value(&manifests::nad_manifest(namespace, name, config));
    }

    /// Makes a pod that is bound to a node, and gives its UID.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn create_pod(
        &self,
        namespace: &str,
        name: &str,
        annotations: &BTreeMap<String, String>,
        node: &str,
    ) -> String {
        self.namespace(namespace);
        uid_of(&self.apply_value(&manifests::bound_manifest(
            namespace,
            name,
            annotations,
            node,
        )))
    }

    /// A pod as it stands; `None` if it is not there.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn get_pod(&self, namespace: &str, name: &str) -> Option<Value> {
        let pod = block_on(self.api("v1", "Pod", namespace).get_opt(name)).expect("get a pod");
        pod.map(|pod| serde_json::to_value(pod).expect("objects are JSON"))
    }

    /// The annotation network-status of a pod; `Value::Null` if it has none.
    ///
    /// # Panics
    /// When the pod is not there, or the annotation is not JSON.
    pub fn network_status(&self, namespace: &str, name: &str) -> Value {
        let pod = self.get_pod(namespace, name).expect("the pod is there");
        let status = &pod["metadata"]["annotations"][manifests::NETWORK_STATUS];
        status.as_str().map_or(Value::Null, |text| {
            serde_json::from_str(text).expect("network-status is JSON")
        })
    }

    /// Changes a pod by a JSON merge patch.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn patch_pod(&self, namespace: &str, name: &str, patch: &Value) {
        let api = self.api("v1", "Pod", namespace);
        block_on(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)))
            .expect("patch a pod");
    }

    /// Deletes a pod at once: there is no kubelet to wait for.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn delete_pod(&self, namespace: &str, name: &str) {
        let params = DeleteParams::default().grace_period(0);
        let api = self.api("v1", "Pod", namespace);
        block_on(api.delete(name, &params)).expect("delete a pod");
    }

    /// Deletes a NetworkAttachmentDefinition.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn delete_nad(&self, namespace: &str, name: &str) {
        let api = self.api(
            "k8s.cni.cncf.io/v1",
            "NetworkAttachmentDefinition",
            namespace,
        );
        block_on(api.delete(name, &DeleteParams::default())).expect("delete a NAD");
    }

    /// The Events of a namespace, as they stand, oldest first.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn events(&self, namespace: &str) -> Vec<Value> {
        let api = self.api("v1", "Event", namespace);
        let mut events = block_on(api.list(&ListParams::default()))
            .expect("list Events")
            .items;
        events.sort_by_key(|event| event.metadata.creation_timestamp.clone());
        events
            .into_iter()
            .map(|event| serde_json::to_value(event).expect("objects are JSON"))
            .collect()
    }

    fn api_of(&self, object: &DynamicObject) -> Api<DynamicObject> {
        let types = object.types.clone().expect("an object has a kind");
        let gvk = GroupVersionKind::try_from(types).expect("a kind has a group and version");
        let found = block_on(discovery::pinned_kind(&self.client, &gvk));
        let (resource, capabilities) =
            found.unwrap_or_else(|error| panic!("the server does not know {gvk:?}: {error}"));
        let client = self.client.clone();
        if capabilities.scope == discovery::Scope::Cluster {
            return Api::all_with(client, &resource);
        }
        let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
        Api::namespaced_with(client, &namespace, &resource)
    }

    pub(super) fn api(&self, version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = if kind == "NetworkAttachmentDefinition" {
            ApiResource::from_gvk_with_plural(&gvk, NAD_PLURAL)
        } else {
            ApiResource::from_gvk(&gvk)
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}

/// The UID that the server gave to an object.
pub(super) fn uid_of(object: &Value) -> String {
    let uid = object["metadata"]["uid"].as_str();
    uid.expect("the server gives UIDs").to_owned()
}

const NAD_PLURAL: &str = "network-attachment-definitions";

/// The kind as it is shipped.
const NAD_CRD: &str =
    include_str!("../../../../crds/yaml/k8s.cni.cncf.io_network-attachment-definitions.yaml");

const POLICY_CRD: &str = include_str!("../../../../crds/yaml/meta-cni.io_attachmentpolicies.yaml");

fn is_served(api: &Api<DynamicObject>, crd: &DynamicObject) -> Option<()> {
    let crd = block_on(api.get(&crd.name_any())).expect("get a CRD");
    let conditions = crd.data["status"]["conditions"].as_array()?.clone();
    let is_established = |c: &Value| c["type"] == "Established" && c["status"] == "True";
    conditions.iter().any(is_established).then_some(())
}
