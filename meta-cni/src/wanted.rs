//! Which networks a pod is to get: configuration + annotations → a list in order, default network
//! first, each with where its configuration is to be found. Pure; `gather` fetches them.

use std::path::PathBuf;

use serde_json::Value;

use crate::cluster::{NadName, Pod};
use crate::config::Config;
use crate::diagnosis::Diagnosis;
use crate::limits;
use crate::problem::{Problem, Problems};
use crate::selection::{self, Element};

/// What is written of the problems of an annotation: as much as an error and the journal keep.
const PROBLEMS_BYTES: usize = 16 << 10;

/// One network that a pod is to get.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Where its configuration is.
    pub source: Source,
    /// What the pod asks of it; empty if the pod did not ask for it itself.
    pub element: Element,
}

/// Where the configuration of a network is to be found.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// In our own configuration, at this index of `delegates`.
    Inline(usize, Value),
    /// In a NetworkAttachmentDefinition.
    Nad(NadName),
    /// In a NetworkAttachmentDefinition, else in the file of `confDir` whose network has this name.
    NadOrFile(NadName),
    /// In the file of `confDir` whose network has this name.
    File(String),
    /// In a NetworkAttachmentDefinition that the pod may not use, for this reason; it is not read.
    Refused(NadName, Diagnosis),
    /// In this file, or in the first one of this folder.
    Path(PathBuf),
}

impl Source {
    /// How people call the network: `namespace/name` of its NetworkAttachmentDefinition, its name or
    /// its file.
    pub fn label(&self) -> String {
        match self {
            Source::Inline(index, conf) => match conf.get("name").and_then(Value::as_str) {
                Some(name) => name.to_owned(),
                None => format!("delegates[{index}]"),
            },
            Source::Nad(name) | Source::NadOrFile(name) | Source::Refused(name, _) => {
                name.to_string()
            }
            Source::File(name) => name.clone(),
            Source::Path(path) => path.display().to_string(),
        }
    }
}

/// The networks of a pod, the default network first. Without a pod (no Kubernetes), only what the
/// configuration says. `clustered` says whether NetworkAttachmentDefinitions can be read at all.
///
/// # Errors
/// Everything that is wrong with the configuration and the annotations.
pub fn wanted(
    config: &Config,
    pod: Option<&Pod>,
    clustered: bool,
) -> Result<Vec<Wanted>, Problems> {
    let mut problems = Vec::new();
    let mut wanted = of_configuration(config, pod, clustered, &mut problems);
    if let Some(pod) = pod
        && let Some(replacement) = default_network_of(config, pod, &mut problems)
    {
        match wanted.first_mut() {
            Some(default) => *default = replacement,
            None => wanted.push(replacement),
        }
    }
    if wanted.is_empty() && problems.is_empty() {
        problems.push(Problem::permanent("configuration", no_default_network()));
    }
    if let Some(pod) = pod {
        wanted.extend(selected_by(config, pod, &mut problems));
    }
    if problems.is_empty() {
        Ok(wanted)
    } else {
        Err(Problems(problems))
    }
}

/// What is wrong with a configuration without a default network.
pub(crate) fn no_default_network() -> Diagnosis {
    Diagnosis::new(
        "names no default network",
        "set clusterNetwork, or delegates",
    )
}

/// The default network as the configuration has it, without any pod (STATUS and GC).
pub fn default_network(config: &Config, clustered: bool) -> Option<Wanted> {
    of_configuration(config, None, clustered, &mut Vec::new())
        .into_iter()
        .next()
}

/// The networks of the configuration that people call `network`; the default network as well if it is asked for.
pub fn of_network(
    config: &Config,
    network: &str,
    with_default: bool,
    clustered: bool,
) -> Vec<Wanted> {
    let secondaries = config.default_networks.iter();
    let secondaries = secondaries.map(|name| plain(by_name(config, name, clustered)));
    let default = default_network(config, clustered);
    let default = default.filter(|default| with_default || default.source.label() == network);
    let secondaries = secondaries.filter(|other| other.source.label() == network);
    default.into_iter().chain(secondaries).collect()
}

