//! What every verb works with: the request, our configuration, and the parts that it names. The one
//! place where these are wired together.

use std::time::Duration;

use cni::error::Code;
use cni::plugins::{Call, Executables, PluginError, Plugins, Target, TimeLimit};
use cni::skel::{Command, Request};
use plugins::Builtin;

use super::failure::Failure;
use crate::attachment::Attachment;
use crate::builtin::of_node;
use crate::cluster::sources::{Sources, Surroundings, Waiting};
use crate::cluster::{Cluster, PodRef};
use crate::config::Config;
use crate::delegates::{DELEGATE_FAILED, Traced};
use crate::diagnosis::Explain as _;
use crate::limits;
use crate::problem::Problem;
use crate::record::{MultusFiles, Records};
use crate::run::Runner;

/// The most that a lock is waited for beyond the time of one delegate.
const LOCK_MARGIN: Duration = Duration::from_secs(10);
/// The part of an ADD's time that is kept for its undo: a fifth.
const UNDO_PART: u32 = 5;

pub(super) struct Context<'a> {
    pub(super) request: &'a Request,
    pub(super) config: Config,
    pub(super) pod_ref: Option<PodRef>,
    pub(super) records: Records,
    pub(super) multus: MultusFiles,
    pub(super) cluster: Option<Box<dyn Cluster>>,
    plugins: Traced<Builtin<Executables>>,
    limit: TimeLimit,
    /// The same with time kept for an undo.
    attaching: TimeLimit,
}

impl<'a> Context<'a> {
    /// Reads the configuration and wires the parts; nothing is opened yet but the log.
    pub(super) fn new(request: &'a Request) -> Result<Context<'a>, Failure> {
        let config = Config::parse(&request.conf)
            .inspect_err(|_| crate::logging::start(&Config::default()))?;
        crate::logging::start(&config);
        // What an earlier configuration made is deleted also under one that has lost its name.
        if !matches!(request.env.command, Command::Del | Command::Gc) {
            config.check_name()?;
        }
        limits::begin(config.verb_timeout());
        Ok(Context {
            request,
            pod_ref: PodRef::named_by(&request.env.args),
            records: Records::new(&config.state_dir),
            multus: MultusFiles::new(&config.cni_dir),
            cluster: cluster(&config, request.env.command),
            plugins: Traced(of_node(
                config.plugin_dirs(&request.env.path),
                config.builtin_plugins.clone(),
            )),
            limit: limit(&config, Duration::ZERO),
            attaching: limit(&config, config.verb_timeout() / UNDO_PART),
            config,
        })
    }

    pub(super) fn runner(&self) -> Runner<'_> {
        Runner {
            plugins: &self.plugins,
            limit: self.limit,
            parallel: self.config.max_parallel_delegates,
        }
    }

    /// Runs plugins as long as there is time left to undo what they did.
    pub(super) fn attaching(&self) -> Runner<'_> {
        Runner {
            plugins: &self.plugins,
            limit: self.attaching,
            parallel: self.config.max_parallel_delegates,
        }
    }

    pub(super) fn cluster(&self) -> Option<&dyn Cluster> {
        self.cluster.as_deref()
    }

    pub(super) fn container_id(&self) -> &str {
        &self.request.env.container_id
    }

    /// What plugins of `attachments` would refuse before they make anything, and those that are not on this node.
    pub(super) fn plugin_problems(&self, attachments: &[Attachment]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for attachment in attachments {
            let subject = || format!("network {}", attachment.network);
            for plugin in &attachment.list.plugins {
                let (kind, conf) = (plugin.plugin_type(), plugin.as_map());
                if let Err(missing) = self.plugins.locate(kind, conf) {
                    problems.push(Problem {
                        code: DELEGATE_FAILED,
                        ..Problem::permanent(subject(), missing.diagnosis())
                    });
                    continue;
                }
                let target = Target {
                    container_id: self.container_id(),
                    netns: &self.request.env.netns,
                    ifname: &attachment.ifname,
                    args: &attachment.args,
                };
                let stdin = plugin.stdin_with([]);
                let call = Call::new(kind, Command::Add, target, &stdin);
                if let Err(refused) = self.plugins.validate(&call) {
                    problems.push(Problem {
                        code: code_of(&refused),
                        ..Problem::permanent(subject(), refused.diagnosis())
                    });
                }
            }
        }
        problems
    }

    pub(super) fn plugins(&self) -> &dyn Plugins {
        &self.plugins
    }

    /// How long a plugin may work, and all of them.
    pub(super) fn limit(&self) -> TimeLimit {
        self.limit
    }

    /// How long the sandbox's lock is waited for.
    pub(super) fn lock_limit(&self) -> Duration {
        (self.config.delegate_timeout() + LOCK_MARGIN).min(limits::left())
    }
}

/// The code of a plugin's refusal.
fn code_of(error: &PluginError) -> Code {
    match error {
        PluginError::Failed { object, .. } => object.code,
        _ => DELEGATE_FAILED,
    }
}

/// How long a plugin may work: for its own time, and until the call's time is over but for the part that is kept.
fn limit(config: &Config, kept: Duration) -> TimeLimit {
    let limit = TimeLimit::per_call(config.delegate_timeout());
    let end = limits::deadline().and_then(|deadline| deadline.checked_sub(kept));
    end.map_or(limit, |end| limit.until(end))
}

/// Who answers for pods and networks. DEL needs nobody: it asks only if nothing is recorded, and does not wait for a pod.
/// STATUS reports at once that nobody answers.
fn cluster(config: &Config, command: Command) -> Option<Box<dyn Cluster>> {
    let waiting = match command {
        Command::Del | Command::Status => Waiting::Impatient,
        _ => Waiting::Patient,
    };
    let sources = Sources::of(config, Surroundings::of_process());
    sources.preferred(config.agent_timeout(), waiting)
}
