//! What tenants ask for and may not: the networks of pods and those that are only defined, before the AttachmentPolicies
//! and the floor of the node, as ADD judges them.

use std::collections::BTreeMap;

use cni::error::with_causes;

use super::finding::{Area, Finding, Severity};
use super::networks::{Knowledge, Networks};
use super::report;
use crate::cluster::ClusterError;
use crate::config::Config;
use crate::config::Mode;
use crate::diagnosis::Diagnosis;
use crate::policy::{Grade, Known, namespaces_of, verdicts};
use crate::wanted::{Source, Wanted};

/// What is judged.
#[derive(Default)]
pub(super) struct Judged {
    mode: Mode,
    /// By network and why it is not allowed.
    networks: BTreeMap<(String, Diagnosis), Case>,
    /// Why policies are not known.
    unknown: Option<ClusterError>,
}

/// A network that is not allowed.
struct Case {
    is_refused: bool,
    /// The pods that ask for it.
    users: Vec<String>,
}

/// Judges everything.
pub(super) fn inspect(config: &Config, knowledge: Knowledge<'_>, networks: &Networks) -> Judged {
    let node = &config.attachment_policy;
    let mut judged = Judged {
        mode: node.mode,
        ..Judged::default()
    };
    let unused = networks.networks.iter();
    let unused = unused
        .filter(|network| network.users.is_empty())
        .map(|network| {
            let wanted = Wanted {
                source: network.source.clone(),
                element: Default::default(),
            };
            (wanted, network.found.clone())
        });
    let (alone, found): (Vec<_>, Vec<_>) = unused.unzip();
    let pods = || {
        networks
            .pods
            .iter()
            .filter_map(|asking| Some((asking, asking.wanted.as_ref().ok()?)))
    };
    let mut namespaces = namespaces_of(None, &alone, &found);
    for (asking, wanted) in pods() {
        namespaces.extend(namespaces_of(Some(&asking.pod), wanted, &asking.found));
    }
    namespaces.sort();
    namespaces.dedup();
    let known = match knowledge {
        Knowledge::Known(cluster) if node.mode != Mode::Off => cluster.policies(&namespaces),
        _ => Ok(vec![Vec::new(); namespaces.len()]),
    };
    let known = match known {
        Ok(policies) => Known::of(namespaces, policies),
        Err(error) => {
            judged.unknown = Some(error);
            return judged;
        }
    };
    for (asking, wanted) in pods() {
        let user = format!("pod {}/{}", asking.pod.namespace, asking.pod.name);
        for verdict in verdicts(node, &known, Some(&asking.pod), wanted, &asking.found) {
            judged.add(verdict.network, verdict.why, verdict.grade, Some(&user));
        }
    }
    for (wanted, found) in alone.into_iter().zip(found) {
        if matches!(wanted.source, Source::Nad(_)) {
            for verdict in verdicts(node, &known, None, &[wanted], &[found]) {
                judged.add(verdict.network, verdict.why, verdict.grade, None);
            }
        }
    }
    judged
}

impl Judged {
    fn add(&mut self, network: String, why: Diagnosis, grade: Grade, user: Option<&str>) {
        let case = self.networks.entry((network, why)).or_insert(Case {
            is_refused: grade == Grade::Refused,
            users: Vec::new(),
        });
        case.users.extend(user.map(str::to_owned));
    }

    /// The numbers.
    pub(super) fn summary(&self) -> Option<report::Judged> {
        let refused = self
            .networks
            .values()
            .filter(|case| case.is_refused)
            .count();
        self.unknown.is_none().then(|| report::Judged {
            mode: self.mode.as_str(),
            refused,
            would_be_refused: self.networks.len() - refused,
        })
    }
}

/// What is refused; with `all`, also what only would be.
pub(super) fn check(judged: &Judged, all: bool) -> Vec<Finding> {
    let unknown = judged.unknown.iter().map(|error| {
        let cause = format!("AttachmentPolicies are not known: {}", with_causes(error));
        let remedy = "apply deploy/rbac.yaml and deploy/agent-rbac.yaml of this version, and restart the agent";
        match judged.mode {
            Mode::Enforce => Finding::fault(Area::Policy, cause, remedy),
            Mode::Report | Mode::Off => Finding::warning(Area::Policy, cause, remedy),
        }
    });
    let cases = judged
        .networks
        .iter()
        .filter(|(_, case)| all || case.is_refused);
    let cases = cases.map(|((network, why), case)| {
        let would = if case.is_refused {
            ""
        } else {
            "would be refused: "
        };
        let cause = format!("network {network}: {would}{}", why.cause);
        let remedy =
            "allow it by an AttachmentPolicy, or change the network or the pod (docs/src/security.md)";
        let mut found =
            Finding::fault(Area::Policy, cause, remedy).seen_all(case.users.iter().cloned());
        if !case.is_refused || case.users.is_empty() {
            found.severity = Severity::Warning;
        }
        found
    });
    unknown.chain(cases).collect()
}