fn of_configuration(
    config: &Config,
    pod: Option<&Pod>,
    clustered: bool,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted> {
    let Some(cluster_network) = &config.cluster_network else {
        let inline = |(index, conf): (usize, &Value)| plain(Source::Inline(index, conf.clone()));
        return config.delegates.iter().enumerate().map(inline).collect();
    };
    let is_system = pod.is_some_and(|pod| config.system_namespaces.contains(&pod.namespace));
    let defaults = if is_system || pod.is_none() {
        &[][..]
    } else {
        &config.default_networks
    };
    let mut named = |name: &String| {
        if name.is_empty() {
            problems.push(Problem::permanent(
                "configuration key defaultNetworks",
                "has an empty name",
            ));
        }
        plain(by_name(config, name, clustered))
    };
    std::iter::once(cluster_network)
        .chain(defaults)
        .map(&mut named)
        .collect()
}

fn plain(source: Source) -> Wanted {
    Wanted {
        source,
        element: Element::default(),
    }
}

fn by_name(config: &Config, name: &str, clustered: bool) -> Source {
    if name.contains('/') {
        Source::Path(name.into())
    } else if clustered {
        let namespace = config.multus_namespace.clone();
        Source::NadOrFile(NadName {
            namespace,
            name: name.to_owned(),
        })
    } else {
        Source::File(name.to_owned())
    }
}

/// The network that the pod wants in place of the default one.
fn default_network_of(config: &Config, pod: &Pod, problems: &mut Vec<Problem>) -> Option<Wanted> {
    let annotation = selection::DEFAULT_NETWORK;
    let mut wrong = |what: Diagnosis| {
        problems.push(Problem::permanent(format!("annotation {annotation}"), what));
        None
    };
    let elements = match selection::parse(pod.annotations.get(annotation)?) {
        Ok(elements) => elements,
        Err(found) => return wrong(join(&found).into()),
    };
    let [element] = elements.as_slice() else {
        return match elements.len() {
            0 => None,
            _ => wrong(Diagnosis::new("names more than one network", "name one")),
        };
    };
    if element.interface.is_some() {
        return wrong(Diagnosis::new(
            "names an interface, and the container runtime names that one",
            "leave it out",
        ));
    }
    let namespace = element.namespace.as_ref();
    let namespace = namespace.unwrap_or(&config.multus_namespace);
    let source = selected(config, pod, namespace, &element.name);
    Some(Wanted {
        source,
        element: element.clone(),
    })
}

/// The networks that the pod asks for in addition.
fn selected_by(config: &Config, pod: &Pod, problems: &mut Vec<Problem>) -> Vec<Wanted> {
    let annotation = selection::NETWORKS;
    let Some(text) = pod.annotations.get(annotation) else {
        return Vec::new();
    };
    let elements = match selection::parse(text) {
        Ok(elements) => elements,
        Err(found) => {
            problems.push(Problem::permanent(
                format!("annotation {annotation}"),
                join(&found),
            ));
            return Vec::new();
        }
    };
    if elements.len() > limits::NETWORKS {
        let cause = format!(
            "names {} networks, and at most {} are allowed",
            elements.len(),
            limits::NETWORKS
        );
        let what = Diagnosis::new(cause, "name fewer");
        problems.push(Problem::permanent(format!("annotation {annotation}"), what));
        return Vec::new();
    }
    let wanted = |element: Element| {
        let namespace = element.namespace.as_ref().unwrap_or(&pod.namespace);
        Wanted {
            source: selected(config, pod, namespace, &element.name),
            element,
        }
    };
    elements.into_iter().map(wanted).collect()
}

/// A network that the pod names, if it may.
fn selected(config: &Config, pod: &Pod, namespace: &str, name: &str) -> Source {
    let name = NadName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    match isolation_problem(config, pod, namespace) {
        None => Source::Nad(name),
        Some(refusal) => Source::Refused(name, refusal),
    }
}

/// Why the pod may not name a network of `namespace`, if it may not.
fn isolation_problem(config: &Config, pod: &Pod, namespace: &str) -> Option<Diagnosis> {
    let allowed = !config.namespace_isolation
        || namespace == pod.namespace
        || config.global_namespaces().any(|global| global == namespace);
    (!allowed).then(|| {
        let own = &pod.namespace;
        Diagnosis::new(
            format!("namespaceIsolation keeps pods of {own} from networks of {namespace}"),
            format!(
                "use a network of {own} or of globalNamespaces ({})",
                config.global_namespaces
            ),
        )
    })
}

/// The problems in one line; an annotation can have a million of them, of which the first ones are enough.
fn join(problems: &[selection::SelectionProblem]) -> String {
    let mut line = String::new();
    for problem in problems {
        if line.len() > PROBLEMS_BYTES {
            line.push_str("; …");
            break;
        }
        let separator = if line.is_empty() { "" } else { "; " };
        line.push_str(separator);
        line.push_str(&problem.to_string());
    }
    line
}

#[cfg(test)]
mod tests;
