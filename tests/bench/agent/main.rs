//! `make bench-agent`: ADD and DEL through the node's agent, what they cost at the API server, and the agent's memory.

mod memory;
mod requests;

use e2e::bench::Report;
use e2e::bench::comparison::{self, Comparison, Goals};
use e2e::{Agent, ApiServer, Node};

/// The namespace of pods and networks.
const NAMESPACE: &str = "bench";

fn main() {
    let api = ApiServer::start();
    let node = Node::new("bench").with_agent();
    node.master("mv0");
    api.create_nads(NAMESPACE, comparison::networks(&node));
    let mut report = Report::default();
    let mut agent = Agent::start(&node, &api);
    memory::idle(&agent, &mut report);
    let pod = |name: &str, networks: &str| {
        let pod = node.pod(NAMESPACE, name).networks(networks);
        pod.create_in(&api)
    };
    Comparison::new(&node, Goals::AGENT, pod).run(&mut report);
    memory::after_burst(&agent, &mut report);
    requests::patch_alone(&node, &api, &mut report);
    requests::count(&node, &api, &mut report);
    memory::large(&node, &api, &mut agent, &mut report);
    node.assert_clean();
    eprintln!("{}", report.write("agent").display());
}
