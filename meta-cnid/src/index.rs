//! What the agent knows: the pods of its node and all networks, as its watches report them. In memory, no I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use meta_cni::cluster::selector::selects;
use meta_cni::cluster::{ClusterError, Labels, Nad, NadName, Pod, Policy, with_name};
use meta_cni::diagnosis::Diagnosis;
use meta_cni::limits::{self, TooLarge};
use meta_cni::{cluster, selection};
use tokio::sync::watch;

/// What is followed at the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pods of this node.
    Pods,
    /// NetworkAttachmentDefinitions of all namespaces.
    Networks,
    /// Namespaces, of which labels are known.
    Namespaces,
    /// AttachmentPolicies.
    Policies,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; KINDS] = [Kind::Pods, Kind::Networks, Kind::Namespaces, Kind::Policies];

    /// The plural of the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Pods => "pods",
            Kind::Networks => "network-attachment-definitions",
            Kind::Namespaces => "namespaces",
            Kind::Policies => "attachmentpolicies",
        }
    }
}

/// How many kinds there are.
pub(super) const KINDS: usize = 4;

/// Objects by namespace and name; those of the cluster are in the namespace "".
type ByName<T> = HashMap<Box<str>, HashMap<Box<str>, T>>;

/// The index. Shared by reference; readers never wait for the API server.
#[derive(Debug)]
pub struct Index {
    known: RwLock<Known>,
    synced: watch::Sender<[bool; KINDS]>,
}

#[derive(Debug, Default)]
struct Known {
    pods: ByName<Arc<Pod>>,
    networks: ByName<Network>,
    /// Names that the list under way has had so far; `None` if no list is under way.
    listed: [Option<HashSet<NadName>>; KINDS],
    namespaces: ByName<Labels>,
    policies: ByName<Box<str>>,
    /// Why a kind cannot be followed, if it never could.
    unknown: [Option<Diagnosis>; KINDS],
}

/// A network in as few bytes as its text allows.
#[derive(Debug)]
struct Network {
    /// Its text; of one that is too large, the size.
    config: Result<Box<str>, usize>,
    resource_name: Option<Box<str>>,
}

impl Default for Index {
    fn default() -> Index {
        Index {
            known: RwLock::default(),
            synced: watch::Sender::new([false; KINDS]),
        }
    }
}

