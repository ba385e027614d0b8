//! Where the store is in etcd, as people write it: `etcd://HOST:PORT,HOST:PORT/PREFIX`.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// The port of etcd's clients.
const PORT: u16 = 2379;
/// Below this key everything of the store is.
const PREFIX: &str = "/meta-cni.io/ipam/";

/// The members of an etcd cluster, and the prefix of the store's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdAddress {
    /// Host and port of each member.
    pub members: Vec<String>,
    /// Begins and ends with `/`; `/meta-cni.io/ipam/` by default.
    pub prefix: String,
}

/// Why a text is no address of etcd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdAddressError {
    /// It has another scheme, or none.
    #[error("{text} is not etcd://HOST:PORT,HOST:PORT/PREFIX")]
    Scheme {
        /// The text.
        text: String,
    },
    /// A member is not a host with a port.
    #[error("{member:?} is not HOST or HOST:PORT; write etcd://HOST:PORT,HOST:PORT/PREFIX")]
    Member {
        /// The member.
        member: String,
    },
    /// The prefix has characters that a key of this store cannot have.
    #[error("the prefix {prefix:?} has a ?, # or space, or an empty part; use /letters/digits/")]
    Prefix {
        /// The prefix.
        prefix: String,
    },
}

impl FromStr for EtcdAddress {
    type Err = EtcdAddressError;

    fn from_str(text: &str) -> Result<EtcdAddress, EtcdAddressError> {
        let scheme = || EtcdAddressError::Scheme {
            text: text.to_owned(),
        };
        let rest = text.strip_prefix("etcd://").ok_or_else(scheme)?;
        let (members, prefix) = match rest.split_once('/') {
            Some((members, prefix)) => (members, prefix.trim_end_matches('/')),
            None => (rest, ""),
        };
        let members: Result<Vec<_>, _> = members.split(',').map(member).collect();
        let prefix = match prefix {
            "" => PREFIX.to_owned(),
            prefix => format!("/{prefix}/"),
        };
        let is_plain = |c: char| c.is_ascii_graphic() && c != '?' && c != '#';
        if !prefix.chars().all(is_plain) || prefix.contains("//") {
            return Err(EtcdAddressError::Prefix { prefix });
        }
        Ok(EtcdAddress {
            members: members?,
            prefix,
        })
    }
}

/// A member with its port.
fn member(text: &str) -> Result<String, EtcdAddressError> {
    let wrong = || EtcdAddressError::Member {
        member: text.to_owned(),
    };
    let uri: Uri = format!("http://{text}").parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(wrong)?;
    // A port that is no number, a user, a query: nothing of it is left out silently.
    let port = uri.port_u16();
    let whole = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    if text != whole {
        return Err(wrong());
    }
    Ok(format!("{host}:{}", port.unwrap_or(PORT)))
}

impl fmt::Display for EtcdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.prefix.trim_end_matches('/');
        write!(f, "etcd://{}{prefix}", self.members.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_members_with_ports_and_a_prefix() {
        for (text, whole) in [
            ("etcd://a", "etcd://a:2379/meta-cni.io/ipam"),
            ("etcd://a:1,b:2/", "etcd://a:1,b:2/meta-cni.io/ipam"),
            (
                "etcd://10.0.0.1,[fd00::1]:7/x",
                "etcd://10.0.0.1:2379,[fd00::1]:7/x",
            ),
            ("etcd://a/x/y/", "etcd://a:2379/x/y"),
        ] {
            let address: EtcdAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), whole);
            assert!(address.prefix.starts_with('/') && address.prefix.ends_with('/'));
            assert_eq!(whole.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (text, words) in [
            ("sled", "is not etcd://"),
            ("https://a", "is not etcd://"),
            ("etcd://", "is not HOST"),
            ("etcd://a,,b", "is not HOST"),
            ("etcd://a:x", "is not HOST"),
            ("etcd://user@a", "is not HOST"),
            ("etcd://a?x=1", "is not HOST"),
            ("etcd://a/x?y", "the prefix"),
            ("etcd://a/x y", "the prefix"),
            ("etcd://a/x//y", "the prefix"),
        ] {
            let error = text.parse::<EtcdAddress>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
