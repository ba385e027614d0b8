//! Where networks have their addresses from: the servers of meta-ipam with their pools, and the folders of host-local.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use cni::error::with_causes;
use jiff::Timestamp;
use proto::ipam::v1::{Pool, Usage, pool::State};
use tonic::Code;

use super::certificate::{Validity, of_servers};
use super::ended;
use super::finding::{Area, Finding, Severity};
use super::networks::Network;
use crate::ipam::client::Client;
use crate::ipam::config::{IpamConfig, IpamConfigError, Server};
use crate::ipam::failure::IpamFailure;
use crate::ipam::verbs::has_room;

/// Free addresses below which a pool is nearly full, if any is taken.
const FEW: u128 = 3;

/// What a network leases from.
pub(super) struct Lessee {
    network: String,
    severity: Severity,
    config: Result<IpamConfig, IpamConfigError>,
}

/// A server, and what it says of the pools that are asked for.
pub(super) struct Seen {
    server: Server,
    /// Of the certificate that it shows.
    certificate: Option<Validity>,
    /// Of the certificate that we show.
    own: Option<Validity>,
    pools: Result<Pools, IpamFailure>,
}

/// Pools by name, or why the server does not show one.
type Pools = BTreeMap<String, Result<Pool, tonic::Status>>;

/// How one pool is for those who lease from it.
enum PoolState {
    Good,
    /// It gives, yet.
    Low(String),
    /// It gives nothing.
    Empty(String),
}

/// The networks that lease by meta-ipam.
pub(super) fn lessees(networks: &[Network]) -> Vec<Lessee> {
    let mut lessees = Vec::new();
    for network in networks {
        let plugins = network.found.iter().flat_map(|found| &found.list.plugins);
        for plugin in plugins {
            let config = IpamConfig::of(plugin.as_map()).transpose();
            lessees.extend(config.map(|config| Lessee {
                network: network.described(),
                severity: network.severity(),
                config,
            }));
        }
    }
    lessees
}

/// Asks every server for the pools, all at once, within `limit`.
pub(super) fn inspect(lessees: &[Lessee], limit: Duration) -> Vec<Seen> {
    let mut asked: BTreeMap<Server, BTreeSet<String>> = BTreeMap::new();
    for config in lessees
        .iter()
        .filter_map(|lessee| lessee.config.as_ref().ok())
    {
        let pools = asked.entry(config.server.clone()).or_default();
        pools.extend(config.pools.iter().cloned());
    }
    thread::scope(|scope| {
        let asking: Vec<_> = asked
            .into_iter()
            .map(|(server, pools)| scope.spawn(move || ask(server, &pools, limit)))
            .collect();
        asking.into_iter().map(ended).collect()
    })
}

fn ask(server: Server, pools: &BTreeSet<String>, limit: Duration) -> Seen {
    let own = server.tls.as_ref().and_then(|tls| tls.cert.as_ref());
    let own = own.and_then(|path| Validity::of_pem(&std::fs::read(path).ok()?));
    let (certificate, pools) = thread::scope(|scope| {
        let certificate = scope.spawn(|| of_servers(&server.address, limit));
        let pools = Client::connect(&server, None, limit, false).map(|client| {
            pools
                .iter()
                .map(|name| (name.clone(), client.pool(name)))
                .collect()
        });
        (ended(certificate), pools)
    });
    Seen {
        server,
        certificate,
        own,
        pools,
    }
}

/// What is wrong with servers and pools.
pub(super) fn check(lessees: &[Lessee], servers: &[Seen], now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for lessee in lessees {
        match &lessee.config {
            Err(error) => {
                let cause = format!("{}: {error}", lessee.network);
                let mut found =
                    Finding::fault(Area::Network, cause, "correct `ipam` in the network");
                found.severity = lessee.severity;
                findings.push(found);
            }
            Ok(config) => {
                let seen = servers.iter().find(|seen| seen.server == config.server);
                let found = seen
                    .into_iter()
                    .flat_map(|seen| of_server_and_pools(seen, config, now));
                findings.extend(found.map(|mut found| {
                    found.severity = found.severity.max(lessee.severity);
                    found.seen(format!("{} leases from it", lessee.network))
                }));
            }
        }
    }
    findings
}

