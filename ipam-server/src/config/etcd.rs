//! How etcd is reached: the settings --etcd-…, which go with `--store etcd://…` only.

use std::net::IpAddr;
use std::path::PathBuf;

use dial::files::{Files, Names};

use super::{ConfigError, StoreKind};
use crate::store::etcd::{EtcdAddress, EtcdSettings, User};

/// How errors call the files.
const NAMES: Names = Names {
    ca: "--etcd-ca",
    cert: "--etcd-cert",
    key: "--etcd-key",
};

/// The settings as they are given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EtcdOptions {
    /// Authorities.
    pub ca: Option<PathBuf>,
    /// Certificate of this server.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Name in etcd.
    pub user: Option<String>,
    /// File of the password.
    pub password_file: Option<PathBuf>,
}

impl EtcdOptions {
    /// Settles them for a store.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] names the one that lacks another one, or that nothing reads.
    pub fn settle(self, store: &StoreKind) -> Result<Option<EtcdSettings>, ConfigError> {
        let StoreKind::Etcd(address) = store else {
            return match self.first() {
                Some(flag) => Err(wrong(flag, "goes with --store etcd://HOST:PORT only")),
                None => Ok(None),
            };
        };
        let EtcdOptions {
            ca,
            cert,
            key,
            user,
            password_file,
        } = self;
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("etcd-key", "is needed with --etcd-cert")),
            (None, Some(_)) => return Err(wrong("etcd-cert", "is needed with --etcd-key")),
        };
        let user = match (user, password_file) {
            (Some(name), Some(password_file)) => Some(User {
                name,
                password_file,
            }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(wrong("etcd-password-file", "is needed with --etcd-user"));
            }
            (None, Some(_)) => {
                return Err(wrong("etcd-user", "is needed with --etcd-password-file"));
            }
        };
        let tls = match (ca, &identity) {
            (Some(ca), _) => Some(Files {
                ca,
                identity,
                names: NAMES,
            }),
            (None, Some(_)) => return Err(wrong("etcd-ca", "is needed with --etcd-cert")),
            (None, None) => None,
        };
        if tls.is_none() && !is_on_loopback(address) {
            let problem = "is needed, since etcd is not on loopback";
            return Err(wrong("etcd-ca", problem));
        }
        Ok(Some(EtcdSettings {
            address: address.clone(),
            tls,
            user,
        }))
    }

    /// The flag of the first one that is given.
    fn first(&self) -> Option<&'static str> {
        [
            ("etcd-ca", self.ca.is_some()),
            ("etcd-cert", self.cert.is_some()),
            ("etcd-key", self.key.is_some()),
            ("etcd-user", self.user.is_some()),
            ("etcd-password-file", self.password_file.is_some()),
        ]
        .into_iter()
        .find_map(|(flag, is_given)| is_given.then_some(flag))
    }
}

fn wrong(flag: &'static str, problem: &str) -> ConfigError {
    ConfigError::Setting {
        flag,
        value: String::new(),
        problem: problem.to_owned(),
    }
}

/// Whether every member is.
fn is_on_loopback(address: &EtcdAddress) -> bool {
    address.members.iter().all(|member| {
        let host = member.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_needs_what_goes_together_and_tls_off_loopback() {
        let (path, name) = (|| Some(PathBuf::from("f")), || Some("n".to_owned()));
        let none = EtcdOptions::default;
        for (store, options, problem) in [
            ("etcd://127.0.0.1:2379,[::1]:2379,localhost", none(), ""),
            ("etcd://127.0.0.1,10.0.0.1", none(), "etcd-ca"),
            (
                "etcd://etcd-1",
                EtcdOptions {
                    ca: path(),
                    ..none()
                },
                "",
            ),
            (
                "sled",
                EtcdOptions {
                    ca: path(),
                    ..none()
                },
                "etcd-ca",
            ),
            (
                "memory",
                EtcdOptions {
                    user: name(),
                    ..none()
                },
                "etcd-user",
            ),
            ("sled", none(), ""),
            (
                "etcd://[::1]",
                EtcdOptions {
                    user: name(),
                    ..none()
                },
                "etcd-password-file",
            ),
            (
                "etcd://[::1]",
                EtcdOptions {
                    password_file: path(),
                    ..none()
                },
                "etcd-user",
            ),
            (
                "etcd://[::1]",
                EtcdOptions {
                    cert: path(),
                    ..none()
                },
                "etcd-key",
            ),
            (
                "etcd://[::1]",
                EtcdOptions {
                    key: path(),
                    ..none()
                },
                "etcd-cert",
            ),
            (
                "etcd://[::1]",
                EtcdOptions {
                    cert: path(),
                    key: path(),
                    ..none()
                },
                "etcd-ca",
            ),
        ] {
            let settled = options.settle(&store.parse().unwrap());
            let error = settled.err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            assert_eq!(error.is_empty(), problem.is_empty(), "{store}: {error}");
            let flag = format!("--{problem}: ");
            assert!(error.starts_with(&flag) || error.is_empty(), "{error}");
        }
    }
}
