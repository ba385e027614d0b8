//! Which pods and networks are checked: the listed ones where listing is allowed, else the recorded ones.

use cni::error::with_causes;

use super::cluster::{Sources, silent};
use super::finding::{Area, Finding};
use crate::cluster::api::ApiCluster;
use crate::cluster::{Cluster, ClusterError, Nad, Pod, PodRef};

/// Pods and networks, as far as they could be had.
#[derive(Default)]
pub(super) struct Known {
    pub(super) pods: Vec<Pod>,
    pub(super) nads: Vec<Nad>,
    pub(super) findings: Vec<Finding>,
    pub(super) not_inspected: Vec<String>,
}

/// The pods of this node and all networks: of the folder, or listed by `lister`. Where they may not be listed, or none of
/// `recorded` is listed, these are read one by one in `cluster` until `is_over`.
pub(super) fn list(
    sources: &Sources,
    cluster: &dyn Cluster,
    lister: Option<&ApiCluster>,
    node: &str,
    recorded: &[PodRef],
    is_over: impl Fn() -> bool,
) -> Known {
    let mut known = Known::default();
    if let Some(folder) = &sources.folder {
        // One that cannot be read was reported before.
        if let Ok(all) = folder.everything() {
            (known.pods, known.nads) = (all.pods, all.networks);
        }
        return known;
    }
    match lister.map(|lister| lister.pods_of(node)) {
        Some(Ok(listed)) => {
            known.pods = listed.items;
            known.note(listed.has_more, "more than a thousand pods of this node");
            // One that is not listed beside others has ended; that all have is less likely than that the list is wrong.
            if !recorded.is_empty() && !recorded.iter().any(|pod| known.has(pod)) {
                let what = format!(
                    "pods of this node without a record: none of those with one is bound to node {node}; --node names this node"
                );
                known.note(true, &what);
                known.read_each(cluster, recorded, is_over);
            }
        }
        refused => {
            let what = "pods of this node of which nothing is recorded; --pod names one, --kubeconfig may list all";
            known.note_refusal(what, refused.and_then(Result::err));
            known.read_each(cluster, recorded, is_over);
        }
    }
    match lister.map(ApiCluster::all_networks) {
        Some(Ok(listed)) => {
            known.nads = listed.items;
            known.note(
                listed.has_more,
                "networks beyond the first thousand that no pod of this node uses",
            );
        }
        refused => known.note_refusal(
            "networks that no pod of this node uses",
            refused.and_then(Result::err),
        ),
    }
    known
}

/// The one pod that is asked about.
pub(super) fn one(sources: &Sources, cluster: &dyn Cluster, pod: &PodRef) -> Known {
    let mut known = Known::default();
    match cluster.pod(pod) {
        Ok(pod) => known.pods.push(match &sources.folder {
            Some(folder) => folder.with_status(pod),
            None => pod,
        }),
        Err(ClusterError::NotFound { what }) => {
            let cause = format!("{what} is not there");
            let remedy = "correct the name (kubectl get pods -A)";
            known
                .findings
                .push(Finding::fault(Area::Pod, cause, remedy));
        }
        Err(error) => known.findings.push(silent(&error)),
    }
    known
}

impl Known {
    fn note(&mut self, is_so: bool, what: &str) {
        if is_so {
            self.not_inspected.push(what.to_owned());
        }
    }

    fn note_refusal(&mut self, what: &str, error: Option<ClusterError>) {
        let why = error.map(|error| format!(": {}", with_causes(&error)));
        self.not_inspected
            .push(format!("{what}{}", why.unwrap_or_default()));
    }

    fn has(&self, pod: &PodRef) -> bool {
        let name = (&pod.namespace, &pod.name);
        let mut known = self.pods.iter();
        known.any(|known| (&known.namespace, &known.name) == name)
    }

    fn read_each(
        &mut self,
        cluster: &dyn Cluster,
        recorded: &[PodRef],
        is_over: impl Fn() -> bool,
    ) {
        for (index, pod) in recorded.iter().enumerate() {
            if is_over() {
                let left = recorded.len() - index;
                self.note(true, &format!("{left} recorded pods, for want of time"));
                return;
            }
            match cluster.pod(pod) {
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
