//! The objects of a cluster that a migration reads, each by itself: one that makes no sense is an obstacle, and the others are read.

pub(super) mod names;
mod pods;

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::obstacle::Obstacle;
use crate::cluster::NadName;
pub(super) use pods::{PodName, PodSeen};

/// The API group of whereabouts; Calico has an IPPool too.
const GROUP: &str = "whereabouts.cni.cncf.io/";

/// The annotation that has the configuration of before the migration.
pub(super) const BEFORE: &str = "meta-cni.io/config-before-migration";

/// What a cluster has.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    pub(super) nads: Vec<NadSeen>,
    pub(super) pools: Vec<IpPool>,
    pub(super) slices: Vec<Slices>,
    pub(super) reservations: Vec<Reservation>,
    pub(super) pods: BTreeMap<PodName, PodSeen>,
    /// Objects that cannot be read.
    pub(super) unread: Vec<Obstacle>,
}

/// A NetworkAttachmentDefinition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NadSeen {
    pub(super) name: NadName,
    /// `spec.config` as it is now.
    pub(super) config: String,
    /// `spec.config` as it was before an earlier migration.
    pub(super) before: Option<String>,
    /// `metadata.resourceVersion`.
    pub(super) version: String,
}

/// An IPPool.
#[derive(Clone, Debug)]
pub(super) struct IpPool {
    pub(super) name: String,
    /// The range as it is written.
    pub(super) written: String,
    /// The same; offsets count from its address.
    pub(super) range: IpNetwork,
    /// Offset and holder.
    pub(super) allocations: BTreeMap<String, Holder>,
}

/// A NodeSlicePool: a range of which each node has a slice.
#[derive(Clone, Debug)]
pub(super) struct Slices {
    /// `network_name`, else the name of the configuration.
    pub(super) name: String,
    /// Node and slice.
    pub(super) of_nodes: Vec<(String, IpNetwork)>,
}

/// An OverlappingRangeIPReservation, whose name is its address.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    pub(super) name: String,
    pub(super) holder: Holder,
}

/// A holder as whereabouts writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Holder {
    /// CNI_CONTAINERID; version 0.9 writes none into reservations.
    #[serde(rename = "id", alias = "containerid")]
    pub(super) container: String,
    /// NAMESPACE/NAME.
    pub(super) podref: String,
    /// CNI_IFNAME; old versions write none.
    pub(super) ifname: String,
}

