//! Where distributions of Kubernetes keep the folders of CNI. The table is the same as that of the chart
//! (deploy/chart/layouts.yaml): a test compares them.

use clap::ValueEnum;

/// A distribution of Kubernetes, by its folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Layout {
    /// kubeadm, containerd and CRI-O as their projects ship them
    #[default]
    Standard,
    /// The packages of containerd and CRI-O of Debian and Ubuntu
    Debian,
    /// K3s since October 2024
    K3s,
    /// RKE2
    Rke2,
    /// MicroK8s
    Microk8s,
    /// OpenShift: its default network has a folder of its own
    Openshift,
    /// Talos Linux
    Talos,
}

/// The folders of a layout, as paths of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paths {
    /// What the container runtime reads its network configuration from.
    pub(super) conf: &'static str,
    /// Where the container runtime searches plugins.
    pub(super) bin: &'static str,
    /// Where the installer of the primary network writes its configuration.
    pub(super) primary: &'static str,
    /// The kubelet's folder.
    pub(super) kubelet: &'static str,
}

const STANDARD: Paths = Paths {
    conf: "/etc/cni/net.d",
    bin: "/opt/cni/bin",
    primary: "/etc/cni/net.d",
    kubelet: "/var/lib/kubelet",
};

impl Layout {
    /// Its folders.
    pub(super) fn paths(self) -> Paths {
        match self {
            // RKE2 and Talos keep to the usual folders; Talos has them writable on its read-only root.
            Layout::Standard | Layout::Rke2 | Layout::Talos => STANDARD,
            Layout::Debian => Paths {
                bin: "/usr/lib/cni",
                ..STANDARD
            },
            Layout::K3s => Paths {
                conf: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
                bin: "/var/lib/rancher/k3s/data/cni",
                primary: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
                ..STANDARD
            },
            Layout::Microk8s => Paths {
                conf: "/var/snap/microk8s/current/args/cni-network",
                bin: "/var/snap/microk8s/current/opt/cni/bin",
                primary: "/var/snap/microk8s/current/args/cni-network",
                kubelet: "/var/snap/microk8s/common/var/lib/kubelet",
            },
            Layout::Openshift => Paths {
                conf: "/etc/kubernetes/cni/net.d",
                bin: "/var/lib/cni/bin",
                primary: "/run/multus/cni/net.d",
                ..STANDARD
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CHART: &str = include_str!("../../../deploy/chart/layouts.yaml");

    #[test]
    fn the_chart_has_the_same_table() {
        let chart: Value = process::yaml::read(CHART).unwrap();
        let chart = chart.as_object().unwrap();
        for layout in Layout::value_variants() {
            let value = layout.to_possible_value().unwrap();
            let paths = layout.paths();
            let written = json!({
                "confDir": paths.conf, "binDir": paths.bin, "primaryDir": paths.primary, "kubeletDir": paths.kubelet,
            });
            assert_eq!(chart[value.get_name()], written, "{layout:?}");
        }
        assert_eq!(chart.len(), Layout::value_variants().len());
    }
}
