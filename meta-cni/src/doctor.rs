//! `meta-cni doctor`: what is wrong on this node, worst and most causal first.
//!
//! Evidence is read, each piece within a time limit and without changing anything; each family of checks turns
//! its evidence into findings; the report puts them in order. One file a family: `inspect` gathers, `check` judges.

mod addresses;
mod agent;
mod certificate;
mod cluster;
mod conf;
mod default_routes;
mod dhcp;
mod finding;
mod host_local;
mod kernel;
mod known;
mod late;
mod links;
mod names;
mod networks;
mod nobody;
mod ourselves;
mod plugins;
mod pods;
mod policy;
mod records;
mod report;
mod retries;
mod state;
mod together;

use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use ::plugins::Builtin;
use clap::Args;
use cni::error::with_causes;
use cni::plugins::Executables;
use jiff::Timestamp;

use crate::builtin::of_node;
use crate::cluster::PodRef;
use crate::cluster::api::ApiCluster;
use crate::cluster::sources::{Sources, Surroundings};
use crate::host::host_name;
use crate::record::Records;
use networks::Knowledge;

pub use finding::{Area, Finding, Severity};
pub use report::{Format, Inspected, Report};

/// For the agent, and for the API server.
const CLUSTER_LIMIT: Duration = Duration::from_secs(2);
/// Once so much time is over, recorded pods are no more read one by one.
const POD_LIMIT: Duration = Duration::from_millis(2500);
/// One plugin's VERSION, and one server of addresses: however long others took before, this limit separates one that is
/// slow from one that hangs.
const PLUGIN_LIMIT: Duration = Duration::from_millis(1500);

/// This program.
const OWN: &str = "/proc/self/exe";

const HELP: &str = "\
What is checked:
  configuration   which file of --conf-dir the runtime uses, whether it is ours, its JSON and its keys; meta-cni in --cni-path
  state           stateDir: writable, with room
  agent           its socket: exists, is root's, answers; its version and watches
  cluster         API server: reachable, token and certificates good, rights, the CRD; or networksDir
  readiness       readinessindicatorfile
  kernel          kinds of interfaces that networks need
  plugin          every plugin that a network, or the DEL of a pod, needs: installed, executable, of the right CNI version
  link            masters and devices: exist, are up, have a carrier; MTU of a network against that of the interface below it
  addresses       meta-ipam: server, certificate, pools; host-local: free addresses; dhcp: its daemon
  network         definitions that cannot be read or are missing, share a name, or set one default route twice
  policy          what tenants ask for and AttachmentPolicies, or the floor of the node, do not allow
  pod             annotations, interface names, isolation, planned as ADD would; network-status against the record;
                  what interfaces learned from router advertisements
  record          records of sandboxes that are gone, unfinished or unreadable; DELs that failed; releases of leases that wait

A fault is something that does not work now; a warning is something that will not for long. Findings come in this
order, faults first, so that a cause stands before what follows from it.

Nothing is changed: no file is written, no interface made outside of a namespace that ends with doctor, no plugin
executed but for VERSION. It takes less than a second, and about 5 seconds where nobody answers.

Exit status: 0 no fault (there may be warnings), 1 at least one fault, 2 wrong arguments or not root.

Examples:
  meta-cni doctor
  meta-cni doctor --pod default/web                           why does this pod not start?
  meta-cni doctor --kubeconfig /etc/kubernetes/admin.conf     all pods of this node, all networks
  meta-cni doctor --policy                                    what would attachmentPolicy \"enforce\" refuse?
  meta-cni doctor -o json | jq -r '.findings[] | .severity + \": \" + .cause'";

/// Find out what is wrong on this node, and what to do
///
/// Checks everything that an attachment needs, from the file that the container runtime reads to the last free address,
/// and reports every fault with its cause, its evidence, and one remedy. The first line names the cause that
/// matters most. Run it as root on the node.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// Check this pod only, and plan it as ADD would; without a namespace: of `default`
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod_name)]
    pod: Option<PodRef>,
    /// How the report is written to standard output
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Format,
    /// Folder that the container runtime reads its network configuration from
    #[arg(long, default_value = "/etc/cni/net.d", value_name = "DIR")]
    conf_dir: PathBuf,
    /// Folders in which the container runtime searches plugins, separated by colons
    #[arg(
        long,
        env = "CNI_PATH",
        default_value = "/opt/cni/bin",
        value_name = "DIRS"
    )]
    cni_path: String,
    /// List pods and networks with this kubeconfig: that of meta-cni may not list. Everything else is asked with the
    /// configured one
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// This node in Kubernetes [default: as the agent calls it, else the host name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Report only what tenants ask for and AttachmentPolicies do not allow: also what is not refused yet, as long as
    /// attachmentPolicy is not "enforce"
    #[arg(long)]
    policy: bool,
}

