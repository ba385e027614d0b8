//! The servers around a node, each a real one: etcd with kube-apiserver, ipam-server. With what a client of a server needs.

pub mod certificates;
pub mod dial;
pub mod ipam;
pub mod kube;
pub mod manifests;
pub mod openmetrics;
pub mod pages;
