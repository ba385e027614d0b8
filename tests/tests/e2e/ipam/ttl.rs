//! A pool whose leases end by themselves, and pods that run for longer: no address of a running pod is allocated to
//! another, with the agent or without, whatever is restarted.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::{IpamServer, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::ipam::meta_ipam::{MetaIpam, good};
use crate::ipam::proxy::fixture::Proxy;

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the pool, in seconds.
const TTL: &str = "1";
/// Addresses of the pool.
const ROOM: usize = 14;

fn with_pool() -> IpamServer {
    let server = IpamServer::start();
    let made = server.ipamctl(&[
        "pool",
        "create",
        "blue",
        "--ipv4-cidr=10.0.0.0/28",
        "--default-ttl-seconds",
        TTL,
    ]);
    assert!(made.status.success(), "{made:?}");
    server
}

fn address(result: &Value) -> String {
    let address = result["ips"][0]["address"].as_str().expect("an address");
    address.to_owned()
}

fn lease_of_a_program(server: &IpamServer, claim: &str) -> Option<String> {
    let claim = format!("--claim={claim}");
    let output = server.ipamctl(&["lease", "allocate", "--pool=blue", &claim, "-o", "json"]);
    let lease: Value = serde_json::from_slice(&output.stdout).ok()?;
    lease["lease"]["ipv4"]
        .as_str()
        .or(lease["ipv4"].as_str())
        .map(str::to_owned)
}

/// Waits for as long as a lease of the pool lasts, by one that nobody renews.
fn one_ttl(server: &IpamServer, claim: &str) {
    lease_of_a_program(server, claim).expect("the pool has room");
    wait_until("a lease that nobody renews ends", PATIENCE, || {
        let all = server.ipamctl(&["lease", "list", "-o", "json"]);
        let all = String::from_utf8_lossy(&all.stdout).into_owned();
        (!all.is_empty() && !all.contains(claim)).then_some(())
    });
}

/// Takes all that is left of the pool, for programs with names of their own.
fn takes_the_rest(server: &IpamServer, name: &str) -> BTreeSet<String> {
    let rest = (0..=ROOM).map_while(|n| lease_of_a_program(server, &format!("{name}-{n}")));
    rest.collect()
}

fn add(plugin: &MetaIpam, container: &str) -> String {
    address(&good(plugin.run("ADD", container, json!({}))))
}

#[test]
fn without_an_agent_a_pod_keeps_its_address_for_ten_times_the_ttl() {
    let mut server = with_pool();
    let plugin = MetaIpam::of(&server.socket(), server.folder()).within(30);
    let pods: BTreeSet<_> = ["c1", "c2", "c3"]
        .iter()
        .map(|container| add(&plugin, container))
        .collect();
    for round in 0..10 {
        one_ttl(&server, &format!("timer-{round}"));
        if round == 4 {
            server.kill9();
            server.restart();
        }
    }
    let rest = takes_the_rest(&server, "rest");
    assert_eq!(rest.len(), ROOM - pods.len());
    assert!(rest.is_disjoint(&pods), "{rest:?} {pods:?}");
    // Each is the pod's own still, and ends with it. The leases of the programs may have ended meanwhile.
    let c1 = add(&plugin, "c1");
    assert!(pods.contains(&c1));
    good(plugin.run("DEL", "c1", json!({})));
    let free = takes_the_rest(&server, "last");
    assert!(free.contains(&c1), "{c1} is not in {free:?}");
}

#[test]
fn with_an_agent_that_restarts_and_a_server_that_is_unreachable_for_a_ttl_a_pod_keeps_its_address()
{
    let mut server = with_pool();
    let mut proxy = Proxy::start(&server);
    let plugin = proxy.meta_ipam();
    let pods: BTreeSet<_> = ["c1", "c2", "c3"]
        .iter()
        .map(|container| add(&plugin, container))
        .collect();
    one_ttl(&server, "timer-1");
    proxy.restart(Signal::SIGKILL);
    one_ttl(&server, "timer-2");
    // The clock of another server measures how long this one is stopped.
    let other = with_pool();
    server.kill9();
    one_ttl(&other, "timer-3");
    server.restart();
    proxy.stop(Signal::SIGKILL);
    one_ttl(&server, "timer-4");
    let rest = takes_the_rest(&server, "rest");
    assert_eq!(rest.len(), ROOM - pods.len());
    assert!(rest.is_disjoint(&pods), "{rest:?} {pods:?}");
}
