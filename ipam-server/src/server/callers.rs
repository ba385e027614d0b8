//! Who may call: roles and policy, reviews of tokens, TLS, and the files that these are read from.

use std::sync::Arc;

use dial::files::Names;
use dial::server::ServerFiles;
use rustls::ServerConfig;
use tokio::sync::watch;

use super::ServerError;
use crate::access::Access;
use crate::access::files::{Keeper, first_policy};
use crate::access::layer::Authorize;
use crate::access::token::Reviewer;
use crate::config::Config;
use crate::listen::Address;
use crate::metrics::Metrics;

/// How the callers of a server are recognised.
pub(super) struct Callers {
    access: Arc<Access>,
    reviewer: Option<Arc<Reviewer>>,
    /// TLS of TCP sockets, if they have it.
    pub(super) tls: Option<watch::Receiver<Arc<ServerConfig>>>,
}

impl Callers {
    /// As the configuration says; with the task that reads changed files.
    ///
    /// # Errors
    /// [`ServerError`] if a file cannot be used, or tokens cannot be reviewed.
    pub(super) async fn admit(
        config: &Config,
        metrics: &Arc<Metrics>,
    ) -> Result<(Callers, Keeper), ServerError> {
        warn_of_open_doors(config);
        let (policy, policy_files) = first_policy(config.policy.as_ref())?;
        let access = Arc::new(Access::new(config.access.clone(), policy));
        let reviewer = match config.token_review {
            true => Some(Arc::new(Reviewer::new(config.kubeconfig.as_deref()).await?)),
            false => None,
        };
        let mut files = Keeper::new(metrics.clone());
        let tls = tls_files(config)
            .map(|found| files.tls(found))
            .transpose()?;
        if let (Some(found), Some(path)) = (policy_files, config.policy.clone()) {
            files.policy(found, path, access.clone());
        }
        let callers = Callers {
            access,
            reviewer,
            tls,
        };
        Ok((callers, files))
    }

    /// The layer that lets requests of allowed callers through.
    pub(super) fn layer(&self, metrics: &Arc<Metrics>) -> Authorize {
        Authorize {
            access: self.access.clone(),
            reviewer: self.reviewer.clone(),
            metrics: metrics.clone(),
        }
    }
}

/// The files of TLS, if there is any.
fn tls_files(config: &Config) -> Option<ServerFiles> {
    let (cert, key) = config.tls.clone()?;
    Some(ServerFiles {
        cert,
        key,
        clients: config.tls_client_ca.clone(),
        is_certificate_optional: config.token_review,
        names: Names {
            ca: "--tls-client-ca",
            cert: "--tls-cert",
            key: "--tls-key",
        },
    })
}

/// Warns at every start of what is open.
fn warn_of_open_doors(config: &Config) {
    let has_tcp = config.listen.iter().any(|at| matches!(at, Address::Tcp(_)));
    if has_tcp && config.access.any_client {
        tracing::warn!(
            "every client that reaches the TCP address may do everything (--insecure, --insecure-any-client); \
             use --tls-client-ca and --policy"
        );
    }
}
