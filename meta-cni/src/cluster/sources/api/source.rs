//! Where the API server is and who we are to it: a kubeconfig file, or what Kubernetes gives to every
//! pod. Read when the first request is made, thus once for each CNI call; nothing is sent here.

use std::fs;
use std::path::{Path, PathBuf};

use http::Uri;
use kube::Config;
use kube::config::{AuthInfo, InClusterError, Kubeconfig, KubeconfigError, LoadDataError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::cluster::ClusterError;

/// Where Kubernetes puts the token, the authority and the namespace of a pod ("Accessing the Kubernetes
/// API from a Pod").
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the source is.
#[derive(Clone, Debug)]
pub enum Source {
    /// A kubeconfig file.
    Kubeconfig(PathBuf),
    /// The environment and the service account of a pod.
    InCluster,
}

/// The API server's address or our credentials could not be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// A file is not there or cannot be read; it may be there later.
    #[error("{detail}")]
    Unreadable {
        /// The kubeconfig or the environment.
        what: String,
        /// Which file, and why.
        detail: String,
    },
    /// What was read does not say what it must.
    #[error("{field}: {detail}")]
    Broken {
        /// The kubeconfig or the environment.
        what: String,
        /// The key or variable.
        field: String,
        /// What is wrong with it.
        detail: String,
        /// What to do, if that is known.
        remedy: Option<&'static str>,
    },
}

impl From<SourceError> for ClusterError {
    fn from(error: SourceError) -> Self {
        match &error {
            SourceError::Unreadable { what, .. } => ClusterError::Unavailable {
                what: what.clone(),
                remedy: "was it written, and may this process read it?".to_owned(),
                source: Box::new(error),
            },
            SourceError::Broken { what, remedy, .. } => ClusterError::Invalid {
                what: what.clone(),
                remedy: remedy.map(str::to_owned),
                source: Box::new(error),
            },
        }
    }
}