fn pod_name(text: &str) -> Result<PodRef, String> {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return Err("must be of the form NAMESPACE/NAME".to_owned());
    }
    Ok(PodRef {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: None,
    })
}

/// Examines this node and writes the report to `to`; gives whether there is no fault.
///
/// # Errors
/// As `to` has them.
pub fn run(options: &Options, to: &mut impl io::Write) -> io::Result<bool> {
    let mut report = examine(options).in_order();
    if options.policy {
        report.findings.retain(|found| found.area == Area::Policy);
    }
    report.write(options.output, to)?;
    Ok(report.faults() == 0)
}

/// Looks at everything, as far as what was seen before allows it.
fn examine(options: &Options) -> Report {
    let mut report = Report::default();
    report
        .inspected
        .versions
        .insert("doctor", env!("CARGO_PKG_VERSION").to_owned());
    let files = match conf::read(&options.conf_dir) {
        Ok(files) => files,
        Err(found) => {
            report.findings.push(found);
            return report;
        }
    };
    let (findings, ours) = conf::check(&options.conf_dir, &files);
    report.findings.extend(findings);
    match ours {
        Some(ours) => Examination::new(options, ours, report).run(),
        None => {
            report
                .not_inspected
                .push("everything else: it depends on that configuration".to_owned());
            report
        }
    }
}

/// A run on a node whose configuration is known.
struct Examination<'o> {
    options: &'o Options,
    ours: conf::Ours,
    report: Report,
    start: Instant,
    now: Timestamp,
}

impl<'o> Examination<'o> {
    fn new(options: &'o Options, ours: conf::Ours, mut report: Report) -> Self {
        report.inspected.configuration = Some(ours.path.display().to_string());
        Examination {
            options,
            ours,
            report,
            start: Instant::now(),
            now: Timestamp::now(),
        }
    }

    fn run(mut self) -> Report {
        let config = self.ours.config.clone();
        let records = records::inspect(&Records::new(&config.state_dir), self.options.pod.as_ref());
        self.take(state::check(&state::inspect(&config)));
        let failing = retries::inspect(&config, &records, self.options.pod.is_some());
        self.take(retries::check(&failing, &records, self.now));
        self.take(records::check(&records));
        self.report.inspected.records = records.records().count();

        let named = Sources::of(&config, Surroundings::of_process());
        let sources = cluster::Sources::of(named);
        let seen = sources.inspect(CLUSTER_LIMIT);
        self.take(seen.check(self.now));
        if let Some(version) = seen.agent_version() {
            let version = version.to_owned();
            self.report.inspected.versions.insert("agent", version);
        }
        let knowledge = sources.knowledge(&seen);
        let known = self.known(&sources, &seen, &records);
        let networks = networks::inspect(&config, knowledge, known.pods, known.nads);
        self.report.inspected.networks = networks.networks.len();
        self.report.inspected.pods = networks.pods.len();
        self.take(networks::check(&networks));
        self.take(names::check(&networks.networks));
        self.take(default_routes::check(&networks.networks, &self.plugins()));
        self.take(pods::check(&config, &networks.pods));
        let judged = policy::inspect(&config, knowledge, &networks);
        self.report.inspected.policy = judged.summary();
        self.take(policy::check(&judged, self.options.policy));
        self.take(pods::check_status(&networks.pods, records.living()));
        let late = late::inspect(records.living(), &mut self.report.not_inspected);
        self.take(late::check(&late));
        self.take(dhcp::check(&networks.networks));
        self.take(host_local::check(&host_local::inspect(&networks.networks)));
        self.take(together::check(&config, &networks, together::inspect()));
        self.examine_interfaces(&networks, &records);
        self.examine_others(&networks, &records);
        self.report
    }

    fn take(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.report.findings.extend(findings);
    }

