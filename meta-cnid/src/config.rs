//! Settings of an agent: flags, or the environment, then defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cni::error::with_causes;
use dial::files::Files;
use dial::token::Token;
use process::daemon::LogFormat;
use tracing::level_filters::LevelFilter;

use super::proxy::{NAMES, Upstreams, WrongUpstream};

/// The agent of a node: answers meta-cni from memory, and reports what it did to the API server.
///
/// It follows the pods of its node and all NetworkAttachmentDefinitions, so that an ADD costs one PATCH and no GET. It
/// runs no plugin, and needs no capability and no folder of the host but those of the flags below. Without it, meta-cni
/// asks the API server itself.
///
/// Every flag can also be given in the environment, as META_CNID_ and its name.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "meta-cnid",
    version,
    args_override_self = true,
    after_help = "Examples:
  meta-cnid --node-name worker-1
        in a pod: the API server of the service account
  meta-cnid --kubeconfig /etc/cni/net.d/meta-cni.d/kubeconfig --ipam-server https://ipam.example:7443 \\
            --ipam-ca ca.crt --ipam-cert node.crt --ipam-key node.key
        on the host, passing leases on to an ipam-server

Signals: SIGTERM and SIGINT finish what was begun and end the agent; a second one ends it at once.
Exit status: 0 ended as asked, 1 failure, 2 wrong arguments."
)]
pub struct Arguments {
    /// The node's name in the API server. [default with --kubeconfig: this machine's host name]
    #[arg(long, env = "META_CNID_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// How to reach the API server. [default: the service account of this pod]
    #[arg(long, env = "META_CNID_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The socket that meta-cni asks: for root only, in a folder for root only.
    #[arg(
        long,
        env = "META_CNID_SOCKET",
        value_name = "FILE",
        default_value = meta_cni::config::AGENT_SOCKET
    )]
    pub socket: PathBuf,
    /// The folder of meta-cni's records (its key stateDir).
    #[arg(
        long,
        env = "META_CNID_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/meta-cni"
    )]
    pub state_dir: PathBuf,
    /// The ipam-server to pass leases on to: https://HOST:PORT with --ipam-ca, unix:///PATH, or http:// on
    /// loopback. Several of one etcd, with commas: the next one is asked when one fails. [default: leases are not passed on]
    #[arg(long, env = "META_CNID_IPAM_SERVER", value_name = "URL")]
    pub ipam_server: Option<String>,
    /// Authorities that its certificate must come from, PEM. Like the two below, it may be renewed at any time.
    #[arg(
        long,
        env = "META_CNID_IPAM_CA",
        value_name = "FILE",
        requires = "ipam_server"
    )]
    pub ipam_ca: Option<PathBuf>,
    /// Certificate of the agent for ipam-server, PEM.
    #[arg(
        long,
        env = "META_CNID_IPAM_CERT",
        value_name = "FILE",
        requires_all = ["ipam_ca", "ipam_key"]
    )]
    pub ipam_cert: Option<PathBuf>,
    /// Key of --ipam-cert, PEM.
    #[arg(
        long,
        env = "META_CNID_IPAM_KEY",
        value_name = "FILE",
        requires = "ipam_cert"
    )]
    pub ipam_key: Option<PathBuf>,
    /// Token of the agent for ipam-server, such as a projected token of the service account for the audience
    /// ipam.meta-cni.io, bound to this pod. It may be renewed at any time.
    #[arg(
        long,
        env = "META_CNID_IPAM_TOKEN_FILE",
        value_name = "FILE",
        requires = "ipam_ca"
    )]
    pub ipam_token_file: Option<PathBuf>,
    /// The socket where leases are asked for, if --ipam-server is given: for root only, in a folder for root only.
    #[arg(
        long,
        env = "META_CNID_IPAM_SOCKET",
        value_name = "FILE",
        default_value = meta_cni::ipam::config::SOCKET
    )]
    pub ipam_socket: PathBuf,
    /// The kubelet's folder, with the socket that lists devices.
    #[arg(
        long,
        env = "META_CNID_KUBELET_DIR",
        value_name = "DIR",
        default_value = "/var/lib/kubelet"
    )]
    pub kubelet_dir: PathBuf,
    /// The container runtime's CRI socket, to find records whose sandbox is gone. [default: they are left to the runtime]
    #[arg(long, env = "META_CNID_CRI_SOCKET", value_name = "FILE")]
    pub cri_socket: Option<PathBuf>,
    /// meta-cni's configuration of the container runtime, such as /etc/cni/net.d/00-meta-cni.conflist: once it exists and is the first
    /// one of its folder, the agent removes the taint meta-cni.io/agent-not-ready from its node. [default: taints are left alone]
    #[arg(long, env = "META_CNID_UNTAINT_ONCE", value_name = "FILE")]
    pub untaint_once: Option<PathBuf>,
    /// How long a sandbox must be gone before its record is deleted.
    #[arg(
        long,
        env = "META_CNID_ORPHAN_GRACE_SECONDS",
        value_name = "SECONDS",
        default_value = "60",
        value_parser = interval
    )]
    pub orphan_grace_seconds: Duration,
    /// How often records are compared with annotations and with the runtime's sandboxes.
    #[arg(
        long,
        env = "META_CNID_REPAIR_INTERVAL_SECONDS",
        value_name = "SECONDS",
        default_value = "10",
        value_parser = interval
    )]
    pub repair_interval_seconds: Duration,
    /// Where /metrics, /healthz and /readyz are served over HTTP.
    #[arg(
        long,
        env = "META_CNID_METRICS_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:7481"
    )]
    pub metrics_listen: SocketAddr,
    /// A collector of OpenTelemetry that takes OTLP over gRPC, such as http://127.0.0.1:4317: it is sent the traces of what
    /// meta-cni does. [default: nobody is]
    #[arg(long, env = "META_CNID_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Written once the agent serves: JSON with the real addresses.
    #[arg(long, env = "META_CNID_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Form of the log on standard error.
    #[arg(long, env = "META_CNID_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// off, error, warn, info or debug.
    #[arg(
        long,
        env = "META_CNID_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log_level: LevelFilter,
    /// How long calls that were begun may take after a signal to end.
    #[arg(
        long,
        env = "META_CNID_SHUTDOWN_SECONDS",
        value_name = "SECONDS",
        default_value = "10",
        value_parser = seconds
    )]
    pub shutdown_seconds: Duration,
    /// What else it can do.
    #[command(subcommand)]
    pub command: Option<Action>,
}

