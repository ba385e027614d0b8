//! Pools from a file: made if they are missing, changed if they are not as in the file, never removed. A pool that cannot
//! be made or changed keeps no other pool from its clients: it is reported, and stays as it was.

use std::fmt;
use std::path::{Path, PathBuf};

use process::yaml;
use proto::ipam::v1::{self as ipam};
use serde::Deserialize;
use serde_json::Value;

use crate::api::Api;
use crate::error::{Error, Refusal};
use crate::ledger::Caller;

/// Characters of a problem that are shown.
const PROBLEM: usize = 160;

/// A file of pools that cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// It cannot be read.
    #[error("reading the pools of {} (--pools); name a file that exists and that ipam-server may read", .path.display())]
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
    /// The store cannot be written.
    #[error("pool {pool}")]
    Store {
        /// The first pool that could not be written.
        pool: String,
        /// Why.
        #[source]
        source: Error,
    },
}

/// A pool of the file that is not in force as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name; without one, its place in the file: `pools[2]`.
    pub pool: String,
    /// Whether the server has a pool of this name, as it was before.
    pub exists: bool,
    /// What is wrong with it.
    pub problem: String,
    /// The line of the file that it is about.
    pub line: Option<usize>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused {
            pool,
            exists,
            problem,
            line: _,
        } = self;
        let state = if *exists {
            "stays as it was"
        } else {
            "does not exist"
        };
        write!(f, "pool {pool} of --pools {state}: {problem}")
    }
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
    let file: File = yaml::read(text).map_err(form)?;
    Ok(file.pools)
}

fn form(error: yaml::YamlError) -> SeedError {
    SeedError::Form {
        problem: error.to_string(),
    }
}

fn line(text: &str, path: &str) -> Option<usize> {
    yaml::position(text, 0, path).map(|position| position.line)
}

/// The pools of a text, each read by itself.
fn each_pool(text: &str) -> Result<Vec<Result<ipam::Pool, Refused>>, SeedError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entries {
        pools: Vec<Value>,
    }
    let entries: Entries = yaml::read(text).map_err(form)?;
    let read = |(index, entry): (usize, Value)| {
        let name = entry.get("name").and_then(Value::as_str).map(str::to_owned);
        let place = format!("pools[{index}]");
        serde_path_to_error::deserialize(entry).map_err(|error| Refused {
            line: line(text, &format!("{place}.{}", error.path())),
            pool: name.unwrap_or(place),
            exists: false,
            problem: short(&error),
        })
    };
    Ok(entries.pools.into_iter().enumerate().map(read).collect())
}

/// Makes and changes the pools of a file; returns those that cannot be made or changed.
///
/// # Errors
/// [`SeedError`]; pools before the one that cannot be written are made.
pub async fn seed(api: &Api, path: &Path) -> Result<Vec<Refused>, SeedError> {
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
        ..Caller::default()
    };
    let mut refused = Vec::new();
    for (index, pool) in each_pool(&text)?.into_iter().enumerate() {
        let problem = match pool {
            Err(problem) => problem,
            Ok(pool) => {
                let name = pool.name.clone();
                match apply(api, &caller, pool).await {
                    Ok(()) => continue,
                    Err(source @ (Error::Refused(Refusal::Store(_)) | Error::Stopping)) => {
                        return Err(SeedError::Store { pool: name, source });
                    }
                    Err(error) => Refused {
                        pool: name,
                        exists: false,
                        problem: short(&error),
                        line: line(&text, &format!("pools[{index}].{}", field(&error))),
                    },
                }
            }
        };
        let exists = api.get_pool(&caller, problem.pool.clone()).await.is_ok();
        refused.push(Refused { exists, ..problem });
    }
    for pool in &refused {
        let line = pool.line.map(|line| format!(":{line}")).unwrap_or_default();
        tracing::error!(
            "{pool}; correct {}{line} and start ipam-server again",
            path.display()
        );
    }
    Ok(refused)
}

/// The first field of a pool that is wrong; empty if the error is about no field.
fn field(error: &Error) -> &str {
    match error {
        Error::Refused(Refusal::InvalidFields(problems)) => problems
            .first()
            .and_then(|problem| problem.field.strip_prefix("pool."))
            .unwrap_or_default(),
        _ => "",
    }
}

/// What is wrong, shortened.
fn short(error: &impl fmt::Display) -> String {
    let text = yaml::short(error);
    match text.char_indices().nth(PROBLEM) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

async fn apply(api: &Api, caller: &Caller, pool: ipam::Pool) -> Result<(), Error> {
    match api.get_pool(caller, pool.name.clone()).await {
        Err(Error::Refused(Refusal::PoolNotFound { .. })) => {
            let request = ipam::CreatePoolRequest {
                pool: Some(pool),
                ..Default::default()
            };
            api.create_pool(caller, request).await.map(|_| ())
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
            api.update_pool(caller, request).await.map(|_| ())
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
