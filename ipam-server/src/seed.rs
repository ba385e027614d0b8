//! Pools from a file: made if they are missing, changed if they are not as in the file, never removed.

use std::path::{Path, PathBuf};

use proto::ipam::v1::{self as ipam};
use serde::Deserialize;

use crate::error::Error;
use crate::ledger::{Caller, Ledger};

/// A file of pools that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// It cannot be read.
    #[error("reading the pools of {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a list of pools.
    #[error("{problem}")]
    Form {
        /// Where and what.
        problem: String,
    },
    /// A pool cannot be made or changed.
    #[error("pool {pool}")]
    Pool {
        /// Its name.
        pool: String,
        /// Why.
        #[source]
        source: Error,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    pools: Vec<ipam::Pool>,
}

/// Reads the text of a file: YAML with a list `pools`, each in the JSON form of `ipam.v1.Pool`.
///
/// # Errors
/// [`SeedError::Form`] names the field.
pub fn parse_pools(text: &str) -> Result<Vec<ipam::Pool>, SeedError> {
    let file: Result<File, _> =
        serde_path_to_error::deserialize(serde_norway::Deserializer::from_str(text));
    file.map(|file| file.pools)
        .map_err(|error| SeedError::Form {
            problem: error.to_string(),
        })
}

/// Makes and changes the pools of a file.
///
/// # Errors
/// [`SeedError`]; pools before the one that is wrong are made.
pub async fn seed(ledger: &Ledger, path: &Path) -> Result<(), SeedError> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
    let text = read
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
        .map_err(|source| SeedError::Read {
            path: path.to_owned(),
            source,
        })?;
    let caller = Caller {
        actor: "ipam-server --pools".into(),
        deadline: None,
    };
    for pool in parse_pools(&text)? {
        let name = pool.name.clone();
        apply(ledger, &caller, pool)
            .await
            .map_err(|source| SeedError::Pool { pool: name, source })?;
    }
    Ok(())
}

async fn apply(ledger: &Ledger, caller: &Caller, pool: ipam::Pool) -> Result<(), Error> {
    match ledger.get_pool(caller, pool.name.clone()).await {
        Err(Error::PoolNotFound { .. }) => {
            let request = ipam::CreatePoolRequest {
                pool: Some(pool),
                ..Default::default()
            };
            ledger.create_pool(caller, request).await.map(|_| ())
        }
        Err(error) => Err(error),
        Ok(_) => {
            let request = ipam::UpdatePoolRequest {
                pool: Some(ipam::Pool {
                    etag: String::new(),
                    ..pool
                }),
                ..Default::default()
            };
            ledger.update_pool(caller, request).await.map(|_| ())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_written_as_in_the_api() {
        let text = "
pools:
- name: blue
  ipv4: {cidr: 10.20.0.0/24, gateway: 10.20.0.1, excludes: [10.20.0.2-10.20.0.9]}
  ipv6: {cidr: 'fd00:20::/64'}
  pairing: ALIGNED
  quarantine: 30s
";
        let pools = parse_pools(text).unwrap();
        assert_eq!(pools[0].pairing(), ipam::Pairing::Aligned);
        assert_eq!(pools[0].quarantine.unwrap().seconds, 30);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("pools: [{nam: x}]", "nam"),
            ("pool: []", "pool"),
            ("pools: 7", "pools"),
        ] {
            let error = parse_pools(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
