//! Follows the pods of this node and all networks at the API server, and keeps the index as they are.

use std::borrow::Cow;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use meta_cni::cluster::{ContainerSpecs, Nad, NadName, Pod, Policy, credible, resource_name_of};
use meta_cni::diagnosis::Diagnosis;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::index::{Index, KINDS, Kind};

/// Objects of one page of a list: what is in memory at once while a large cluster is read.
const PAGE: u32 = 200;

/// What an agent needs of a pod.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WatchedPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<ContainerSpecs>,
}

impl Resource for WatchedPod {
    type DynamicType = ();
    type Scope = <core::Pod as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        core::Pod::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        core::Pod::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        core::Pod::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        core::Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What an agent needs of a NetworkAttachmentDefinition.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WatchedNetwork {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<NetworkSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NetworkSpec {
    #[serde(default)]
    config: Option<String>,
}

impl Resource for WatchedNetwork {
    type DynamicType = ();
    type Scope = <core::Pod as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        "NetworkAttachmentDefinition".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        "k8s.cni.cncf.io".into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "network-attachment-definitions".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What an agent needs of an AttachmentPolicy: its text, which meta-cni reads.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WatchedPolicy {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: serde_json::Value,
}

impl Resource for WatchedPolicy {
    type DynamicType = ();
    type Scope = kube::core::ClusterResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "AttachmentPolicy".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        "meta-cni.io".into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        "v1alpha1".into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "attachmentpolicies".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// How the watch of one kind is.
#[derive(Clone, Debug)]
pub struct State {
    /// When the API server last reported something, or when the watch began.
    pub heard: Instant,
    /// Why it is not followed now.
    pub problem: Option<Diagnosis>,
}

/// How all watches are.
#[derive(Clone, Debug)]
pub struct States(Arc<Mutex<[State; KINDS]>>);

impl Default for States {
    fn default() -> States {
        let state = State {
            heard: Instant::now(),
            problem: Some("not connected yet".into()),
        };
        States(Arc::new(Mutex::new(std::array::from_fn(|_| state.clone()))))
    }
}

impl States {
    /// How the watch of a kind is.
    pub fn of(&self, kind: Kind) -> State {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states[kind as usize].clone()
    }

    /// How long the API server has reported nothing of a kind.
    pub fn age(&self, kind: Kind) -> Duration {
        self.of(kind).heard.elapsed()
    }

    pub(super) fn hears(&self, kind: Kind) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states[kind as usize] = State {
            heard: Instant::now(),
            problem: None,
        };
    }

    fn fails(&self, kind: Kind, problem: Diagnosis) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states[kind as usize].problem = Some(problem);
    }
}

/// Follows the pods of `node`; never ends.
pub(super) async fn pods(client: Client, node: &str, index: &Index, states: &States) {
    let config = watcher::Config::default()
        .fields(&format!("spec.nodeName={node}"))
        .page_size(PAGE);
    let put = |pod: WatchedPod| index.put_pod(into_pod(pod));
    let remove = |pod: WatchedPod| {
        index.remove_pod(
            &pod.namespace().unwrap_or_default(),
            &pod.name_any(),
            &pod.uid().unwrap_or_default(),
        );
    };
    follow(
        Kind::Pods,
        Api::all(client),
        config,
        index,
        states,
        put,
        remove,
    )
    .await;
}

/// Follows all networks; never ends.
pub(super) async fn networks(client: Client, index: &Index, states: &States) {
    let config = watcher::Config::default().page_size(PAGE);
    let put = |nad: WatchedNetwork| index.put_network(into_nad(nad));
    let remove = |nad: WatchedNetwork| index.remove_network(&name_of(&nad));
    let api = Api::all(client);
    follow(Kind::Networks, api, config, index, states, put, remove).await;
}

/// Follows the labels of all namespaces; never ends. Nothing else of them is asked for.
pub(super) async fn namespaces(client: Client, index: &Index, states: &States) {
    let config = watcher::Config::default().page_size(PAGE);
    let put = |object: PartialObjectMeta<core::Namespace>| {
        index.put_namespace(object.name_any(), object.labels().clone());
    };
    let remove = |object: PartialObjectMeta<core::Namespace>| {
        index.remove_namespace(&object.name_any());
    };
    let api = Api::all(client);
    follow(Kind::Namespaces, api, config, index, states, put, remove).await;
}

/// Follows all AttachmentPolicies; never ends.
pub(super) async fn policies(client: Client, index: &Index, states: &States) {
    let config = watcher::Config::default().page_size(PAGE);
    let put = |policy: WatchedPolicy| {
        index.put_policy(Policy {
            name: policy.name_any(),
            spec: policy.spec.to_string(),
        });
    };
    let remove = |policy: WatchedPolicy| index.remove_policy(&policy.name_any());
    let api = Api::all(client);
    follow(Kind::Policies, api, config, index, states, put, remove).await;
}

async fn follow<K>(
    kind: Kind,
    api: Api<K>,
    config: watcher::Config,
    index: &Index,
    states: &States,
    put: impl Fn(K),
    remove: impl Fn(K),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            // Nobody has made a policy where their kind is not known. It may become known.
            Err(error) if kind == Kind::Policies && code(&error) == NOT_FOUND => {
                index.list_begins(kind);
                index.list_ends(kind);
                states.hears(kind);
                continue;
            }
            Err(error) => {
                let problem = problem(kind, &error);
                tracing::warn!(kind = kind.as_str(), %problem, "a watch is interrupted");
                if matches!(kind, Kind::Policies | Kind::Namespaces) && code(&error) == FORBIDDEN {
                    index.stays_unknown(kind, &problem);
                }
                states.fails(kind, problem);
                continue;
            }
        };
        states.hears(kind);
        match event {
            Event::Init => index.list_begins(kind),
            Event::InitApply(object) | Event::Apply(object) => put(object),
            Event::InitDone => {
                index.list_ends(kind);
                let objects = index.count(kind);
                tracing::info!(kind = kind.as_str(), objects, "listed");
            }
            Event::Delete(object) => remove(object),
        }
    }
}

