//! A configuration that names nobody who knows of networks, on a node to which pods of Kubernetes come: every ADD is
//! refused.

use super::finding::{Area, Finding};
use super::records::Recorded;
use crate::config::Config;
use crate::journal::Journal;

/// What shows that pods of Kubernetes come.
#[derive(Default)]
pub(super) struct Signs {
    /// As the configuration and the kubelet's folder have it.
    is_of_kubernetes: bool,
    /// A pod that the runtime named.
    pod: Option<String>,
}

/// Looks for signs.
pub(super) fn inspect(config: &Config, records: &Recorded) -> Signs {
    let recorded = records.records().find_map(|record| record.pod.as_ref());
    let recorded = recorded.map(ToString::to_string);
    // What was refused left no record. explain reports why a journal cannot be read.
    let refused = || {
        let operations = Journal::new(&config.state_dir).recent().unwrap_or_default();
        let mut pods = operations.into_iter().filter_map(|one| one.pod);
        pods.next().map(|pod| pod.to_string())
    };
    Signs {
        is_of_kubernetes: config.is_of_kubernetes(),
        pod: recorded.or_else(refused),
    }
}

/// The fault, if pods come.
pub(super) fn check(signs: &Signs) -> Option<Finding> {
    let evidence = match &signs.pod {
        Some(pod) => format!("the runtime asked for pod {pod}"),
        None if signs.is_of_kubernetes => {
            "a kubelet keeps pods on this node, or clusterNetwork is set".to_owned()
        }
        None => return None,
    };
    let cause = "nobody knows which networks pods ask for: the configuration has no kubeconfig and no networksDir, and no agent is here";
    let remedy = "set kubeconfig (README, Install) or networksDir, or run the agent (meta-cnid)";
    Some(Finding::fault(Area::Configuration, cause, remedy).seen(evidence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_fault_only_where_pods_of_kubernetes_come() {
        assert_eq!(check(&Signs::default()), None);
        let kubelet = Signs {
            is_of_kubernetes: true,
            pod: None,
        };
        let pod = Signs {
            is_of_kubernetes: false,
            pod: Some("shop/web".to_owned()),
        };
        for (signs, word) in [(kubelet, "kubelet"), (pod, "shop/web")] {
            let found = check(&signs).unwrap();
            assert!(found.evidence[0].contains(word), "{found:?}");
        }
    }
}
