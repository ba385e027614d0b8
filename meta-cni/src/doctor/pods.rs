//! What pods ask for, planned as ADD would plan it, and whether network-status says what they have.

use std::collections::BTreeMap;

use cni::args::Args;
use cni::error::with_causes;
use serde_json::Value;

use super::finding::{Area, Finding};
use super::networks::Asking;
use crate::attachment::Attachment;
use crate::cluster::{NETWORK_STATUS, Pod};
use crate::config::Config;
use crate::device;
use crate::device::Device;
use crate::diagnosis::Diagnosis;
use crate::plan::{Inputs, plan};
use crate::problem::{Problem, Problems};
use crate::record::Record;
use crate::wanted::{Source, Wanted};

/// Where what a pod asks for is changed.
const IN_ANNOTATIONS: &str =
    "change the annotations of the pod, or of what makes it (its Deployment, for example)";

/// What keeps pods from being attached, but for what is wrong with the networks themselves. Pods with the same problem
/// share a finding.
pub(super) fn check(config: &Config, pods: &[Asking]) -> Vec<Finding> {
    let mut by_problem: BTreeMap<Diagnosis, Vec<String>> = BTreeMap::new();
    for asking in pods {
        for problem in problems(config, asking) {
            let pods = by_problem.entry(problem.diagnosis()).or_default();
            pods.push(name(&asking.pod));
        }
    }
    let finding = |(problem, pods): (Diagnosis, Vec<String>)| {
        let remedy = match problem.remedy {
            Some(remedy) => format!("{remedy}: {IN_ANNOTATIONS}"),
            None => IN_ANNOTATIONS.to_owned(),
        };
        let what = problem.cause;
        match pods.as_slice() {
            [pod] => Finding::fault(Area::Pod, format!("{pod}: {what}"), remedy),
            pods => Finding::fault(Area::Pod, format!("{} pods: {what}", pods.len()), remedy)
                .seen_all(pods.iter().cloned()),
        }
    };
    by_problem.into_iter().map(finding).collect()
}

/// The problems of one pod.
fn problems(config: &Config, asking: &Asking) -> Vec<Problem> {
    let wanted = match &asking.wanted {
        Ok(wanted) => wanted,
        Err(problems) => return problems.0.clone(),
    };
    let planned = planned(config, asking, wanted);
    let is_of_network = |problem: &Problem| {
        let networks = wanted.iter().zip(&asking.found);
        networks
            .filter(|(wanted, _)| !matches!(wanted.source, Source::Refused(..)))
            .any(|(_, found)| found.as_ref().err() == Some(problem))
    };
    match planned {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .0
            .into_iter()
            .filter(|problem| !is_of_network(problem))
            .collect(),
    }
}

/// The plan of one pod as ADD would make it, but for devices.
pub(super) fn planned(
    config: &Config,
    asking: &Asking,
    wanted: &[Wanted],
) -> Result<Vec<Attachment>, Problems> {
    let devices: Vec<Option<Device>> = vec![None; wanted.len()];
    plan(Inputs {
        config,
        container_id: "doctor",
        ifname: "eth0",
        args: &Args::default(),
        pod_ref: Some(&asking.pod.reference()),
        pod: Some(&asking.pod),
        wanted,
        found: &asking.found,
        devices: &devices,
    })
}

/// Whether the devices that the networks of a pod need were given to it; the kubelet is asked.
pub(super) fn check_devices(config: &Config, asking: &Asking) -> Option<Finding> {
    let wanted: &[Wanted] = asking.wanted.as_ref().ok()?;
    let error = device::assign(config, Some(&asking.pod), wanted, &asking.found).err()?;
    let cause = format!("{}: {}", name(&asking.pod), with_causes(&error));
    let remedy = "ask for one device an attachment in the resources of the pod's containers";
    Some(Finding::fault(Area::Pod, cause, remedy))
}

/// Whether network-status says what is recorded of the pods' interfaces.
pub(super) fn check_status<'r>(
    pods: &[Asking],
    records: impl Iterator<Item = &'r Record>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for record in records {
        let Some(is_true) = &record.network_status else {
            continue;
        };
        let Some(pod) = pods
            .iter()
            .map(|asking| &asking.pod)
            .find(|pod| is_of(record, pod))
        else {
            continue;
        };
        let written = pod.annotations.get(NETWORK_STATUS).map(String::as_str);
        let what = match written {
            None => "has no network-status, though its interfaces are there",
            Some(written) if is_same(written, is_true) => continue,
            Some(_) => "has a network-status that does not say which interfaces it has",
        };
        let remedy = "the agent of the node repairs it; without one, delete the pod so that it is attached anew";
        findings.push(
            Finding::warning(Area::Pod, format!("{} {what}", name(pod)), remedy)
                .seen(format!(
                    "network-status: {}",
                    short(written.unwrap_or("nothing"))
                ))
                .seen(format!("recorded: {}", short(is_true))),
        );
    }
    findings
}

fn is_of(record: &Record, pod: &Pod) -> bool {
    record.pod.as_ref().is_some_and(|of| of.names(pod))
}

