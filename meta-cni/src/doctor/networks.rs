//! The networks that matter on this node: that of every pod, those that pods ask for, and those that are defined;
//! each with who uses it, and what is wrong with its definition.

use std::collections::BTreeMap;

use cni::error::Code;

use super::finding::{Area, Finding, Severity};
use crate::cluster::{Cluster, Nad, Pod};
use crate::config::Config;
use crate::gather::{Found, gather, label, of_nad};
use crate::problem::{Fault, Problem, Problems};
use crate::wanted::{Source, Wanted, wanted};

/// A network.
pub(super) struct Network {
    /// How people call it.
    pub(super) label: String,
    /// Where it is defined.
    pub(super) source: Source,
    /// Its configuration, or what is wrong with it.
    pub(super) found: Result<Found, Problem>,
    /// Who uses it on this node; nobody: it is only defined.
    pub(super) users: Vec<String>,
}

impl Network {
    /// The network for a person, with who uses it.
    pub(super) fn described(&self) -> String {
        match self.users.as_slice() {
            [] => format!("network {}, which no pod of this node uses", self.label),
            [one] => format!("network {} of {one}", self.label),
            [one, more @ ..] => format!("network {} of {one} and {} more", self.label, more.len()),
        }
    }

    /// A fault if it is used here, else a warning.
    pub(super) fn severity(&self) -> Severity {
        if self.users.is_empty() {
            Severity::Warning
        } else {
            Severity::Fault
        }
    }
}

/// A pod with the networks that it asks for.
pub(super) struct Asking {
    pub(super) pod: Pod,
    /// Its networks in order, or what is wrong with what it asks for.
    pub(super) wanted: Result<Vec<Wanted>, Problems>,
    /// Their configurations, in the same order.
    pub(super) found: Vec<Result<Found, Problem>>,
}

/// Networks and pods.
#[derive(Default)]
pub(super) struct Networks {
    pub(super) networks: Vec<Network>,
    pub(super) pods: Vec<Asking>,
    /// What is wrong with the networks that our configuration names for every pod.
    pub(super) problems: Vec<Problem>,
}

/// Where networks and pods are known: nowhere, somewhere that does not answer, or by somebody who does.
#[derive(Clone, Copy)]
pub(super) enum Knowledge<'a> {
    Nowhere,
    Silent,
    Known(&'a dyn Cluster),
}

/// Looks up what every pod, and each of `pods`, gets; `nads` are defined besides.
pub(super) fn inspect(
    config: &Config,
    knowledge: Knowledge<'_>,
    pods: Vec<Pod>,
    nads: Vec<Nad>,
) -> Networks {
    let clustered = !matches!(knowledge, Knowledge::Nowhere);
    let cluster = match knowledge {
        Knowledge::Known(cluster) => Some(cluster),
        _ => None,
    };
    let mut networks = Networks::default();
    let everybody = wanted(config, Some(&Pod::default()), clustered);
    let mut everybody = everybody.unwrap_or_else(|problems| {
        networks.problems = problems.0;
        Vec::new()
    });
    if matches!(knowledge, Knowledge::Silent) {
        everybody.retain(|wanted| !matches!(wanted.source, Source::Nad(_) | Source::NadOrFile(_)));
    }
    let asked = |pod: Pod| (wanted(config, Some(&pod), clustered), pod);
    let asked: Vec<_> = pods.into_iter().map(asked).collect();
    let mut all = everybody.clone();
    all.extend(
        asked
            .iter()
            .filter_map(|(wanted, _)| wanted.as_ref().ok())
            .flatten()
            .cloned(),
    );
    let mut found = gather(config, cluster, &all).into_iter();
    let mut known = Known::default();
    for (wanted, found) in everybody.iter().zip(found.by_ref()) {
        known.add(wanted, &found, "every pod");
    }
    for (wanted, pod) in asked {
        let count = wanted.as_ref().map_or(0, Vec::len);
        let found: Vec<_> = found.by_ref().take(count).collect();
        let user = format!("pod {}/{}", pod.namespace, pod.name);
        for (wanted, found) in wanted.iter().flatten().zip(&found) {
            known.add(wanted, found, &user);
        }
        networks.pods.push(Asking { pod, wanted, found });
    }
    for nad in nads {
        known.define(config, nad);
    }
    networks.networks = known.0.into_values().collect();
    networks
}

/// Networks by how people call them.
#[derive(Default)]
struct Known(BTreeMap<String, Network>);

impl Known {
    /// One that somebody uses. One that is refused to somebody is that pod's problem.
    fn add(&mut self, wanted: &Wanted, found: &Result<Found, Problem>, user: &str) {
        if matches!(wanted.source, Source::Refused(..)) {
            return;
        }
        let label = label(&wanted.source, found);
        let network = self.0.entry(label.clone()).or_insert_with(|| Network {
            label,
            source: wanted.source.clone(),
            found: found.clone(),
            users: Vec::new(),
        });
        if network
            .users
            .first()
            .is_none_or(|first| first != "every pod")
            && network.users.last().is_none_or(|last| last != user)
        {
            network.users.push(user.to_owned());
        }
    }

    /// One that is there.
    fn define(&mut self, config: &Config, nad: Nad) {
        let label = nad.name.to_string();
        self.0.entry(label.clone()).or_insert_with(|| Network {
            label,
            source: Source::Nad(nad.name.clone()),
            found: of_nad(config, nad),
            users: Vec::new(),
        });
    }
}

