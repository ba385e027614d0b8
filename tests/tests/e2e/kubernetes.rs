//! meta-cni with Kubernetes: a real etcd and kube-apiserver, the CustomResourceDefinition and the rights
//! as they are shipped, and meta-cni with the token of the ServiceAccount in `deploy/rbac.yaml`.

mod crd;
mod credentials;
mod del;
mod drop_in;
mod faults;
mod fixture;
mod in_cluster;
mod install;
mod migrate;
mod pods;
mod problems;
mod rights;
mod status;
mod switch;
mod undo;