impl Arguments {
    /// Where leases are passed on to, if they are.
    ///
    /// # Errors
    /// [`WrongUpstream`].
    pub fn upstreams(&self) -> Result<Option<Upstreams>, WrongUpstream> {
        let Some(address) = &self.ipam_server else {
            return Ok(None);
        };
        let own = format!("unix://{}", self.ipam_socket.display());
        if address.split(',').any(|one| one.trim() == own) {
            let problem = format!("{own} is --ipam-socket itself; where is ipam-server?");
            return Err(WrongUpstream { problem });
        }
        let files = self.ipam_ca.clone().map(|ca| Files {
            ca,
            identity: self.ipam_cert.clone().zip(self.ipam_key.clone()),
            names: NAMES,
        });
        let upstreams = Upstreams::new(address, files)?;
        let Some(file) = &self.ipam_token_file else {
            return Ok(Some(upstreams));
        };
        let token = Token::open(file.clone(), "--ipam-token-file of meta-cnid");
        let token = token.map_err(|error| WrongUpstream {
            problem: with_causes(&error),
        })?;
        upstreams.with_token(&token).map(Some)
    }
}

/// What else the program can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Print the script that completes this command's arguments in a shell
    Completion {
        /// The shell
        shell: process::daemon::Shell,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 0..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("give whole seconds from 0 to 3600".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("give whole seconds from 1 to 3600".to_owned()),
    }
}
