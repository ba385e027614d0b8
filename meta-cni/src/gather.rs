//! Fetching what a plan needs: the configuration of every wanted network, and the pod's devices.
//! Everything is asked for, so that everything that is missing can be reported at once.

mod leases;

use std::collections::BTreeMap;

use cni::error::with_causes;
use cni::netconf::{self, FileError, NetConfError, NetConfList};

use crate::author::Author;
use crate::cluster::{Cluster, ClusterError, Nad, NadName};
use crate::config::Config;
use crate::diagnosis::{Diagnosis, Explain as _};
use crate::limits;
use crate::problem::{Fault, Problem};
use crate::tenant;
use crate::wanted::{Source, Wanted};
use leases::{Settings, file_leases};

/// What is wrong with a network that is not defined.
const MISSING: &str = "there is no such NetworkAttachmentDefinition";

/// The configuration of a wanted network.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The network's name for people, the same as Multus uses: `namespace/name` of its
    /// NetworkAttachmentDefinition, else the name of its configuration.
    pub network: String,
    /// The configuration; its name is never empty.
    pub list: NetConfList,
    /// The device plugin resource whose device goes to the attachment.
    pub resource_name: Option<String>,
    /// Whether CHECK asks the plugins although the network is a secondary one (`checkByPlugins`).
    pub check_by_plugins: bool,
    /// Whether the configuration names no network: its name is then that of what holds it.
    pub is_nameless: bool,
    /// Who wrote the configuration.
    pub author: Author,
}

impl Found {
    /// A network that has a configuration of the node only.
    ///
    /// # Errors
    /// [`NetConfError`] for a key of ours with a value that it cannot have.
    pub(crate) fn of(mut list: NetConfList) -> Result<Found, NetConfError> {
        let keys = std::mem::take(&mut list.keys);
        Ok(Found {
            network: list.name.clone(),
            check_by_plugins: netconf::switch(&keys, "checkByPlugins")?,
            is_nameless: list.name.is_empty(),
            list,
            resource_name: None,
            author: Author::Node,
        })
    }
}

/// The configuration of each of `wanted`, in their order.
pub fn gather(
    config: &Config,
    cluster: Option<&dyn Cluster>,
    wanted: &[Wanted],
) -> Vec<Result<Found, Problem>> {
    let nads = fetch(cluster, wanted);
    let answer = |name| nads.get(name).cloned().unwrap_or(Answer::Missing);
    let settings = Settings::new(config);
    wanted
        .iter()
        .map(|wanted| {
            let found = match &wanted.source {
                Source::Inline(_, conf) => plain(NetConfList::from_value(conf.clone())),
                Source::Path(path) if path.is_dir() => from_file(netconf::load_first(path)),
                Source::Path(path) => from_file(netconf::load_file(path)),
                Source::File(name) => from_file(netconf::find_by_name(&config.conf_dir, name)),
                Source::Refused(_, why) => Err(Problem::permanent("", why.clone())),
                Source::Nad(name) => {
                    from_nad(config, answer(name)).and_then(|found| isolated(config, name, found))
                }
                Source::NadOrFile(name) => match answer(name) {
                    Answer::Missing => from_file_instead(config, name),
                    answer => from_nad(config, answer),
                },
            };
            finish(found, &wanted.source, &settings)
        })
        .collect()
}

/// The configuration of a network that is known already.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn of_nad(config: &Config, nad: Nad) -> Result<Found, Problem> {
    let source = Source::Nad(nad.name.clone());
    finish(
        from_nad(config, Answer::There(nad)),
        &source,
        &Settings::new(config),
    )
}

/// The network's name for people; the name of its source if the network was not found.
pub fn label(source: &Source, found: &Result<Found, Problem>) -> String {
    match found {
        Ok(found) => found.network.clone(),
        Err(_) => source.label(),
    }
}

/// Names the network: in what was found, or in what is wrong. What is found gets all that it needs to lease.
fn finish(
    found: Result<Found, Problem>,
    source: &Source,
    settings: &Settings<'_>,
) -> Result<Found, Problem> {
    found
        .map(|found| named(found, source))
        .and_then(|found| settings.complete(found))
        .map_err(|mut problem| {
            problem.subject = format!("network {}", source.label());
            problem
        })
}

/// What the cluster said about one NetworkAttachmentDefinition.
#[derive(Clone)]
enum Answer {
    There(Nad),
    Missing,
    Failed(Problem),
}

