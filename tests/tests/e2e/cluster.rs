//! meta-cni as it is shipped, in a real cluster: image, chart, installer, agent and ipam-server under a kubelet.

mod deployment;
mod fixture;
mod incumbent;
mod lifetime;
mod load;
mod migration;