impl Index {
    /// The pod of this name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.read().pods.get(namespace)?.get(name).cloned()
    }

    /// All pods of the node.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        let known = self.read();
        known
            .pods
            .values()
            .flat_map(HashMap::values)
            .cloned()
            .collect()
    }

    /// The network of this name, or that it is too large.
    pub fn network(&self, name: &NadName) -> Option<Result<Nad, ClusterError>> {
        let known = self.read();
        let network = known.networks.get(&*name.namespace)?.get(&*name.name)?;
        Some(match &network.config {
            Ok(config) => Ok(Nad {
                name: name.clone(),
                config: config.to_string(),
                resource_name: network.resource_name.as_deref().map(str::to_owned),
            }),
            Err(bytes) => Err(ClusterError::too_large(name, TooLarge { bytes: *bytes })),
        })
    }

    /// Objects of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        let known = self.read();
        match kind {
            Kind::Pods => known.pods.values().map(HashMap::len).sum(),
            Kind::Networks => known.networks.values().map(HashMap::len).sum(),
            Kind::Namespaces => known.namespaces.values().map(HashMap::len).sum(),
            Kind::Policies => known.policies.values().map(HashMap::len).sum(),
        }
    }

    /// A list of a kind begins: what it does not have is gone when it ends.
    pub fn list_begins(&self, kind: Kind) {
        self.write().listed[kind as usize] = Some(HashSet::new());
    }

    /// A list of a kind has ended.
    pub fn list_ends(&self, kind: Kind) {
        let mut known = self.write();
        if let Some(listed) = known.listed[kind as usize].take() {
            match kind {
                Kind::Pods => keep(&mut known.pods, &listed),
                Kind::Networks => keep(&mut known.networks, &listed),
                Kind::Namespaces => keep(&mut known.namespaces, &listed),
                Kind::Policies => keep(&mut known.policies, &listed),
            }
        }
        known.unknown[kind as usize] = None;
        drop(known);
        self.sync(kind);
    }

    /// A kind cannot be listed, and nobody waits for it: questions about it are answered with this problem until it can.
    /// One that was listed before stays as it was.
    pub fn stays_unknown(&self, kind: Kind, problem: &Diagnosis) {
        if !self.synced.borrow()[kind as usize] {
            self.write().unknown[kind as usize] = Some(problem.clone());
        }
        self.sync(kind);
    }

    fn sync(&self, kind: Kind) {
        self.synced
            .send_if_modified(|synced| !std::mem::replace(&mut synced[kind as usize], true));
    }

    /// The policies that match each of the namespaces.
    ///
    /// # Errors
    /// The problem, if policies or namespaces could never be listed.
    pub fn policies<'n>(
        &self,
        namespaces: impl Iterator<Item = &'n str>,
    ) -> Result<Vec<(String, Vec<Policy>)>, Diagnosis> {
        let known = self.read();
        for kind in [Kind::Policies, Kind::Namespaces] {
            if let Some(problem) = &known.unknown[kind as usize] {
                return Err(problem.clone());
            }
        }
        let of = |namespace: &str| {
            let all = known.namespaces.get("");
            let labels = all.and_then(|all| all.get(namespace)).cloned();
            let labels = with_name(labels.unwrap_or_default(), namespace);
            let mut matching: Vec<_> = known
                .policies
                .values()
                .flatten()
                .filter(|(_, spec)| selects(spec, &labels))
                .map(|(name, spec)| Policy {
                    name: name.to_string(),
                    spec: spec.to_string(),
                })
                .collect();
            matching.sort_by(|one, other| one.name.cmp(&other.name));
            (namespace.to_owned(), matching)
        };
        Ok(namespaces.map(of).collect())
    }

    /// Puts a namespace in, or replaces it.
    pub fn put_namespace(&self, name: String, labels: Labels) {
        let mut known = self.write();
        let name = of_cluster(name);
        insert(&mut known.namespaces, &name, labels);
        known.is_listed(Kind::Namespaces, name);
    }

    /// Takes a namespace out.
    pub fn remove_namespace(&self, name: &str) {
        remove(&mut self.write().namespaces, "", name);
    }

    /// Puts a policy in, or replaces it.
    pub fn put_policy(&self, policy: Policy) {
        let mut known = self.write();
        let name = of_cluster(policy.name);
        insert(&mut known.policies, &name, policy.spec.into_boxed_str());
        known.is_listed(Kind::Policies, name);
    }

    /// Takes a policy out.
    pub fn remove_policy(&self, name: &str) {
        remove(&mut self.write().policies, "", name);
    }

    /// Puts a pod in, or replaces it.
    pub fn put_pod(&self, mut pod: Pod) {
        pod.annotations.retain(|key, _| is_needed(key));
        let name = NadName {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
        };
        let mut known = self.write();
        insert(&mut known.pods, &name, Arc::new(pod));
        known.is_listed(Kind::Pods, name);
    }

    /// Puts a network in, or replaces it.
    pub fn put_network(&self, nad: Nad) {
        let network = Network {
            config: match limits::check_text(&nad.config) {
                Ok(()) => Ok(nad.config.into_boxed_str()),
                Err(TooLarge { bytes }) => Err(bytes),
            },
            resource_name: nad.resource_name.map(String::into_boxed_str),
        };
        let mut known = self.write();
        insert(&mut known.networks, &nad.name, network);
        known.is_listed(Kind::Networks, nad.name);
    }

    /// Takes a pod out, if it is still the one with this UID.
    pub fn remove_pod(&self, namespace: &str, name: &str, uid: &str) {
        let mut known = self.write();
        let is_same = |pod: &Arc<Pod>| pod.uid == uid;
        let found = known.pods.get(namespace).and_then(|pods| pods.get(name));
        if found.is_some_and(is_same) {
            remove(&mut known.pods, namespace, name);
        }
    }

    /// Takes a network out.
    pub fn remove_network(&self, name: &NadName) {
        remove(&mut self.write().networks, &name.namespace, &name.name);
    }

    /// Notes that a pod has this network-status now, before the watch reports it.
    pub fn note_status(&self, namespace: &str, name: &str, uid: &str, status: &str) {
        let mut known = self.write();
        let pod = known
            .pods
            .get_mut(namespace)
            .and_then(|pods| pods.get_mut(name))
            .filter(|pod| pod.uid == uid);
        if let Some(pod) = pod {
            Arc::make_mut(pod)
                .annotations
                .insert(cluster::NETWORK_STATUS.to_owned(), status.to_owned());
        }
    }

    /// Whether everything that is followed was listed once; changes only from false to true.
    pub fn is_synced(&self) -> bool {
        self.synced.borrow().iter().all(|synced| *synced)
    }

    /// Waits until [`Index::is_synced`].
    pub async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives in `self`, so that this ends only when all are synced.
        let _ = synced
            .wait_for(|synced| synced.iter().all(|synced| *synced))
            .await;
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_listed(&mut self, kind: Kind, name: NadName) {
        if let Some(listed) = &mut self.listed[kind as usize] {
            listed.insert(name);
        }
    }
}

/// The name of an object that is in no namespace.
fn of_cluster(name: String) -> NadName {
    NadName {
        namespace: String::new(),
        name,
    }
}

fn is_needed(annotation: &str) -> bool {
    annotation == selection::NETWORKS
        || annotation == selection::DEFAULT_NETWORK
        || annotation == cluster::NETWORK_STATUS
        || cluster::STATIC_POD.contains(&annotation)
}

fn insert<T>(objects: &mut ByName<T>, name: &NadName, object: T) {
    if !objects.contains_key(&*name.namespace) {
        objects.insert(name.namespace.as_str().into(), HashMap::new());
    }
    if let Some(named) = objects.get_mut(&*name.namespace) {
        named.insert(name.name.as_str().into(), object);
    }
}

fn remove<T>(objects: &mut ByName<T>, namespace: &str, name: &str) {
    if let Some(named) = objects.get_mut(namespace) {
        named.remove(name);
        if named.is_empty() {
            objects.remove(namespace);
        }
    }
}

fn keep<T>(objects: &mut ByName<T>, listed: &HashSet<NadName>) {
    let mut by_namespace: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    for name in listed {
        by_namespace
            .entry(&name.namespace)
            .or_default()
            .insert(&name.name);
    }
    objects.retain(|namespace, named| {
        let listed = by_namespace.get(&**namespace);
        named.retain(|name, _| listed.is_some_and(|listed| listed.contains(&**name)));
        named.shrink_to_fit();
        !named.is_empty()
    });
}

#[cfg(test)]
mod tests;