    /// The pods and networks to check.
    fn known(
        &mut self,
        sources: &cluster::Sources,
        seen: &cluster::Seen,
        records: &records::Recorded,
    ) -> known::Known {
        let cluster = match (sources.knowledge(seen), &self.options.pod) {
            (Knowledge::Known(cluster), _) => cluster,
            (Knowledge::Nowhere, None) => {
                let found = nobody::check(&nobody::inspect(&self.ours.config, records));
                self.take(found);
                return known::Known::default();
            }
            (Knowledge::Nowhere, Some(pod)) => {
                let cause =
                    format!("pod {pod} is known to nobody: the configuration names no cluster");
                let remedy = "set kubeconfig, agentSocket or networksDir";
                self.report
                    .findings
                    .push(Finding::fault(Area::Configuration, cause, remedy));
                return known::Known::default();
            }
            (Knowledge::Silent, _) => {
                let what = "pods and networks: nobody answers who knows them";
                self.report.not_inspected.push(what.to_owned());
                return known::Known::default();
            }
        };
        let mut known = match &self.options.pod {
            Some(pod) => known::one(sources, cluster, pod),
            None => {
                let recorded: Vec<_> = records
                    .records()
                    .filter_map(|record| record.pod.clone())
                    .collect();
                let named = self.options.kubeconfig.as_deref();
                let named = named.map(|path| ApiCluster::from_kubeconfig(path).impatient());
                let lister = named.as_ref().or(sources.api.as_ref());
                let is_over = || self.start.elapsed() > POD_LIMIT;
                let node = self.node(seen);
                known::list(sources, cluster, lister, &node, &recorded, is_over)
            }
        };
        self.take(std::mem::take(&mut known.findings));
        self.report.not_inspected.append(&mut known.not_inspected);
        known
    }

    /// The plugins of this node.
    fn plugins(&self) -> Builtin<Executables> {
        let config = &self.ours.config;
        let folders = config.plugin_dirs(&self.options.cni_path);
        of_node(folders, config.builtin_plugins.clone())
    }

    /// How this node is called in Kubernetes. The host's name is only what a kubelet takes by default.
    fn node(&self, seen: &cluster::Seen) -> String {
        let named = self.options.node.as_deref().or(seen.agent_node());
        let named = named.map(str::to_owned);
        named.or_else(host_name).unwrap_or_default()
    }

    /// What the kernel can make, and what there is.
    fn examine_interfaces(&mut self, networks: &networks::Networks, records: &records::Recorded) {
        match kernel::inspect(&networks.networks) {
            Ok(kinds) => {
                self.take(kernel::check(&kinds));
                self.report.inspected.kernel = kinds
                    .iter()
                    .map(|kind| (kind.name, kind.is_there))
                    .collect();
            }
            Err(error) => self
                .report
                .not_inspected
                .push(format!("what the kernel can make: {}", with_causes(&error))),
        }
        match links::inspect(records.records()) {
            Ok(links) => self.take(links::check(&links, &networks.networks)),
            Err(error) => self.report.not_inspected.push(format!(
                "the interfaces of this node: {}",
                with_causes(&error)
            )),
        }
    }

    /// Plugins, meta-cni among them, servers of addresses, and the kubelet, side by side.
    fn examine_others(&mut self, networks: &networks::Networks, records: &records::Recorded) {
        let limit = PLUGIN_LIMIT;
        let config = &self.ours.config;
        let of_node = self.plugins();
        let needed = plugins::needed(&networks.networks, records.records());
        let lessees = addresses::lessees(&networks.networks);
        let asked = networks.pods.first().filter(|_| self.options.pod.is_some());
        let own_dirs: Vec<PathBuf> = dirs_of(&self.options.cni_path);
        let (ourselves, plugins, servers, devices) = thread::scope(|scope| {
            let ourselves = scope.spawn(|| ourselves::inspect(&own_dirs, Path::new(OWN), limit));
            let plugins = scope.spawn(|| plugins::inspect(&of_node, &needed, limit));
            let servers = scope.spawn(|| addresses::inspect(&lessees, limit));
            let devices = asked.and_then(|pod| pods::check_devices(config, pod));
            (ended(ourselves), ended(plugins), ended(servers), devices)
        });
        match ourselves {
            Ok(version) => {
                self.take(ourselves::check(&version));
                self.report.inspected.versions.insert("plugin", version);
            }
            Err(found) => self.report.findings.push(found),
        }
        self.take(plugins::check(&plugins));
        self.take(addresses::check(&lessees, &servers, self.now));
        self.take(devices);
        let versions = plugins
            .into_iter()
            .filter_map(|plugin| Some((plugin.name, plugin.versions?.ok()?)));
        self.report.inspected.plugins = versions.collect();
    }
}

/// The folders of a list with colons between them.
fn dirs_of(path: &str) -> Vec<PathBuf> {
    let dirs = path.split(':').filter(|dir| !dir.is_empty());
    dirs.map(PathBuf::from).collect()
}

/// What a thread came to; its panic goes on here.
fn ended<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests;