impl Source {
    /// Reads it.
    pub fn config(&self) -> Result<Config, SourceError> {
        let mut config = match self {
            Source::Kubeconfig(path) => self.read_kubeconfig(path)?,
            Source::InCluster => {
                Config::incluster_env().map_err(|error| self.explain_env(error))?
            }
        };
        if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
            return Err(self.broken("certificate-authority", "it holds no certificate"));
        }
        config.auth_info.token = self.token(&config.auth_info)?;
        Ok(config)
    }

    /// The token to send, if there is one. kube would send a token file's line break, and would panic at
    /// a token that does not fit into a header.
    fn token(&self, login: &AuthInfo) -> Result<Option<SecretString>, SourceError> {
        let text = match (&login.token, &login.token_file) {
            (Some(token), _) => token.expose_secret().to_owned(),
            (None, Some(path)) => fs::read_to_string(path)
                .map_err(|error| self.unreadable(format!("{path}: {error}")))?,
            (None, None) => return Ok(None),
        };
        let token = text.trim();
        let fits = !token.is_empty() && http::HeaderValue::from_str(token).is_ok();
        if !fits {
            return Err(self.broken("the token", "empty, or with line breaks within"));
        }
        Ok(Some(token.into()))
    }

    fn read_kubeconfig(&self, path: &Path) -> Result<Config, SourceError> {
        let mut kubeconfig = Kubeconfig::read_from(path).map_err(|error| self.explain(error))?;
        self.check(&mut kubeconfig)?;
        Config::try_from(kubeconfig).map_err(|error| self.explain(error))
    }

    /// Refuses what kube would accept and we cannot do, and rewrites what Go would accept.
    fn check(&self, kubeconfig: &mut Kubeconfig) -> Result<(), SourceError> {
        let context = kubeconfig
            .contexts
            .iter()
            .find(|named| Some(&named.name) == kubeconfig.current_context.as_ref())
            .and_then(|named| named.context.as_ref());
        // Without context or cluster kube's own errors say it well.
        let Some(context) = context else {
            return Ok(());
        };
        if let Some(user) = context.user.as_ref().filter(|user| !user.is_empty()) {
            let named = kubeconfig.auth_infos.iter().find(|n| n.name == *user);
            let Some(named) = named else {
                return Err(self.broken("users", format!("no entry is named {user}")));
            };
            let login = named.auth_info.as_ref();
            if login.is_some_and(|login| login.exec.is_some() || login.auth_provider.is_some()) {
                return Err(self.broken(
                    "users[].user",
                    "exec and auth-provider are not supported: give token, tokenFile or client-certificate",
                ));
            }
        }
        let cluster = kubeconfig
            .clusters
            .iter_mut()
            .find(|named| named.name == context.cluster)
            .and_then(|named| named.cluster.as_mut());
        let Some(cluster) = cluster else {
            return Ok(());
        };
        if cluster
            .proxy_url
            .as_ref()
            .is_some_and(|url| !url.is_empty())
        {
            return Err(self.broken("clusters[].cluster.proxy-url", "proxies are not supported"));
        }
        if let Some(server) = &mut cluster.server {
            *server = without_idle_brackets(server);
            let uri: Option<Uri> = server.parse().ok();
            if !uri.is_some_and(|uri| {
                uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https"))
            }) {
                return Err(self.broken(
                    "clusters[].cluster.server",
                    "is not of the form https://host:port",
                ));
            }
        }
        Ok(())
    }

    /// Sorts what kube says when it makes the client from a configuration.
    pub(super) fn explain_client(&self, error: kube::Error) -> SourceError {
        match error {
            kube::Error::InferKubeconfig(error) => self.explain(error),
            kube::Error::RustlsTls(error) => self.broken("certificates", error),
            error => self.broken("users[].user", error),
        }
    }

    fn explain_env(&self, error: InClusterError) -> SourceError {
        match error {
            InClusterError::ReadDefaultNamespace(_) | InClusterError::ReadCertificateBundle(_) => {
                self.unreadable(format!("{SERVICE_ACCOUNT}: {error}"))
            }
            InClusterError::ReadEnvironmentVariable(cause) => SourceError::Broken {
                what: self.to_string(),
                field: "KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT".to_owned(),
                detail: cause.to_string(),
                remedy: Some("outside a pod, set `kubeconfig`"),
            },
            error => self.broken("KUBERNETES_SERVICE_HOST, ca.crt", error),
        }
    }

    fn explain(&self, error: KubeconfigError) -> SourceError {
        use KubeconfigError as E;
        match error {
            E::ReadConfig(cause, _) => self.unreadable(cause),
            E::LoadCertificateAuthority(LoadDataError::ReadFile(cause, path))
            | E::LoadClientCertificate(LoadDataError::ReadFile(cause, path))
            | E::LoadClientKey(LoadDataError::ReadFile(cause, path)) => {
                self.unreadable(format!("{}: {cause}", path.display()))
            }
            E::CurrentContextNotSet => self.broken("current-context", "not set"),
            E::LoadContext(name) => self.broken("contexts", format!("no entry is named {name}")),
            E::LoadClusterOfContext(name) => {
                self.broken("clusters", format!("no entry is named {name}"))
            }
            E::MissingClusterUrl => self.broken("clusters[].cluster.server", "not set"),
            E::ParseClusterUrl(cause) => self.broken("clusters[].cluster.server", cause),
            E::LoadCertificateAuthority(cause) => {
                self.broken("clusters[].cluster.certificate-authority-data", cause)
            }
            E::ParseCertificates(cause) => {
                self.broken("clusters[].cluster.certificate-authority", cause)
            }
            E::LoadClientCertificate(cause) => {
                self.broken("users[].user.client-certificate-data", cause)
            }
            E::LoadClientKey(cause) => self.broken("users[].user.client-key-data", cause),
            // What is written there may be a secret: its place only.
            E::Parse(cause) => self.broken(
                "YAML",
                place(cause.location().map(|at| (at.line(), at.column()))),
            ),
            error => self.broken("kubeconfig", error),
        }
    }

    fn unreadable(&self, detail: impl ToString) -> SourceError {
        SourceError::Unreadable {
            what: self.to_string(),
            detail: detail.to_string(),
        }
    }

    fn broken(&self, field: &str, detail: impl ToString) -> SourceError {
        SourceError::Broken {
            what: self.to_string(),
            field: field.to_owned(),
            detail: detail.to_string(),
            remedy: None,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Kubeconfig(path) => write!(f, "kubeconfig {}", path.display()),
            Source::InCluster => f.write_str("the in-cluster configuration"),
        }
    }
}

/// Where a text cannot be read.
fn place(at: Option<(impl std::fmt::Display, impl std::fmt::Display)>) -> String {
    match at {
        Some((line, column)) => format!("cannot be read at line {line}, column {column}"),
        None => "cannot be read".to_owned(),
    }
}

/// `https://[10.96.0.1]:443` without the brackets: Multus writes its kubeconfig so, and Go reads it, but
/// brackets are for IPv6 (RFC 3986, section 3.2.2).
fn without_idle_brackets(server: &str) -> String {
    let parts = server
        .split_once("://[")
        .and_then(|(scheme, rest)| Some((scheme, rest.split_once(']')?)));
    match parts {
        Some((scheme, (host, rest))) if !host.contains(':') => format!("{scheme}://{host}{rest}"),
        _ => server.to_owned(),
    }
}

#[cfg(test)]
mod tests;
