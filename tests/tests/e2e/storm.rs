//! Sandboxes come and go at 20 a second at most, while the agent, ipam-server, the API server and the programs in the
//! plugin folder are restarted and replaced around them, and built-in plugins are switched off and on. No call may fail, and
//! nothing may stay.

mod account;
mod fixture;
mod memory;
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
    let begun = AtomicUsize::new(0);
    let World {
        api,
        ipam,
        node,
        agent,
        pods,
    } = world;
    let (seen, memory) = std::thread::scope(|scope| {
        let troubles = scope.spawn(|| troubles::make(&begun, pods.len(), node, agent, ipam, api));
        let seen = sandboxes::come_and_go(node, pods, &begun);
        (seen, troubles.join().expect("all troubles were made"))
    });
    account::settle(world, &seen, memory);
}
