//! AttachmentPolicy, the object by which the administrator of a cluster says which networks a tenant's
//! NetworkAttachmentDefinitions may describe, and what a tenant's pods may ask of networks. meta-cni
//! enforces it; the schema here refuses what no policy can mean.

#![expect(
    unreachable_pub,
    reason = "the KubeSchema derive repeats our types inside a function"
)]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the namespaces that a selector matches may do. An absent list allows nothing of its kind, unless its description
/// says that it allows everything.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "meta-cni.io",
    version = "v1alpha1",
    kind = "AttachmentPolicy",
    plural = "attachmentpolicies",
    singular = "attachmentpolicy",
    shortname = "atp",
    derive = "PartialEq",
    doc = "What the NetworkAttachmentDefinitions and the pods of some namespaces may ask meta-cni for. Policies add up: a network passes if one policy that matches its namespace allows the whole of it.",
    printcolumn = r#"{"name":"Main","type":"string","jsonPath":".spec.plugins.main"}"#,
    printcolumn = r#"{"name":"IPAM","type":"string","jsonPath":".spec.plugins.ipam"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentPolicySpec {
    /// The namespaces that the policy is for, by their labels; `{}`: all. Every namespace has the label
    /// `kubernetes.io/metadata.name`.
    pub namespace_selector: NamespaceSelector,
    /// The plugins that a NetworkAttachmentDefinition may name, by place.
    pub plugins: Plugins,
    /// What the configuration of a plugin may say, by its type. A type without an entry may have every key but those that
    /// name files of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 64))]
    pub types: Vec<PluginRule>,
    /// The pools that a network of meta-ipam may name; absent: all. A `*` at the end stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub pools: Option<Vec<String>>,
    /// Whether pods may ask for addresses of their own.
    #[serde(default)]
    pub requested_addresses: RequestedAddresses,
    /// The most networks beside the default one that a pod may name; absent: as many as meta-cni allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 64))]
    pub max_networks: Option<u32>,
    /// Whether pods may replace their default network.
    #[serde(default)]
    pub default_network_override: bool,
}

/// Namespaces, by their labels: those that fulfil everything.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements of labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<Requirement>,
}

/// What a label must be.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)")
        .message("values belong to In and NotIn, which need them")
)]
pub struct Requirement {
    /// The label.
    #[schemars(length(min = 1, max = 316))]
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// The values to compare the label with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label is absent, or has another value.
    NotIn,
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// Names of plugins by the place in which a network has them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugins {
    /// First plugins of lists.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)))]
    pub main: Vec<String>,
    /// Later plugins of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub chained: Vec<String>,
    /// IPAM plugins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub ipam: Vec<String>,
}

/// What the configuration of one type of plugin may say. An absent list allows everything, but for the keys that name
/// files of the node and for the devices of host-device.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(self.masters) || self.type in ['macvlan', 'ipvlan', 'vlan']")
        .message("masters belongs to macvlan, ipvlan and vlan"),
    validation = Rule::new("!has(self.bridges) || self.type == 'bridge'").message("bridges belongs to bridge"),
    validation = Rule::new("!has(self.devices) || self.type == 'host-device'").message("devices belongs to host-device"),
    validation = Rule::new("!has(self.sysctls) || self.type == 'tuning'").message("sysctls belongs to tuning"),
    validation = Rule::new("!has(self.prefixes) || self.type in ['static', 'host-local']")
        .message("prefixes belongs to static and host-local")
)]
pub struct PluginRule {
    /// The plugin. For an IPAM plugin, the keys are those of `ipam`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The keys of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// Interfaces that `master` may name, of macvlan, ipvlan and vlan. A `*` at the end stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 16)))]
    pub masters: Option<Vec<String>>,
    /// Bridges that `bridge` may name (`cni0` if it is absent). A `*` at the end stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 16)))]
    pub bridges: Option<Vec<String>>,
    /// Interfaces that host-device may take without a `resourceName`; absent: none. A `*` at the end stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 16)))]
    pub devices: Option<Vec<String>>,
    /// Names that `sysctl` of tuning may have. A `*` at the end stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub sysctls: Option<Vec<String>>,
    /// Prefixes that the addresses of static, and the ranges of host-local, must lie in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 4, max = 49)))]
    #[x_kube(
        validation = Rule::new("self.all(prefix, isCIDR(prefix))").message("a prefix is ADDRESS/LENGTH")
    )]
    pub prefixes: Option<Vec<String>>,
}

/// Keys of a configuration. Keys that name files of the node (`dataDir`, `resolvConf`, `daemonSocketPath`, …) are allowed
/// only by standing in `allow`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.allow) != has(self.deny)").message("set either allow or deny")
)]
pub struct Keys {
    /// The only keys that it may have, beside those that every network has (`type`, `name`, `cniVersion`, `ipam`,
    /// `capabilities`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub allow: Option<Vec<String>>,
    /// Keys that it may not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub deny: Option<Vec<String>>,
}

/// Whether pods may ask for addresses of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestedAddresses {
    /// They may.
    #[default]
    Allow,
    /// They may not.
    Deny,
}