/// Whether two JSON texts say the same.
fn is_same(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    read(one).is_some_and(|one| Some(one) == read(other))
}

/// The interfaces and addresses of a network-status; its text if it cannot be read.
fn short(status: &str) -> String {
    let Ok(Value::Array(elements)) = serde_json::from_str(status) else {
        return status.chars().take(100).collect();
    };
    let interface = |element: &Value| {
        let text = |key: &str| element[key].as_str().unwrap_or("?").to_owned();
        format!(
            "{} of {} {}",
            text("interface"),
            text("name"),
            element["ips"]
        )
    };
    elements
        .iter()
        .map(interface)
        .collect::<Vec<_>>()
        .join(", ")
}

fn name(pod: &Pod) -> String {
    format!("pod {}/{}", pod.namespace, pod.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::networks::{Knowledge, inspect};
    use super::*;
    use crate::cluster::PodRef;
    use crate::selection;

    fn config(more: Value) -> Config {
        let mut conf = json!({"delegates": [{"name": "d", "type": "bridge"}]});
        conf.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Config::parse(conf.as_object().unwrap()).unwrap()
    }

    fn pod(name: &str, networks: &str) -> Pod {
        Pod {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: "u".to_owned(),
            annotations: [(selection::NETWORKS.to_owned(), networks.to_owned())].into(),
            ..Pod::default()
        }
    }

    fn asking(config: &Config, pods: Vec<Pod>) -> Vec<Asking> {
        inspect(config, Knowledge::Nowhere, pods, Vec::new()).pods
    }

    #[test]
    fn what_is_wrong_with_an_annotation_names_the_pod() {
        let config = config(json!({"namespaceIsolation": true}));
        for (networks, cause) in [
            (
                "a b",
                "pod default/web: annotation k8s.v1.cni.cncf.io/networks: element 1",
            ),
            (
                "x@net9,y@net9",
                "pod default/web: network default/y: interface net9 is also that of network default/x",
            ),
            (
                "other/x",
                "pod default/web: network other/x: namespaceIsolation",
            ),
        ] {
            let found = check(&config, &asking(&config, vec![pod("web", networks)]));
            assert_eq!(
                found.len(),
                1,
                "another finding reports what is wrong with the networks: {found:?}"
            );
            assert!(found[0].cause.starts_with(cause), "{found:?}");
        }
    }

    #[test]
    fn pods_with_the_same_problem_share_a_finding() {
        let config = config(json!({}));
        let found = check(
            &config,
            &asking(&config, vec![pod("a", "a b"), pod("b", "a b")]),
        );
        assert!(
            found[0].cause.starts_with("2 pods: annotation"),
            "{found:?}"
        );
        assert_eq!(found[0].evidence, ["pod default/a", "pod default/b"]);
        assert_eq!(check(&config, &asking(&config, vec![pod("c", "")])), []);
    }

    #[test]
    fn the_network_status_of_a_static_pod_is_compared_by_the_uid_that_the_runtime_has() {
        let config = config(json!({}));
        let recorded = |uid: &str| {
            let reference = PodRef {
                namespace: "default".to_owned(),
                name: "web".to_owned(),
                uid: Some(uid.to_owned()),
            };
            let mut record = Record::planned("c", "/n", Some(reference), Vec::new());
            record.network_status = Some("[]".to_owned());
            record
        };
        let mut mirror = pod("web", "");
        mirror.annotations.extend(
            [
                ("kubernetes.io/config.source", "file"),
                ("kubernetes.io/config.hash", "h"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        for (uid, findings) in [("h", 1), ("other", 0)] {
            let pods = asking(&config, vec![mirror.clone()]);
            let found = check_status(&pods, [&recorded(uid)].into_iter());
            assert_eq!(found.len(), findings, "{uid}: {found:?}");
        }
    }

    #[test]
    fn network_status_is_held_against_the_record() {
        let config = config(json!({}));
        let attachment = serde_json::from_value(json!({
            "network": "d", "ifname": "eth0", "args": "",
            "list": {"name": "d", "version": "1.1.0", "plugins": [{"type": "bridge"}]},
        }));
        let reference = PodRef {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: Some("u".to_owned()),
        };
        let mut record = Record::planned("c", "/n", Some(reference), vec![attachment.unwrap()]);
        let right = r#"[{"name":"d","interface":"eth0"}]"#.to_owned();
        record.network_status = Some(right.clone());
        for (status, cause) in [
            (Some(right.clone()), None),
            (
                Some(right.replace("eth0", "eth9")),
                Some("pod default/web has a network-status that does not say"),
            ),
            (None, Some("pod default/web has no network-status")),
        ] {
            let mut pod = pod("web", "");
            pod.annotations
                .extend(status.map(|status| (NETWORK_STATUS.to_owned(), status)));
            let found = check_status(&asking(&config, vec![pod]), [&record].into_iter());
            assert_eq!(found.is_empty(), cause.is_none(), "{found:?}");
            assert!(
                cause.is_none_or(|cause| found[0].cause.starts_with(cause)),
                "{found:?}"
            );
        }
    }
}