/// Status codes of the API server.
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;

/// The status that the API server answered with; 0: it did not.
fn code(error: &watcher::Error) -> u16 {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => 0,
    }
}

/// Why a kind is not followed, and what to do.
fn problem(kind: Kind, error: &watcher::Error) -> Diagnosis {
    let text = cni::error::one_line(&cni::error::with_causes(error));
    let remedy = match code(error) {
        401 => "has the token or the client certificate expired?",
        FORBIDDEN => "grant the agent the rights in deploy/agent-rbac.yaml",
        NOT_FOUND => "is its CRD applied (crds/yaml)?",
        _ => "can this node reach the API server?",
    };
    Diagnosis::new(format!("following {}: {text}", kind.as_str()), remedy)
}

fn into_pod(pod: WatchedPod) -> Pod {
    let WatchedPod { metadata, spec } = pod;
    let owners = metadata.owner_references.iter().flatten();
    let owners = owners.map(|owner| (owner.api_version.as_str(), owner.kind.as_str()));
    let annotations = credible(metadata.annotations.unwrap_or_default(), owners);
    let spec = spec.unwrap_or_default();
    Pod {
        node: spec.node_name().to_owned(),
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        annotations,
        resources: spec.resource_names(),
        devices: None,
    }
}

fn name_of(nad: &WatchedNetwork) -> NadName {
    NadName {
        namespace: nad.namespace().unwrap_or_default(),
        name: nad.name_any(),
    }
}

fn into_nad(nad: WatchedNetwork) -> Nad {
    Nad {
        name: name_of(&nad),
        resource_name: resource_name_of(nad.annotations()),
        config: nad.spec.and_then(|spec| spec.config).unwrap_or_default(),
    }
}
