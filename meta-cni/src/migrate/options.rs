//! The command line of `meta-cni migrate`.

use std::path::PathBuf;

use clap::Args;
use dial::address::Address;
use dial::token::Token;

use super::error::MigrateError;
use super::node::Node;
use super::receipt::Receipt;
use super::report::Format;
use super::server::Server;
use crate::ipam::config::{self, SOCKET, Tls, check_address};
use crate::ipam::node_file::USUAL;

const EXAMPLES: &str = "\
Example:
  meta-cni migrate --kubeconfig admin.conf --server https://ipam.example:7443 --ca ca.crt --cert admin.crt --key admin.key
  meta-cni migrate --kubeconfig admin.conf --server https://ipam.example:7443 --ca ca.crt --token-file operator.token
  meta-cni migrate … --apply
  meta-cni migrate … --apply --rewrite-networks
  meta-cni migrate … --back --apply

Without an API server, from files; leave out the kinds that the cluster does not have:
  kubectl get -A -o yaml ippools.whereabouts.cni.cncf.io,overlappingrangeipreservations.whereabouts.cni.cncf.io,\
network-attachment-definitions.k8s.cni.cncf.io,pods > objects.yaml
  meta-cni migrate --objects objects.yaml";

/// Switch from Multus and whereabouts to meta-cni and ipam-server
///
/// Reads this node's Multus configuration and libcni's cache, and the cluster's NetworkAttachmentDefinitions, whereabouts objects and
/// pods. Writes the configuration of meta-cni that replaces Multus', a pool for each range, a lease for each address of a running
/// pod, the networks that lease from these pools, and what cannot be carried over, with the reason and the remedy.
///
/// Without --apply nothing is changed. With --apply the pools are made and the leases imported, and this node notes
/// the networks, so that DEL of an old pod ends its lease: run it on every node. A second run changes only what is missing.
///
/// Exit status: 0 everything is carried over, 1 failure, 2 wrong arguments, 3 something is not carried over.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The API server, by an account that reads pods, networks and whereabouts' objects; to rewrite networks, also patches them
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "objects",
        conflicts_with = "objects"
    )]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Objects as `kubectl get -o yaml` or `-o json` wrote them, instead of an API server: a file, a folder, or - for standard input
    #[arg(long, value_name = "PATH")]
    pub(super) objects: Option<PathBuf>,
    /// ipam-server, where the caller is an operator
    #[arg(long, value_name = "ADDRESS", default_value_t = format!("unix://{SOCKET}"))]
    pub(super) server: String,
    /// Authorities of an https server, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Certificate of the operator, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// File with the operator's token, beside a certificate or instead of one; read again when it is renewed
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Folder in which the container runtime finds Multus' configuration
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub(super) conf_dir: PathBuf,
    /// daemon-config.json of thick Multus [default: only what its daemon wrote into --conf-dir]
    #[arg(long, value_name = "FILE")]
    pub(super) daemon_config: Option<PathBuf>,
    /// The node's defaults of whereabouts [default: where whereabouts searches them]
    #[arg(long, value_name = "FILE")]
    pub(super) whereabouts_conf: Option<PathBuf>,
    /// libcni's cache; may be repeated [default: /var/lib/cni/results and that of Multus' delegates]
    #[arg(long, value_name = "DIR")]
    pub(super) cache_dir: Vec<PathBuf>,
    /// The folder of meta-cni's records
    #[arg(long, value_name = "DIR", default_value = "/var/lib/meta-cni")]
    pub(super) state_dir: PathBuf,
    /// The node's servers of ipam-server
    #[arg(long, value_name = "FILE", default_value = USUAL)]
    pub(super) ipam_file: PathBuf,
    /// What was done, for --back [default: migrated.json in --state-dir]
    #[arg(long, value_name = "FILE")]
    pub(super) receipt: Option<PathBuf>,
    /// How names of new pools begin
    #[arg(long, value_name = "PREFIX", default_value = "wb-")]
    pub(super) pool_prefix: String,
    /// Change something
    #[arg(long)]
    pub(super) apply: bool,
    /// Also let the networks name meta-ipam and their pool; the old text stays in an annotation
    #[arg(long, requires = "apply", conflicts_with = "objects")]
    pub(super) rewrite_networks: bool,
    /// Undo what the receipt has, in reverse order
    #[arg(long, conflicts_with = "rewrite_networks")]
    pub(super) back: bool,
    /// Go back although pods have leases that whereabouts does not know
    #[arg(long, requires = "back")]
    pub(super) force: bool,
    /// How the report is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Format,
}

impl Options {
    /// The server of the flags.
    pub(super) fn server(&self) -> Result<Server, MigrateError> {
        let tls = self.ca.is_some() || self.cert.is_some();
        let addresses = check_address(&self.server, tls);
        let addresses = addresses.map_err(|problem| MigrateError::Address { problem })?;
        let all = addresses.all();
        if self.token_file.is_some() && !all.iter().all(Address::is_tls) {
            return Err(MigrateError::TokenWithoutTls);
        }
        if all.iter().any(Address::is_tls) && self.ca.is_none() {
            return Err(MigrateError::NoAuthority);
        }
        let token = self.token_file.clone();
        let token = token.map(|file| Token::open(file, "--token-file"));
        Ok(Server {
            server: config::Server {
                address: self.server.clone(),
                tls: tls.then(|| Tls {
                    ca: self.ca.clone(),
                    cert: self.cert.clone(),
                    key: self.key.clone(),
                }),
            },
            token: token.transpose()?,
        })
    }

    /// What was done before.
    pub(super) fn receipt(&self) -> Result<Receipt, MigrateError> {
        let usual = || self.state_dir.join("migrated.json");
        Receipt::read(&self.receipt.clone().unwrap_or_else(usual))
    }

    /// This node.
    pub(super) fn node(&self) -> Result<Node, MigrateError> {
        Node::new(&self.state_dir, &self.ipam_file)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// What is wrong with these flags; nothing if they name a server.
    fn problem(flags: &[&str]) -> Option<String> {
        let line = Line::try_parse_from([&["migrate", "--objects=-"], flags].concat());
        let server = line.unwrap().options.server();
        server.err().map(|error| error.to_string())
    }

    #[test]
    fn a_token_and_an_https_server_go_with_authorities() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            format!("--token-file={}", path.display())
        };
        let (token, empty) = (file("token", "abc"), file("empty", ""));
        let https = "--server=https://ipam.example:7443";
        for (flags, expected) in [
            (&[][..], ""),
            (
                &["--server=unix:///run/ipam.sock", &token],
                "--token-file needs an https server",
            ),
            (
                &["--server=http://127.0.0.1:1", &token],
                "--token-file needs an https server",
            ),
            (&[https], "--ca"),
            (&[https, &token], "--ca"),
            (
                &["--server=unix:///run/ipam.sock,https://ipam.example:7443"],
                "--ca",
            ),
            (&[https, &token, "--ca=ca.crt"], ""),
            (&[https, &empty, "--ca=ca.crt"], "--token-file"),
            (
                &[https, "--token-file=/nonesuch", "--ca=ca.crt"],
                "/nonesuch",
            ),
        ] {
            let problem = problem(flags).unwrap_or_default();
            assert!(problem.contains(expected), "{flags:?}: {problem}");
            assert_eq!(
                problem.is_empty(),
                expected.is_empty(),
                "{flags:?}: {problem}"
            );
        }
    }
}
