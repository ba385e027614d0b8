//! A request for a lease as flags: for `lease allocate` and `explain`.

use pbjson_types::Duration;
use proto::ipam::v1::{AllocateRequest, Owner};

use super::labels::{PodName, label, pod};
use super::pool::Families;

/// A request for a lease.
#[derive(Debug, clap::Args)]
pub(crate) struct AllocateFlags {
    /// Pool to lease from; repeatable, tried in this order.
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Vec<String>,
    /// Address that the lease must have, at most one a family. [default: the server chooses]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Vec<String>,
    /// Families that the lease must have. [default: as the pool says]
    #[arg(long, value_enum, ignore_case = true)]
    families: Option<Families>,
    /// Pod that holds the lease.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pod: Option<PodName>,
    /// Stable identity that holds the lease: an IPAM claim, a virtual machine.
    #[arg(long, value_name = "NAME")]
    claim: Option<String>,
    /// Kind of the holder: pod, vm, service, … [default: pod if a pod is named]
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Node of the holder.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Name of the CNI network configuration; with --container-id and --ifname.
    #[arg(long, value_name = "NAME", requires_all = ["container_id", "ifname"])]
    network: Option<String>,
    /// CNI_CONTAINERID.
    #[arg(long, value_name = "ID", requires = "network")]
    container_id: Option<String>,
    /// CNI_IFNAME.
    #[arg(long, value_name = "NAME", requires = "network")]
    ifname: Option<String>,
    /// MAC address of the interface.
    #[arg(long, value_name = "MAC")]
    mac: Option<String>,
    /// How long the lease lasts, in seconds. [default: as the pool says]
    #[arg(long, value_name = "SECONDS")]
    ttl_seconds: Option<u32>,
    /// A label: KEY=VALUE. Repeatable.
    #[arg(long, value_name = "LABEL", value_parser = label)]
    label: Vec<(String, String)>,
    /// Names the request: a request with the same id gets the same lease. [default: none]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl AllocateFlags {
    /// The request as a message of `ipam.v1`.
    pub(crate) fn into_request(self) -> AllocateRequest {
        let pod = self.pod;
        AllocateRequest {
            pools: self.pool,
            owner: Some(Owner {
                kind: self.kind.unwrap_or_default(),
                namespace: pod
                    .as_ref()
                    .map(|at| at.namespace.clone())
                    .unwrap_or_default(),
                pod: pod.map(|at| at.name).unwrap_or_default(),
                container_id: self.container_id.unwrap_or_default(),
                ifname: self.ifname.unwrap_or_default(),
                network: self.network.unwrap_or_default(),
                node: self.node.unwrap_or_default(),
                claim: self.claim.unwrap_or_default(),
                ..Owner::default()
            }),
            ips: self.ip,
            families_required: self
                .families
                .map(|families| families.to_proto().into())
                .unwrap_or_default(),
            mac: self.mac.unwrap_or_default(),
            ttl: self.ttl_seconds.map(|seconds| Duration {
                seconds: seconds.into(),
                nanos: 0,
            }),
            labels: self.label.into_iter().collect(),
            request_id: self.request_id.unwrap_or_default(),
            validate_only: false,
            known_store: None,
        }
    }
}