impl From<Result<Nad, ClusterError>> for Answer {
    fn from(answer: Result<Nad, ClusterError>) -> Self {
        match answer {
            Ok(nad) => Answer::There(nad),
            Err(ClusterError::NotFound { .. }) => Answer::Missing,
            Err(error) if error.is_transient() => {
                Answer::Failed(Problem::transient("", error.diagnosis()))
            }
            Err(error) => Answer::Failed(Problem::permanent("", error.diagnosis())),
        }
    }
}

/// Asks for every NetworkAttachmentDefinition once.
fn fetch(cluster: Option<&dyn Cluster>, wanted: &[Wanted]) -> BTreeMap<NadName, Answer> {
    let Some(cluster) = cluster else {
        return BTreeMap::new();
    };
    let mut names: Vec<NadName> = wanted
        .iter()
        .filter_map(|wanted| match &wanted.source {
            Source::Nad(name) | Source::NadOrFile(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    let answers = cluster.networks(&names);
    names
        .into_iter()
        .zip(answers.into_iter().map(Answer::from))
        .collect()
}

fn from_nad(config: &Config, answer: Answer) -> Result<Found, Problem> {
    let nad = match answer {
        Answer::There(nad) => nad,
        Answer::Missing => {
            let what = Diagnosis::new(MISSING, "create it, or correct the name");
            return Err(Problem::permanent("", what).with_fault(Fault::NoDefinition));
        }
        Answer::Failed(problem) => return Err(problem),
    };
    limits::check_text(&nad.config).map_err(|error| Problem::permanent("", error.diagnosis()))?;
    let network = nad.name.to_string();
    let mut found = if nad.config.trim().is_empty() {
        from_file(netconf::find_by_name(&config.conf_dir, &nad.name.name))?
    } else {
        of_tenant(config, &nad.config)?
    };
    file_leases(&mut found.list, &nad.name);
    found.network = network;
    found.resource_name = nad.resource_name;
    Ok(found)
}

/// With namespaceIsolation, only the namespaces that all share may hand files of the node out to pods.
fn isolated(config: &Config, name: &NadName, found: Found) -> Result<Found, Problem> {
    let is_shared = || {
        config
            .global_namespaces()
            .any(|shared| shared == name.namespace)
    };
    if !config.namespace_isolation || found.author == Author::Tenant || is_shared() {
        return Ok(found);
    }
    let shared = &config.global_namespaces;
    Err(Problem::permanent(
        "",
        Diagnosis::new(
            format!(
                "its spec.config is empty and names a file of the node, which namespaceIsolation allows in \
                 globalNamespaces ({shared}) only"
            ),
            "write the configuration into it",
        ),
    ))
}

/// The text of a NetworkAttachmentDefinition.
fn of_tenant(config: &Config, text: &str) -> Result<Found, Problem> {
    let found = plain(NetConfList::parse(text))?;
    tenant::check(config, &found.list)
        .map_err(|refusal| Problem::permanent("", refusal.diagnosis()))?;
    Ok(Found {
        author: Author::Tenant,
        ..found
    })
}

fn from_file_instead(config: &Config, name: &NadName) -> Result<Found, Problem> {
    from_file(netconf::find_by_name(&config.conf_dir, &name.name)).map_err(|problem| {
        let what = Diagnosis {
            cause: format!("{MISSING}, and {}", problem.what.cause),
            ..problem.what
        };
        Problem::permanent("", what).with_fault(Fault::NoDefinition)
    })
}

fn from_file(list: Result<NetConfList, FileError>) -> Result<Found, Problem> {
    match list {
        Ok(list) => plain(Ok(list)),
        Err(error) => Err(Problem::permanent("", with_causes(&error))),
    }
}

fn plain(list: Result<NetConfList, NetConfError>) -> Result<Found, Problem> {
    list.and_then(Found::of)
        .map_err(|error| Problem::permanent("", format!("its configuration is not valid: {error}")))
}

/// Names a network whose configuration has no name. Plugins keep their state under this name, so it is the
/// name that Multus uses: that of the NetworkAttachmentDefinition.
fn named(mut found: Found, source: &Source) -> Found {
    if found.list.name.is_empty() {
        found.list.name = match source {
            Source::Nad(name) | Source::NadOrFile(name) | Source::Refused(name, _) => {
                file_leases(&mut found.list, name);
                name.name.clone()
            }
            Source::Inline(index, _) => format!("delegate{index}"),
            Source::File(name) => name.clone(),
            Source::Path(path) => path.file_stem().map_or_else(
                || "delegate0".to_owned(),
                |stem| {
                    stem.to_string_lossy()
                        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
                },
            ),
        };
    }
    if found.network.is_empty() {
        found.network = match source {
            Source::Inline(..) => source.label(),
            _ => found.list.name.clone(),
        };
    }
    found
}

#[cfg(test)]
mod tests;