fn of_server_and_pools(seen: &Seen, config: &IpamConfig, now: Timestamp) -> Vec<Finding> {
    let address = &seen.server.address;
    let certificates = [
        (
            &seen.certificate,
            format!("the certificate of ipam-server at {address}"),
            "renew the certificate of ipam-server (--tls-cert) and restart it",
        ),
        (
            &seen.own,
            format!("the certificate that meta-ipam shows to {address} (tls.cert)"),
            "renew the file",
        ),
    ];
    let mut findings: Vec<_> = certificates
        .into_iter()
        .filter_map(|(validity, what, remedy)| {
            (*validity)?.finding(Area::Addresses, &what, now, remedy)
        })
        .collect();
    if findings
        .iter()
        .any(|found| found.severity == Severity::Fault)
    {
        return findings;
    }
    match &seen.pools {
        Err(failure) => {
            let cause = match failure {
                IpamFailure::Unreachable { source, .. } => {
                    format!("ipam-server at {address} does not answer: {source}")
                }
                failure => with_causes(failure),
            };
            let remedy = "start ipam-server (its log says why it ended), or correct its address and tls in ipam.yaml of this node";
            findings.push(Finding::fault(Area::Addresses, cause, remedy));
        }
        Ok(pools) => findings.extend(of_pools(pools, config, address)),
    }
    findings
}

/// A network that finds no address in any of its pools is at fault; a pool of several that is empty is a warning.
fn of_pools(pools: &Pools, config: &IpamConfig, address: &str) -> Vec<Finding> {
    let known = config
        .pools
        .iter()
        .filter_map(|name| Some((name, pools.get(name)?)));
    let states: Vec<_> = known
        .map(|(name, pool)| state(name, pool, address))
        .collect();
    let none_gives = states
        .iter()
        .all(|(state, _)| matches!(state, PoolState::Empty(_)));
    let finding = |(state, remedy): (PoolState, &str)| match state {
        PoolState::Good => None,
        PoolState::Empty(cause) if none_gives => {
            Some(Finding::fault(Area::Addresses, cause, remedy))
        }
        PoolState::Empty(cause) | PoolState::Low(cause) => {
            Some(Finding::warning(Area::Addresses, cause, remedy))
        }
    };
    states.into_iter().filter_map(finding).collect()
}

fn state(
    name: &str,
    pool: &Result<Pool, tonic::Status>,
    address: &str,
) -> (PoolState, &'static str) {
    let widen = "widen its ranges (ipamctl pool edit), or release leases that nobody uses (ipamctl lease list --pool)";
    let pool = match pool {
        Ok(pool) => pool,
        Err(status) if status.code() == Code::NotFound => {
            let cause = format!("pool {name} is not known to ipam-server at {address}");
            return (
                PoolState::Empty(cause),
                "make it (ipamctl pool create), or correct the name (ipamctl pool list)",
            );
        }
        Err(status) => {
            let why = match status.code() {
                Code::DeadlineExceeded | Code::Cancelled => "no answer in time",
                _ => status.message(),
            };
            let cause = format!("ipam-server at {address} does not show pool {name}: {why}");
            return (PoolState::Empty(cause), "check the log of ipam-server");
        }
    };
    if pool.state() == State::Cordoned {
        let cause = format!("pool {name} is cordoned: it allocates no new lease");
        return (
            PoolState::Empty(cause),
            "ipamctl pool cordon --undo NAME, once what it was cordoned for is over",
        );
    }
    if let Err(full) = has_room(pool) {
        let cause = match full {
            IpamFailure::Exhausted { pool, family } => {
                format!("pool {pool} has no free {family} address")
            }
            failure => with_causes(&failure),
        };
        return (PoolState::Empty(cause), widen);
    }
    let families = [("IPv4", &pool.ipv4_usage), ("IPv6", &pool.ipv6_usage)];
    let low = families.into_iter().find_map(|(family, usage)| {
        let (free, capacity) = numbers(usage.as_ref()?)?;
        is_low(free, capacity)
            .then(|| format!("pool {name} has {free} of {capacity} {family} addresses left"))
    });
    (low.map_or(PoolState::Good, PoolState::Low), widen)
}