/// What is wrong with definitions.
pub(super) fn check(networks: &Networks) -> Vec<Finding> {
    let configured = networks.problems.iter().map(|problem| {
        let cause = problem.diagnosis().cause;
        Finding::fault(
            Area::Configuration,
            cause,
            "correct the configuration that the runtime reads",
        )
    });
    let broken = networks.networks.iter().filter_map(|network| {
        let problem = network.found.as_ref().err()?;
        let area = if problem.code == Code::TRY_AGAIN_LATER {
            Area::Cluster
        } else {
            Area::Network
        };
        let cause = problem.diagnosis().cause;
        let mut found =
            Finding::fault(area, cause, remedy(&network.source, problem)).seen(network.described());
        found.severity = network.severity();
        Some(found)
    });
    configured.chain(broken).collect()
}

/// What an administrator can do: more than what the problem says to a tenant.
fn remedy(source: &Source, problem: &Problem) -> String {
    match source {
        Source::Nad(name) | Source::NadOrFile(name) if problem.fault == Fault::NoDefinition => {
            format!(
                "create it, or correct the name (kubectl -n {} get network-attachment-definitions lists those that exist)",
                name.namespace
            )
        }
        _ if problem.fault == Fault::NodeSettings => {
            "correct ipam.yaml of this node; the log of meta-cni has its path and what is wrong with it".to_owned()
        }
        Source::Nad(name) | Source::NadOrFile(name) | Source::Refused(name, _) => format!(
            "check it (kubectl -n {} get network-attachment-definitions {} -o yaml) and correct it, or what names it",
            name.namespace, name.name
        ),
        Source::Inline(index, _) => {
            format!("correct delegates[{index}] in the configuration that the runtime reads")
        }
        Source::File(_) => "put the network into a file of confDir, or correct the name".to_owned(),
        Source::Path(path) => format!("correct {}, or clusterNetwork", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::cluster::{ClusterError, Event, NadName, PodRef};
    use crate::selection;

    /// Knows the networks `default/good` and `default/bad`.
    struct Two;

    impl Cluster for Two {
        fn pod(&self, _: &PodRef) -> Result<Pod, ClusterError> {
            unreachable!()
        }
        fn networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
            names.iter().map(|name| nad(&name.name)).collect()
        }
        fn policies(
            &self,
            namespaces: &[String],
        ) -> Result<Vec<Vec<crate::cluster::Policy>>, ClusterError> {
            Ok(vec![Vec::new(); namespaces.len()])
        }

        fn report(&self, _: &Pod, _: Option<&str>, _: &[Event]) -> Result<(), ClusterError> {
            unreachable!()
        }
        fn ready(&self, _: Duration) -> Result<(), ClusterError> {
            Ok(())
        }
    }

    fn nad(name: &str) -> Result<Nad, ClusterError> {
        let config = match name {
            "good" => json!({"name": "good", "type": "bridge"}).to_string(),
            "bad" => "{".to_owned(),
            _ => {
                let what = name.to_owned();
                return Err(ClusterError::NotFound { what });
            }
        };
        let name = NadName {
            namespace: "default".to_owned(),
            name: name.to_owned(),
        };
        Ok(Nad {
            name,
            config,
            resource_name: None,
        })
    }

    fn pod(name: &str, networks: &str) -> Pod {
        Pod {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            annotations: [(selection::NETWORKS.to_owned(), networks.to_owned())].into(),
            ..Pod::default()
        }
    }

    fn config() -> Config {
        let conf = json!({"delegates": [{"name": "d", "type": "bridge"}]});
        Config::parse(conf.as_object().unwrap()).unwrap()
    }

    #[test]
    fn each_network_is_known_once_with_its_users() {
        let pods = vec![pod("a", "good,bad"), pod("b", "good")];
        let networks = inspect(
            &config(),
            Knowledge::Known(&Two),
            pods,
            vec![nad("good").unwrap()],
        );
        let shown: Vec<_> = networks.networks.iter().map(Network::described).collect();
        assert_eq!(
            shown,
            [
                "network d of every pod",
                "network default/bad of pod default/a",
                "network default/good of pod default/a and 1 more"
            ]
        );
    }

    #[test]
    fn a_broken_network_is_a_fault_where_it_is_used() {
        let used_by = |pods| {
            inspect(
                &config(),
                Knowledge::Known(&Two),
                pods,
                vec![nad("bad").unwrap()],
            )
        };
        let used = check(&used_by(vec![pod("a", "bad,missing")]));
        assert_eq!(used.len(), 2, "{used:?}");
        assert!(used.iter().all(|found| found.severity == Severity::Fault));
        assert!(
            used[0]
                .cause
                .contains("network default/bad: its configuration is not valid: not valid JSON"),
            "{used:?}"
        );
        assert!(
            used[1]
                .cause
                .contains("network default/missing: there is no such"),
            "{used:?}"
        );
        let unused = check(&used_by(Vec::new()));
        assert_eq!(unused[0].severity, Severity::Warning);
    }

    #[test]
    fn without_an_answer_only_what_is_on_the_node_is_checked() {
        let mut config = config();
        config.cluster_network = Some("default".to_owned());
        let networks = inspect(&config, Knowledge::Silent, Vec::new(), Vec::new());
        assert!(networks.networks.is_empty() && networks.problems.is_empty());
        config.cluster_network = None;
        config.delegates.clear();
        let networks = inspect(&config, Knowledge::Nowhere, Vec::new(), Vec::new());
        assert!(
            check(&networks)[0]
                .cause
                .contains("names no default network")
        );
    }
}
