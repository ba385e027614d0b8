//! The files that say who is who: the policy, the server's certificate and key, the authorities of clients. They are read
//! at the start and whenever they change, without a restart.

use std::path::PathBuf;
use std::sync::Arc;

use dial::files::FilesError;
use dial::renewed::{POLL_INTERVAL, Renewed};
use dial::server::{Loaded, ServerFiles};
use rustls::ServerConfig;
use tokio::sync::watch;

use super::Access;
use super::policy::{Policy, PolicyError};
use crate::identity;
use crate::metrics::Metrics;

/// A value that is made of files, and what is done with a new one.
struct Watched {
    files: Renewed,
    /// For log and metric.
    what: &'static str,
    /// Why the files as they are now cannot be used; empty: they are.
    failure: String,
    renew: Box<dyn Fn() -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send>,
}

/// Renews what is made of files when the files change.
pub struct Keeper {
    watched: Vec<Watched>,
    metrics: Arc<Metrics>,
}

impl Keeper {
    /// Watches no file yet.
    pub fn new(metrics: Arc<Metrics>) -> Keeper {
        Keeper {
            watched: Vec::new(),
            metrics,
        }
    }

    /// The TLS configuration of the files, as they are now and when they change.
    ///
    /// # Errors
    /// [`FilesError`] if they cannot be used now.
    pub fn tls(
        &mut self,
        files: ServerFiles,
    ) -> Result<watch::Receiver<Arc<ServerConfig>>, FilesError> {
        let renewed = Renewed::of(files.paths());
        let first = files.load()?;
        show_validity(&self.metrics, &first);
        let (sender, receiver) = watch::channel(first.config);
        let metrics = self.metrics.clone();
        self.watched.push(Watched {
            files: renewed,
            what: "tls",
            failure: String::new(),
            renew: Box::new(move || {
                let next = files.load()?;
                show_validity(&metrics, &next);
                sender.send_replace(next.config);
                Ok(())
            }),
        });
        Ok(receiver)
    }

    /// Renews the policy of `access` when its file changes.
    pub fn policy(&mut self, files: Renewed, path: PathBuf, access: Arc<Access>) {
        self.watched.push(Watched {
            files,
            what: "policy",
            failure: String::new(),
            renew: Box::new(move || {
                access.set_policy(Policy::read(&path)?);
                Ok(())
            }),
        });
    }

    /// Checks the files until it is dropped.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            // A few small files: not worth a thread.
            for watched in &mut self.watched {
                if watched.files.has_changed() {
                    let renewed = (watched.renew)();
                    let failure = renewed.err().map(|error| {
                        let cause = error.source().map(ToString::to_string);
                        [error.to_string(), cause.unwrap_or_default()].join(": ")
                    });
                    match &failure {
                        None => {
                            self.metrics.renewed(watched.what, true);
                            tracing::info!(files = watched.what, "renewed files are used");
                        }
                        Some(error) => {
                            // Out of file descriptors, for example: nothing changes when that is over.
                            watched.files.try_again();
                            if *error != watched.failure {
                                self.metrics.renewed(watched.what, false);
                                tracing::error!(
                                    files = watched.what,
                                    error,
                                    "renewed files are not used: those of before are"
                                );
                            }
                        }
                    }
                    watched.failure = failure.unwrap_or_default();
                }
            }
        }
    }
}

/// Shows as metrics how long the server's certificate is valid.
fn show_validity(metrics: &Metrics, loaded: &Loaded) {
    let own = loaded.chain.first();
    if let Some(validity) = own.and_then(|own| identity::validity(own)) {
        metrics.show_certificate(&validity);
    }
}

/// Reads the policy of a file, or the one for no file; also what says later that the file changed.
///
/// # Errors
/// [`PolicyError`].
pub fn first_policy(path: Option<&PathBuf>) -> Result<(Policy, Option<Renewed>), PolicyError> {
    let Some(path) = path else {
        return Ok((Policy::of_nodes(), None));
    };
    let files = Renewed::of(vec![path.clone()]);
    Ok((Policy::read(path)?, Some(files)))
}
