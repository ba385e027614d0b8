//! The objects of a dump, each by itself: an object that cannot be read is reported and left out.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use process::yaml;
use serde::Deserialize;
use serde_json::Value;

use super::decode::decode;
use super::networks::Network;
use super::pods::Pods;

/// The API group of whereabouts; Calico has an IPPool too.
const GROUP: &str = "whereabouts.cni.cncf.io/";

/// What `kubectl get -o json` or `-o yaml` wrote.
#[derive(Debug, Default)]
pub(super) struct Dump {
    pub(super) pools: Vec<IpPool>,
    pub(super) slices: Vec<Slices>,
    pub(super) reservations: Vec<Reservation>,
    pub(super) networks: Vec<Network>,
    pub(super) pods: Pods,
    /// A sentence for each object of whereabouts that makes no sense.
    pub(super) problems: Vec<String>,
    /// Sentences about networks that cannot be read.
    unread: Vec<String>,
    /// How many objects there are of kinds that say nothing.
    others: BTreeMap<String, usize>,
}

/// An IPPool of whereabouts.
#[derive(Debug)]
pub(super) struct IpPool {
    pub(super) name: String,
    /// The range as it is written.
    pub(super) written: String,
    /// The same; offsets count from its address, which may have host bits.
    pub(super) range: IpNetwork,
    /// Offset and holder.
    pub(super) allocations: BTreeMap<String, Value>,
}

/// A NodeSlicePool: a range of which each node has a slice.
#[derive(Debug)]
pub(super) struct Slices {
    /// network_name, else the name of the CNI configuration.
    pub(super) name: String,
    pub(super) range: IpNetwork,
    /// Node and slice.
    pub(super) of_nodes: Vec<(String, IpNetwork)>,
}

/// An OverlappingRangeIPReservation, whose name is its address.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) name: String,
    pub(super) holder: Written,
}

/// A holder as whereabouts writes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    /// CNI_CONTAINERID.
    #[serde(alias = "containerid")]
    pub(super) id: String,
    /// NAMESPACE/NAME.
    pub(super) podref: String,
    /// CNI_IFNAME; old versions write none.
    pub(super) ifname: String,
}

