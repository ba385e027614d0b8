//! The harness of the end-to-end tests: real network namespaces, real CNI plugins and the real
//! `meta-cni` executable, so that a test says only what it is about.
//!
//! ```no_run
//! use e2e::Node;
//! let node = Node::new("blue");
//! node.nad("default", "blue", node.bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]));
//! let pod = node.pod("default", "web").networks("blue").create();
//! node.add(&pod).ok();
//! assert_eq!(pod.netns().links(), ["lo", "eth0", "net1"]);
//! node.del(&pod).ok();
//! node.assert_clean();
//! ```
//!
//! Each [`Node`] has a network namespace of its own that plays the host, and all of its files in one
//! temporary folder: tests run side by side and leave nothing on the machine.
//!
//! The modules stand on one another in this order: `host` the machine, `servers` what serves a node, `node` the node with all
//! that runs on it, `bench` what benchmarks share; `history` checks what callers saw.

pub mod bench;
pub mod history;
mod host;
mod node;
mod servers;

pub use host::daemon::Daemon;
pub use host::netns::{self, Netns};
pub use host::wait::wait_until;
pub use host::xfs::XfsImage;
pub use host::{cgroups, lacking, locate, merge, router, sweep};
pub use node::agent::Agent;
pub use node::call::{Call, Running};
pub use node::disk::Disk;
pub use node::outcome::Outcome;
pub use node::plugin::RecordedCall;
pub use node::pod::Pod;
pub use node::runtime::{self, Runtime};
pub use node::{DEFAULT_SUBNETS, Node};
pub use servers::cluster::Cluster;
pub use servers::etcd::Etcd;
pub use servers::ipam::{self, IpamServer};
pub use servers::kube::{self, ApiServer};
pub use servers::{certificates, dial, etcd, manifests, openmetrics, pages};
