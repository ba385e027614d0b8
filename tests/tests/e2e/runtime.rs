//! meta-cni under a real container runtime: containerd and runc, called over CRI as a kubelet calls them,
//! with the real API server and the real ipam-server. Sandboxes start, reach each other and stop; containerd
//! and the whole machine go down at the wrong moment.

mod collect;
mod fixture;
mod machine;
mod reboot;
mod refused;
mod restart;
mod sandboxes;
mod status;
mod ttl;
