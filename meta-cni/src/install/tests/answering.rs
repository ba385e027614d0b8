//! An agent that appears while an installer waits for it.

use std::fs;
use std::thread;

use proto::agent::v1::GetStatusResponse;

use super::super::Outcome;
use super::node::{CALICO, Node, OURS};
use crate::test_server::{agent, serve};

const SOCKET: &str = "/run/meta-cni/agent.sock";

#[test]
fn the_configuration_is_written_once_the_agent_answers() {
    let node = Node::new().with("/etc/cni/net.d/10-calico.conflist", CALICO);
    fs::create_dir_all(node.here("/run/meta-cni")).unwrap();
    thread::scope(|scope| {
        let installer = scope.spawn(|| node.install_with_agent(&["--wait-seconds=3600"]));
        // The executables come before the wait.
        while !node.here("/opt/cni/bin/meta-ipam").exists() {
            thread::yield_now();
        }
        assert!(!node.here(OURS).exists());
        let _agent = serve(&node.here(SOCKET), agent(GetStatusResponse::default()));
        assert_eq!(installer.join().unwrap().0.unwrap(), Outcome::Done);
    });
    let plugin = &node.conf()["plugins"][0];
    assert_eq!(plugin["agentSocket"], SOCKET);
    assert_eq!(plugin["agentTimeoutSeconds"], 60);
}
