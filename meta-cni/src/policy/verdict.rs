//! Judging the networks of one pod, or one network that nobody uses: pure, values in and out.

use std::borrow::Cow;

use crds::AttachmentPolicySpec;
use crds::attachment_policy::RequestedAddresses;
use serde_json::Value;

use super::breach::Breach;
use super::built_in;
use super::known::{Known, Read, is_of_tenant};
use super::rules::{self, Text};
use crate::author::Author;
use crate::cluster::Pod;
use crate::config::{AttachmentPolicies, Mode};
use crate::diagnosis::Diagnosis;
use crate::gather::Found;
use crate::problem::Problem;
use crate::wanted::{Source, Wanted};

/// Whether a network that is not allowed is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// It is.
    Refused,
    /// It would be if the node enforced the built-in rules.
    Reported,
}

/// A network that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Which of the networks.
    pub(crate) index: usize,
    /// How people call it.
    pub(crate) network: String,
    /// Whether it is refused.
    pub(crate) grade: Grade,
    /// Why, and what to do.
    pub(crate) why: Diagnosis,
}

/// The networks that are not allowed. Without a pod, only the text of networks is judged.
pub(crate) fn verdicts(
    node: &AttachmentPolicies,
    known: &Known,
    pod: Option<&Pod>,
    wanted: &[Wanted],
    found: &[Result<Found, Problem>],
) -> Vec<Verdict> {
    let court = Court { node, known };
    let asked = wanted
        .iter()
        .skip(1)
        .filter(|one| is_of_tenant(one))
        .count();
    let mut verdicts = Vec::new();
    let mut named = 0;
    for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        let (Source::Nad(name), Ok(found)) = (&wanted.source, found) else {
            continue;
        };
        named += usize::from(index > 0);
        let requested = requested(wanted);
        let text = (found.author == Author::Tenant).then(|| Text {
            list: &found.list,
            has_resource: found.resource_name.is_some(),
            requested: &requested,
        });
        let request = pod.map(|pod| Request {
            namespace: &pod.namespace,
            is_default: index == 0,
            has_addresses: !requested.is_empty(),
            // The count is one network's fault only: that which is too many.
            networks: if index > 0 { named } else { 0 },
            asked,
        });
        if let Some((grade, why)) = court.judge(&name.namespace, text, request) {
            let network = found.network.clone();
            verdicts.push(Verdict {
                index,
                network,
                grade,
                why,
            });
        }
    }
    verdicts
}

/// Every address that a pod asks of a network.
fn requested(wanted: &Wanted) -> Cow<'_, [String]> {
    let element = &wanted.element;
    let by_args = element.cni_args.as_ref().and_then(|args| args.get("ips"));
    let Some(by_args) = by_args else {
        return Cow::Borrowed(&element.ips);
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut all = element.ips.clone();
    match by_args {
        Value::Array(items) => all.extend(items.iter().map(text)),
        other => all.push(text(other)),
    }
    Cow::Owned(all)
}

/// What a pod asks of one network.
#[derive(Clone, Copy)]
struct Request<'a> {
    namespace: &'a str,
    is_default: bool,
    has_addresses: bool,
    /// Which of the pod's networks it is, from 1; 0: the default one.
    networks: usize,
    /// How many it asks for.
    asked: usize,
}

impl Request<'_> {
    fn check(&self, rules: &AttachmentPolicySpec) -> Result<(), Breach> {
        if self.is_default && !rules.default_network_override {
            return Err(Breach::Override);
        }
        if self.has_addresses && rules.requested_addresses == RequestedAddresses::Deny {
            return Err(Breach::Requested);
        }
        match rules.max_networks {
            Some(most) if self.networks > usize::try_from(most).unwrap_or(usize::MAX) => {
                Err(Breach::Networks {
                    asked: self.asked,
                    most,
                })
            }
            _ => Ok(()),
        }
    }
}

/// What one policy must allow.
type Check<'a> = dyn Fn(&AttachmentPolicySpec) -> Result<(), Breach> + 'a;

/// What judges.
struct Court<'a> {
    node: &'a AttachmentPolicies,
    known: &'a Known,
}

impl Court<'_> {
    /// Why a network of `namespace` is not allowed, if it is not.
    fn judge(
        &self,
        namespace: &str,
        text: Option<Text<'_>>,
        request: Option<Request<'_>>,
    ) -> Option<(Grade, Diagnosis)> {
        let of_text =
            |rules: &AttachmentPolicySpec| text.map_or(Ok(()), |text| rules::check(rules, text));
        let of_request =
            |rules: &AttachmentPolicySpec| request.map_or(Ok(()), |request| request.check(rules));
        let whole = |rules: &AttachmentPolicySpec| of_text(rules).and_then(|()| of_request(rules));
        if let Some(floor) = &self.node.floor
            && let Err(breach) = whole(floor)
        {
            let why = Diagnosis::new(
                format!("this node does not allow {breach}, under no AttachmentPolicy"),
                "ask its administrator",
            );
            return Some((Grade::Refused, why));
        }
        if self.node.mode == Mode::Off {
            return None;
        }
        let parts: [(&str, &Check<'_>); 2] = match request {
            Some(request) if request.namespace != namespace => {
                [(namespace, &of_text), (request.namespace, &of_request)]
            }
            _ => [(namespace, &whole), (namespace, &|_| Ok(()))],
        };
        parts
            .into_iter()
            .find_map(|(namespace, check)| self.sentence(namespace, check))
    }

    /// Why none of the policies of a namespace allows what `check` finds.
    fn sentence(&self, namespace: &str, check: &Check<'_>) -> Option<(Grade, Diagnosis)> {
        let by = |read: &Read| match &read.spec {
            Ok(rules) => check(rules),
            Err(problem) => Err(Breach::Unreadable {
                name: super::breach::short(&read.name),
                problem: super::breach::short(problem),
            }),
        };
        let policies = self.known.matching(namespace);
        let (grade, breach) = if policies.is_empty() {
            let grade = match self.node.mode {
                Mode::Enforce => Grade::Refused,
                Mode::Report | Mode::Off => Grade::Reported,
            };
            (grade, check(&built_in::rules()).err()?)
        } else {
            let mut breaches = Vec::with_capacity(policies.len());
            for policy in policies {
                breaches.push(by(policy).err()?);
            }
            (Grade::Refused, breaches.swap_remove(0))
        };
        let why = Diagnosis::new(
            format!("no AttachmentPolicy allows {breach}"),
            format!("ask the administrator for one that allows it in namespace {namespace}"),
        );
        Some((grade, why))
    }
}
