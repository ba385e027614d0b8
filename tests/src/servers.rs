//! The servers around a node, each a real one: etcd with kube-apiserver, ipam-server; and a whole cluster. With what a client of a server needs.

pub mod certificates;
pub(crate) mod cluster;
pub mod dial;
pub mod etcd;
pub mod ipam;
pub mod kube;
pub mod manifests;
pub mod openmetrics;
pub mod pages;