#[derive(Deserialize)]
struct Object<S> {
    metadata: Metadata,
    spec: S,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
struct PoolSpec {
    range: String,
    allocations: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct SlicesSpec {
    range: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlicesStatus {
    allocations: Option<Vec<Slice>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slice {
    #[serde(default)]
    node_name: String,
    slice_range: String,
}

impl Dump {
    /// Reads all documents and lists.
    ///
    /// # Errors
    /// A sentence, if the text is no YAML or JSON, or nothing in it is of whereabouts.
    pub(super) fn read(text: &str) -> Result<Dump, String> {
        let mut dump = Dump::default();
        // A large dump of JSON is read in a fraction of the time.
        if text.trim_start().starts_with('{')
            && let Ok(value) = serde_json::from_str(text)
        {
            dump.document(value)?;
        } else {
            for document in yaml::documents(text) {
                dump.document(document.map_err(|error| error.to_string())?)?;
            }
        }
        match dump.pools.is_empty() && dump.reservations.is_empty() && dump.problems.is_empty() {
            true => Err(format!(
                "it holds no IPPool object of whereabouts{}",
                dump.counts()
            )),
            false => Ok(dump),
        }
    }

    /// Sentences that a person should read.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.unread.clone();
        if !self.others.is_empty() {
            notes.push(format!("not read{}", self.counts()));
        }
        notes
    }

    fn counts(&self) -> String {
        let each = self.others.iter();
        let counts: Vec<_> = each
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        match counts.is_empty() {
            true => String::new(),
            false => format!(": {}", counts.join(", ")),
        }
    }

    fn document(&mut self, value: Value) -> Result<(), String> {
        match value {
            Value::Null => Ok(()),
            Value::Array(objects) => {
                objects
                    .into_iter()
                    .for_each(|object| self.object(object, ""));
                Ok(())
            }
            Value::Object(mut fields) => {
                let kind = fields
                    .get("kind")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                // Items of the API's own lists have no kind.
                let kind = kind.strip_suffix("List").unwrap_or_default().to_owned();
                match fields.remove("items") {
                    Some(Value::Array(items)) => {
                        items
                            .into_iter()
                            .for_each(|object| self.object(object, &kind));
                        Ok(())
                    }
                    Some(Value::Null) => Ok(()),
                    Some(_) => Err("`items` must be a list".to_owned()),
                    None => {
                        self.object(Value::Object(fields), "");
                        Ok(())
                    }
                }
            }
            _ => Err("it holds no object".to_owned()),
        }
    }

    /// An object without a kind, in a list without one, is an IPPool.
    fn object(&mut self, object: Value, of_list: &str) {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or(of_list).to_owned();
        let ours = text("/apiVersion").is_none_or(|version| version.starts_with(GROUP));
        let shown = if kind.is_empty() { "IPPool" } else { &kind };
        let name = text("/metadata/name").unwrap_or("without a name");
        let place = format!("{shown} {name}");
        let read = match kind.as_str() {
            "IPPool" | "" if ours => pool(object).map(|pool| self.pools.push(pool)),
            "NodeSlicePool" if ours => slices(object).map(|slices| self.slices.push(slices)),
            "OverlappingRangeIPReservation" if ours => {
                reservation(object).map(|one| self.reservations.push(one))
            }
            "NetworkAttachmentDefinition" => {
                match Network::read(&object) {
                    Ok(network) => self.networks.push(network),
                    Err(problem) => self.unread.push(format!("{place}: {problem}")),
                }
                return;
            }
            "Pod" => return self.pods.add(&object),
            other => return *self.others.entry(other.to_owned()).or_default() += 1,
        };
        if let Err(problem) = read {
            self.problems.push(format!("{place}: {problem}"));
        }
    }
}

fn pool(object: Value) -> Result<IpPool, String> {
    let object: Object<PoolSpec> = decode(object)?;
    Ok(IpPool {
        name: object.metadata.name,
        range: cidr(&object.spec.range)?,
        written: object.spec.range,
        allocations: object.spec.allocations.unwrap_or_default(),
    })
}

fn slices(mut object: Value) -> Result<Slices, String> {
    let status = object.get_mut("status").map(Value::take);
    let status = match status {
        None | Some(Value::Null) => SlicesStatus::default(),
        Some(status) => decode(status)?,
    };
    let object: Object<SlicesSpec> = decode(object)?;
    let mut of_nodes = Vec::new();
    for slice in status.allocations.unwrap_or_default() {
        // A slice that is free has no node.
        if !slice.node_name.is_empty() {
            of_nodes.push((slice.node_name, cidr(&slice.slice_range)?));
        }
    }
    Ok(Slices {
        name: object.metadata.name,
        range: cidr(&object.spec.range)?,
        of_nodes,
    })
}

fn reservation(object: Value) -> Result<Reservation, String> {
    let object: Object<Written> = decode(object)?;
    Ok(Reservation {
        name: object.metadata.name,
        holder: object.spec,
    })
}

fn cidr(text: &str) -> Result<IpNetwork, String> {
    text.contains('/')
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| format!("range {text} is not a CIDR"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn objects_are_read_by_kind_from_lists_documents_and_json() {
        let yaml = "\
apiVersion: v1
kind: List
items:
- apiVersion: whereabouts.cni.cncf.io/v1alpha1
  kind: IPPool
  metadata: {name: 10.20.0.0-24}
  spec: {range: 10.20.0.0/24, allocations: null}
- {apiVersion: crd.projectcalico.org/v1, kind: IPPool, metadata: {name: calico}, spec: {cidr: 10.0.0.0/8}}
- {kind: ConfigMap, metadata: {name: a}}
- {kind: Pod, metadata: {name: web, namespace: ns}, spec: {nodeName: n1}}
---
kind: OverlappingRangeIPReservation
metadata: {name: 10.20.0.9}
spec: {containerid: abc, podref: ns/web}
---
kind: NodeSlicePool
metadata: {name: sliced}
spec: {range: 10.30.0.0/16, sliceSize: /24}
status: {allocations: [{nodeName: n1, sliceRange: 10.30.1.0/24}, {nodeName: '', sliceRange: 10.30.2.0/24}]}
";
        let dump = Dump::read(yaml).expect("a dump");
        assert!(dump.problems.is_empty(), "{:?}", dump.problems);
        assert_eq!(dump.pools[0].name, "10.20.0.0-24");
        assert_eq!(dump.reservations[0].holder.id, "abc");
        assert_eq!(dump.slices[0].of_nodes.len(), 1);
        assert_eq!(dump.notes(), ["not read: 1 ConfigMap, 1 IPPool"]);
        let json = r#"{"kind": "IPPoolList", "items": [{"metadata": {"name": "a"}, "spec": {"range": "10.0.0.0/24"}}]}"#;
        assert_eq!(Dump::read(json).expect("a dump").pools.len(), 1);
    }

    #[test]
    fn an_object_that_makes_no_sense_is_reported_and_the_others_are_read() {
        for (object, problem) in [
            (
                "{kind: IPPool, metadata: {name: a}, spec: {range: x}}",
                "IPPool a: range x is not a CIDR",
            ),
            (
                "{kind: IPPool, metadata: {name: a}, spec: {}}",
                "IPPool a: spec: missing field `range`",
            ),
            (
                "{metadata: {name: a}, spec: {range: 10.0.0.1}}",
                "IPPool a: range 10.0.0.1 is not a CIDR",
            ),
            (
                "{kind: NodeSlicePool, metadata: {name: a}, spec: {range: 10.0.0.0/8}, status: 7}",
                "NodeSlicePool a: .: invalid type",
            ),
        ] {
            let good = "{kind: IPPool, metadata: {name: good}, spec: {range: 10.0.0.0/24}}";
            let dump = Dump::read(&format!("[{object}, {good}]")).expect("a dump");
            assert_eq!(dump.pools.len(), 1, "{object}");
            assert!(dump.problems[0].starts_with(problem), "{:?}", dump.problems);
        }
    }

    #[test]
    fn a_text_without_anything_of_whereabouts_is_refused() {
        for (text, part) in [
            ("", "no IPPool"),
            (
                "kind: ConfigMap",
                "no IPPool object of whereabouts: 1 ConfigMap",
            ),
            ("items: 7", "must be a list"),
            ("7", "no object"),
            ("a: [", "unclosed bracket"),
        ] {
            let error = Dump::read(text).expect_err("nothing of whereabouts");
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)[-a-z0-9:{}\\[\\], \n\"./]{0,120}") {
            let _ = Dump::read(&text);
        }
    }
}
