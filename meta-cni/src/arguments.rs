//! The command lines of meta-cni and meta-ipam, for people; a container runtime or a CNI plugin passes none.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::{doctor, explain, install, list_plugins, migrate};

/// A CNI plugin that attaches a pod to several networks, by delegating to the CNI plugins that
/// NetworkAttachmentDefinitions name.
///
/// A container runtime executes it with CNI_COMMAND and the other CNI variables set and its network
/// configuration on standard input; it takes no arguments then. The result, or an error object, goes to
/// standard output; logs go to standard error. Under the name of a plugin that is built in (a link in a folder of
/// plugins), it is that plugin.
///
/// Exit status: 0 success, 1 failure with an error object, 2 wrong arguments.
#[derive(Parser)]
#[command(name = "meta-cni", version, arg_required_else_help = false)]
pub struct MetaCni {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Action>,
}

/// What meta-cni does for a person.
#[derive(Subcommand)]
pub enum Action {
    #[expect(missing_docs, reason = "the type's text is the help")]
    Doctor(doctor::Options),
    #[expect(missing_docs, reason = "the type's text is the help")]
    Explain(explain::Options),
    #[expect(missing_docs, reason = "the type's text is the help")]
    Plugins(list_plugins::Options),
    #[expect(missing_docs, reason = "the type's text is the help")]
    Install(install::Options),
    #[expect(missing_docs, reason = "the type's text is the help")]
    Uninstall(install::UninstallOptions),
    #[expect(missing_docs, reason = "the type's text is the help")]
    Migrate(Box<migrate::Options>),
    /// Delete the sandboxes that the agent marked; a configuration comes on standard input, as for a verb
    #[command(hide = true)]
    CollectOrphans,
    /// Print the script that completes this command's arguments in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// A CNI IPAM plugin that leases IPv4/IPv6 pairs from ipam-server.
///
/// A CNI plugin executes it, if its configuration has `"ipam": {"type": "meta-ipam", "pool": "NAME"}`; it takes no
/// arguments then. More keys: pools (a list, tried in order), families, serverName. The node's file
/// /etc/cni/net.d/meta-cni.d/ipam.yaml names the servers; a configuration of the node may have the keys server,
/// tls, timeoutSeconds, node and stateDir itself.
///
/// Exit status: 0 success, 1 failure with an error object on standard output, 2 wrong arguments.
#[derive(Parser)]
#[command(name = "meta-ipam", version, arg_required_else_help = false)]
pub struct MetaIpam {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<MetaIpamAction>,
}

/// What meta-ipam does for a person.
#[derive(Subcommand)]
pub enum MetaIpamAction {
    /// Print the script that completes this command's arguments in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}
