//! Pools whose leases end by themselves, under pods that run for longer: no address is allocated twice.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::{IpamServer, wait_until};

use crate::runtime::fixture::{INTERFACES, RunningPod, Scene};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the pools.
const TTL: &str = "--default-ttl-seconds=1";
/// How many times that the pods run.
const TIMES: usize = 10;

fn done(server: &IpamServer, arguments: &[&str]) {
    let output = server.ipamctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Waits for as long as a lease of the pool lasts, by one that nobody renews.
fn one_ttl(server: &IpamServer, claim: &str) {
    let flag = format!("--claim={claim}");
    done(server, &["lease", "allocate", "--pool=storage", &flag]);
    wait_until("a lease that nobody renews ends", PATIENCE, || {
        let all = server.ipamctl_json(&["lease", "list"]).to_string();
        (!all.contains(claim)).then_some(())
    });
}

fn addresses(scene: &Scene, pod: &RunningPod) -> Vec<String> {
    let netns = scene.runtime.netns(&pod.sandbox);
    let of = |ifname: &&str| netns.addresses(ifname);
    INTERFACES.iter().flat_map(of).collect()
}

#[test]
fn pods_keep_their_addresses_for_ten_times_the_ttl_whatever_restarts() {
    let mut scene = Scene::new("ttl");
    for pool in ["pods", "storage", "telemetry"] {
        done(&scene.ipam, &["pool", "edit", pool, TTL]);
    }
    // Measures how long the other one is stopped.
    let other = IpamServer::start();
    done(
        &other,
        &["pool", "create", "storage", "--ipv4-cidr=10.0.0.0/24", TTL],
    );
    let mut pods = vec![scene.run("a"), scene.run("b")];
    for round in 0..TIMES {
        one_ttl(&scene.ipam, &format!("timer-{round}"));
        match round {
            3 => {
                scene.agent.kill9();
                scene.agent.restart();
            }
            6 => {
                scene.ipam.kill9();
                one_ttl(&other, "away");
                scene.ipam.restart();
            }
            _ => {}
        }
    }
    pods.extend([scene.run("c"), scene.run("d")]);
    let all: Vec<_> = pods.iter().flat_map(|pod| addresses(&scene, pod)).collect();
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), pods.len() * 2 * INTERFACES.len());
    assert_eq!(different.len(), all.len(), "{all:?}");
    scene.assert_connected(&pods[0], &pods[3]);
    for pod in &pods {
        scene.delete(pod);
    }
    scene.assert_clean();
}
