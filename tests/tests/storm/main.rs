//! Sandboxes come and go at 20 a second, while the agent, ipam-server, the API server and the programs in the plugin
//! folder are restarted and replaced around them. No call may fail, and nothing may stay.

mod account;
mod fixture;
mod programs;
mod sandboxes;
mod troubles;

use std::sync::atomic::AtomicUsize;

use fixture::{Asks, World};

#[test]
fn five_hundred_sandboxes_with_the_api_server_to_fall_back_on() {
    storm(&mut World::new("storm", 500, Asks::AnyoneThere));
}

#[test]
fn two_hundred_sandboxes_with_nobody_to_ask_but_the_agent() {
    storm(&mut World::new("agent-only", 200, Asks::TheAgent));
}

fn storm(world: &mut World) {
    let memory_first = e2e::bench::resident_bytes(world.agent.pid());
    let begun = AtomicUsize::new(0);
    let World {
        api,
        ipam,
        node,
        agent,
        pods,
    } = world;
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| troubles::make(&begun, pods.len(), node, agent, ipam, api));
        sandboxes::come_and_go(node, pods, &begun)
    });
    account::settle(world, &seen, memory_first);
}
