//! `make bench-attach`: ADD and DEL with a folder as the cluster.

use e2e::Node;
use e2e::bench::Report;
use e2e::bench::comparison::{self, Comparison, Goals};

fn main() {
    let node = Node::new("bench");
    node.master("mv0");
    for (name, network) in comparison::networks(&node) {
        node.nad("default", &name, network);
    }
    let mut report = Report::default();
    let pod = |name: &str, networks: &str| node.pod("default", name).networks(networks).create();
    Comparison::new(&node, Goals::FOLDER, pod).run(&mut report);
    node.assert_clean();
    eprintln!("{}", report.write("attach").display());
}