impl Holder {
    /// The pod, if one is named.
    pub(super) fn pod(&self) -> Option<PodName> {
        let (namespace, name) = self.podref.split_once('/')?;
        Some(PodName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

#[derive(Deserialize)]
struct Object<S> {
    metadata: Metadata,
    spec: S,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default, rename = "resourceVersion")]
    version: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct NadSpec {
    #[serde(default)]
    config: Option<String>,
}

#[derive(Deserialize)]
struct PoolSpec {
    range: String,
    #[serde(default)]
    allocations: Option<BTreeMap<String, Option<Holder>>>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    allocations: Option<Vec<Slice>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slice {
    #[serde(default)]
    node_name: String,
    slice_range: String,
}

impl Objects {
    /// Takes in what `kubectl get -o json` or `-o yaml` wrote: an object, or a list of objects.
    pub(super) fn add_document(&mut self, document: Value) {
        let Value::Object(mut fields) = document else {
            return;
        };
        let kind = fields.get("kind").and_then(Value::as_str);
        // Items of the API's own lists have no kind.
        let of_list = kind.and_then(|kind| kind.strip_suffix("List"));
        let of_list = of_list.unwrap_or_default().to_owned();
        match fields.remove("items") {
            Some(Value::Array(items)) => {
                items.into_iter().for_each(|item| self.add(&of_list, item))
            }
            Some(_) => {}
            None => self.add("", Value::Object(fields)),
        }
    }

    /// Takes in an object; `kind` is meant where the object has none. Other kinds are left out.
    pub(super) fn add(&mut self, kind: &str, object: Value) {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or(kind).to_owned();
        let is_theirs = text("/apiVersion").is_none_or(|version| version.starts_with(GROUP));
        let name = text("/metadata/name")
            .unwrap_or("without a name")
            .to_owned();
        let read = match kind.as_str() {
            "IPPool" if is_theirs => self.add_pool(object),
            "NodeSlicePool" if is_theirs => slices(object).map(|one| self.slices.push(one)),
            "OverlappingRangeIPReservation" if is_theirs => {
                decode(object).map(|Object { metadata, spec }: Object<Holder>| {
                    self.reservations.push(Reservation {
                        name: metadata.name,
                        holder: spec,
                    });
                })
            }
            "NetworkAttachmentDefinition" => nad(object).map(|one| self.nads.push(one)),
            "Pod" => PodSeen::read(&object).map(|(name, pod)| drop(self.pods.insert(name, pod))),
            _ => Ok(()),
        };
        if let Err(problem) = read {
            let what = format!("{kind} {name}");
            let remedy = "correct the object, and run this again";
            self.unread.push(Obstacle::new(what, problem, remedy));
        }
    }

    fn add_pool(&mut self, object: Value) -> Result<(), String> {
        let Object { metadata, spec }: Object<PoolSpec> = decode(object)?;
        let allocations = spec.allocations.unwrap_or_default().into_iter();
        self.pools.push(IpPool {
            name: metadata.name,
            range: cidr(&spec.range)?,
            written: spec.range,
            allocations: allocations
                .map(|(offset, holder)| (offset, holder.unwrap_or_default()))
                .collect(),
        });
        Ok(())
    }
}

fn nad(object: Value) -> Result<NadSeen, String> {
    let Object { metadata, spec }: Object<Option<NadSpec>> = decode(object)?;
    let mut annotations = metadata.annotations.unwrap_or_default();
    Ok(NadSeen {
        name: NadName {
            namespace: metadata.namespace.unwrap_or_else(|| "default".to_owned()),
            name: metadata.name,
        },
        config: spec.and_then(|spec| spec.config).unwrap_or_default(),
        before: annotations.remove(BEFORE),
        version: metadata.version.unwrap_or_default(),
    })
}

fn slices(mut object: Value) -> Result<Slices, String> {
    let status: Option<Status> = match object.get_mut("status").map(Value::take) {
        None | Some(Value::Null) => None,
        Some(status) => Some(decode(status)?),
    };
    let Object { metadata, .. }: Object<PoolSpec> = decode(object)?;
    let mut of_nodes = Vec::new();
    for slice in status
        .and_then(|status| status.allocations)
        .unwrap_or_default()
    {
        // A slice that is free has no node.
        if !slice.node_name.is_empty() {
            of_nodes.push((slice.node_name, cidr(&slice.slice_range)?));
        }
    }
    Ok(Slices {
        name: metadata.name,
        of_nodes,
    })
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| format!("{}: {}", error.path(), error.inner()))
}

fn cidr(text: &str) -> Result<IpNetwork, String> {
    let written = text.parse().ok().filter(|_| text.contains('/'));
    written.ok_or_else(|| format!("range {text} is not a CIDR"))
}

#[cfg(test)]
mod tests {
    use process::yaml;

    use super::*;

    fn read(text: &str) -> Objects {
        let mut objects = Objects::default();
        for document in yaml::documents(text) {
            objects.add_document(document.expect("YAML"));
        }
        objects
    }

    #[test]
    fn objects_are_read_from_lists_and_documents_as_kubectl_writes_them() {
        let objects = read(
            r#"
apiVersion: v1
kind: List
items:
- apiVersion: whereabouts.cni.cncf.io/v1alpha1
  kind: IPPool
  metadata: {name: 10.20.0.0-24, namespace: kube-system}
  spec: {range: 10.20.0.0/24, allocations: {"1": {id: c1, podref: ns/web, ifname: net1}, "2": null}}
- {apiVersion: crd.projectcalico.org/v1, kind: IPPool, metadata: {name: calico}, spec: {cidr: 10.0.0.0/8}}
- {kind: Pod, metadata: {name: web, namespace: ns}, spec: {nodeName: n1}}
---
kind: OverlappingRangeIPReservationList
items:
- metadata: {name: 10.20.0.9}
  spec: {podref: ns/web, ifname: net1}
---
kind: NodeSlicePool
metadata: {name: sliced}
spec: {range: 10.30.0.0/16, sliceSize: /24}
status: {allocations: [{nodeName: n1, sliceRange: 10.30.1.0/24}, {nodeName: '', sliceRange: 10.30.2.0/24}]}
---
kind: NetworkAttachmentDefinition
metadata: {name: blue, namespace: ns, resourceVersion: "7", annotations: {meta-cni.io/config-before-migration: "{}"}}
spec: {config: '{"type":"macvlan"}'}
---
kind: NetworkAttachmentDefinition
metadata: {name: file}
"#,
        );
        assert_eq!(objects.unread, []);
        let [pool] = &objects.pools[..] else {
            panic!("{:?}", objects.pools);
        };
        assert_eq!(pool.allocations["1"].container, "c1");
        assert_eq!(pool.allocations["2"], Holder::default());
        assert_eq!(objects.slices[0].of_nodes.len(), 1);
        assert_eq!(objects.reservations[0].holder.podref, "ns/web");
        assert_eq!(objects.pods.len(), 1);
        let [blue, file] = &objects.nads[..] else {
            panic!("{:?}", objects.nads);
        };
        assert_eq!(
            (blue.version.as_str(), blue.before.as_deref()),
            ("7", Some("{}"))
        );
        assert_eq!(
            (file.name.to_string().as_str(), file.config.as_str()),
            ("default/file", "")
        );
    }

    #[test]
    fn an_object_that_makes_no_sense_is_an_obstacle_and_the_others_are_read() {
        for (object, what, reason) in [
            (
                "{kind: IPPool, metadata: {name: a}, spec: {range: x}}",
                "IPPool a",
                "range x is not a CIDR",
            ),
            (
                "{kind: IPPool, metadata: {name: a}, spec: {}}",
                "IPPool a",
                "spec: missing field `range`",
            ),
            (
                "{kind: NodeSlicePool, metadata: {name: a}, spec: {range: 10.0.0.0/8}, status: 7}",
                "NodeSlicePool a",
                ".: invalid type",
            ),
            (
                "{kind: Pod, metadata: {}}",
                "Pod without a name",
                "it has no name",
            ),
        ] {
            let good = "{kind: IPPool, metadata: {name: good}, spec: {range: 10.0.0.0/24}}";
            let objects = read(&format!("{object}\n---\n{good}"));
            assert_eq!(objects.pools.len(), 1, "{object}");
            let [unread] = &objects.unread[..] else {
                panic!("{object}: {:?}", objects.unread);
            };
            assert_eq!(unread.what, what);
            assert!(unread.reason.starts_with(reason), "{}", unread.reason);
        }
    }
}