fn numbers(usage: &Usage) -> Option<(u128, u128)> {
    Some((usage.free.parse().ok()?, usage.capacity.parse().ok()?))
}

/// Whether so few addresses are free that somebody should do something before none is.
pub(super) fn is_low(free: u128, capacity: u128) -> bool {
    free < capacity && (free < capacity / 10 || free < FEW)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(free: u32, capacity: u32, cordoned: bool) -> Pool {
        let usage = Usage {
            free: free.to_string(),
            capacity: capacity.to_string(),
            quarantined: "0".to_owned(),
            ..Usage::default()
        };
        let state = if cordoned {
            State::Cordoned
        } else {
            State::Active
        };
        Pool {
            name: "blue".to_owned(),
            ipv4: Some(Default::default()),
            ipv4_usage: Some(usage),
            state: state.into(),
            ..Pool::default()
        }
    }

    fn lessee(pools: &[&str]) -> Lessee {
        let conf = json!({"ipam": {"type": "meta-ipam", "pools": pools}});
        Lessee {
            network: "network a".to_owned(),
            severity: Severity::Fault,
            config: IpamConfig::of(conf.as_object().unwrap()).map(Option::unwrap),
        }
    }

    fn findings(lessee: &Lessee, pools: Result<Pools, IpamFailure>) -> Vec<(Severity, String)> {
        let seen = Seen {
            server: lessee.config.as_ref().unwrap().server.clone(),
            certificate: None,
            own: None,
            pools,
        };
        let found = check(std::slice::from_ref(lessee), &[seen], Timestamp::UNIX_EPOCH);
        found
            .into_iter()
            .map(|found| (found.severity, found.cause))
            .collect()
    }

    #[test]
    fn a_pool_is_reported_by_what_it_can_give() {
        use Severity::{Fault, Warning};
        let missing = || Err(tonic::Status::not_found("no"));
        for (pool, expected) in [
            (Ok(pool(200, 250, false)), None),
            (Ok(pool(2, 2, false)), None),
            (
                Ok(pool(2, 4, false)),
                Some((Warning, "pool blue has 2 of 4 IPv4 addresses left")),
            ),
            (
                Ok(pool(20, 250, false)),
                Some((Warning, "pool blue has 20 of 250 IPv4 addresses left")),
            ),
            (
                Ok(pool(0, 250, false)),
                Some((Fault, "pool blue has no free IPv4 address")),
            ),
            (
                Ok(pool(200, 250, true)),
                Some((Fault, "pool blue is cordoned: it allocates no new lease")),
            ),
            (
                missing(),
                Some((
                    Fault,
                    "pool blue is not known to ipam-server at unix:///run/meta-cni/ipam.sock",
                )),
            ),
        ] {
            let found = findings(&lessee(&["blue"]), Ok([("blue".to_owned(), pool)].into()));
            let found = found
                .first()
                .map(|(severity, cause)| (*severity, cause.as_str()));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_empty_pool_is_a_warning_as_long_as_another_gives() {
        let both = |more| -> Pools {
            let pools = [("blue", pool(0, 250, false)), ("more", more)];
            pools.map(|(name, pool)| (name.to_owned(), Ok(pool))).into()
        };
        let one = findings(&lessee(&["blue", "more"]), Ok(both(pool(200, 250, false))));
        assert_eq!(
            one,
            [(
                Severity::Warning,
                "pool blue has no free IPv4 address".to_owned()
            )]
        );
        let none = findings(&lessee(&["blue", "more"]), Ok(both(pool(200, 250, true))));
        assert!(
            none.iter()
                .all(|(severity, _)| *severity == Severity::Fault)
                && none.len() == 2,
            "{none:?}"
        );
    }

    #[test]
    fn a_server_that_does_not_answer_is_reported_and_no_pool_of_it() {
        let away = IpamFailure::Unreachable {
            server: "unix:///s".to_owned(),
            source: "gone".into(),
        };
        let found = findings(&lessee(&["blue"]), Err(away));
        assert_eq!(
            found,
            [(
                Severity::Fault,
                "ipam-server at unix:///run/meta-cni/ipam.sock does not answer: gone".to_owned()
            )]
        );
    }
}
