//! Which pods and networks there are to look at: listed where that is allowed, else those that are recorded.

use super::cluster::{Source, silent};
use super::finding::{Area, Finding};
use crate::cluster::api::ApiCluster;
use crate::cluster::{Cluster, ClusterError, Nad, Pod, PodRef};
use crate::cni::error::with_causes;

/// Pods and networks, as far as they could be had.
#[derive(Default)]
pub(super) struct Known {
    pub(super) pods: Vec<Pod>,
    pub(super) nads: Vec<Nad>,
    pub(super) findings: Vec<Finding>,
    pub(super) not_looked: Vec<String>,
}

/// The pods of this node and all networks: of a folder, or listed by `lister`. Where they may not be listed, the pods of
/// `recorded` are looked up one by one until `is_over`.
pub(super) fn list(
    source: &Source,
    lister: Option<&ApiCluster>,
    node: &str,
    recorded: &[PodRef],
    is_over: impl Fn() -> bool,
) -> Known {
    match source {
        Source::Nobody => Known::default(),
        // One that cannot be read was told before.
        Source::Folder(folder) => folder.everything().map_or_else(
            |_| Known::default(),
            |all| Known {
                pods: all.pods,
                nads: all.networks,
                ..Known::default()
            },
        ),
        Source::Api(api) => {
            let lister = lister.unwrap_or(api);
            let mut known = Known::default();
            match lister.pods_of(node) {
                Ok(listed) => {
                    known.pods = listed.items;
                    known.note(listed.has_more, "more than a thousand pods of this node");
                }
                Err(error) => {
                    let why = "pods of this node of which nothing is recorded (--pod names one, --kubeconfig may list all)";
                    known.note(true, &format!("{why}: {}", with_causes(&error)));
                    known.look_up(api, recorded, is_over);
                }
            }
            match lister.all_networks() {
                Ok(listed) => {
                    known.nads = listed.items;
                    known.note(
                        listed.has_more,
                        "networks beyond the first thousand that no pod of this node uses",
                    );
                }
                Err(error) => known.note(
                    true,
                    &format!(
                        "networks that no pod of this node uses: {}",
                        with_causes(&error)
                    ),
                ),
            }
            known
        }
    }
}

/// The one pod that is asked about.
pub(super) fn one(source: &Source, pod: &PodRef) -> Known {
    let mut known = Known::default();
    let cluster: &dyn Cluster = match source {
        Source::Nobody => {
            let cause = format!(
                "pod {pod} cannot be looked up: the configuration names neither kubeconfig nor networksDir"
            );
            known.findings.push(Finding::fault(
                Area::Configuration,
                cause,
                "set one of them",
            ));
            return known;
        }
        Source::Folder(folder) => folder,
        Source::Api(api) => api,
    };
    match cluster.pod(pod) {
        Ok(pod) => known.pods.push(with_status(source, pod)),
        Err(ClusterError::NotFound { what }) => {
            let cause = format!("{what} is not there");
            known.findings.push(Finding::fault(
                Area::Pod,
                cause,
                "correct the name (kubectl get pods -A)",
            ));
        }
        Err(error) => known.findings.push(silent(&error)),
    }
    known
}

/// In a folder, network-status is beside the manifest.
fn with_status(source: &Source, pod: Pod) -> Pod {
    let Source::Folder(folder) = source else {
        return pod;
    };
    let pods = folder.everything().map(|all| all.pods).unwrap_or_default();
    let same = |known: &Pod| (&known.namespace, &known.name) == (&pod.namespace, &pod.name);
    pods.into_iter().find(same).unwrap_or(pod)
}

impl Known {
    fn note(&mut self, is_so: bool, what: &str) {
        if is_so {
            self.not_looked.push(what.to_owned());
        }
    }

    fn look_up(&mut self, api: &ApiCluster, recorded: &[PodRef], is_over: impl Fn() -> bool) {
        for (index, pod) in recorded.iter().enumerate() {
            if is_over() {
                let left = recorded.len() - index;
                self.note(true, &format!("{left} recorded pods, for want of time"));
                return;
            }
            match api.pod(pod) {
                Ok(pod) => self.pods.push(pod),
                // Its sandbox is about to go.
                Err(ClusterError::NotFound { .. } | ClusterError::Replaced { .. }) => {}
                Err(error) => {
                    self.note(
                        true,
                        &format!("pod {pod} and those after it: {}", with_causes(&error)),
                    );
                    return;
                }
            }
        }
    }
}
