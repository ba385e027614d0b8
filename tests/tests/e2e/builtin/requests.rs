//! What an ADD of built-in plugins asks of the kernel, seen by strace(1): no program, no link that is moved, no list.

use std::fs;

use e2e::Node;

/// The whole trace of an ADD with the default network and four others, dual stack.
fn traced_add() -> Vec<String> {
    let node = Node::new("requests");
    node.master("mv0");
    for index in 1..=4 {
        let subnets = [format!("10.2{index}.0.0/16"), format!("fd00:2{index}::/64")];
        let subnets = [subnets[0].as_str(), subnets[1].as_str()];
        let network = match index % 2 {
            1 => node.bridge(&format!("br{index}"), &subnets),
            _ => node.macvlan("mv0", &subnets),
        };
        node.nad("default", &format!("n{index}"), network);
    }
    // The first pod makes the bridges and lets the node forward, for which the addresses and default routes of the host are
    // listed once.
    let first = node.pod("default", "first").networks("n1,n2,n3,n4");
    let first = first.create();
    node.add(&first).ok();
    let pod = node.pod("default", "web").networks("n1,n2,n3,n4").create();
    let path = node.folder().join("trace");
    let shown = path.display().to_string();
    // Whole messages: a list is a flag of one, a move an attribute.
    let strace = [
        "strace",
        "-f",
        "-s",
        "4096",
        "-e",
        "trace=execve,sendto,sendmsg",
        "-o",
        &shown,
    ];
    let added = node.call("ADD").pod(&pod).under(strace).run();
    added.ok();
    for pod in [&pod, &first] {
        node.del(pod).ok();
    }
    let trace = fs::read_to_string(&path).expect("read the trace");
    trace.lines().map(str::to_owned).collect()
}

#[test]
fn an_add_starts_no_program_moves_no_link_and_lists_nothing() {
    let trace = traced_add();
    let lines = |is_of: &dyn Fn(&str) -> bool| -> Vec<&String> {
        trace.iter().filter(|line| is_of(line)).collect()
    };
    let programs = lines(&|line| line.contains("execve("));
    assert_eq!(programs.len(), 1, "meta-cni alone: {programs:#?}");
    let lists = lines(&|line| line.contains("NLM_F_DUMP"));
    assert!(lists.is_empty(), "{lists:#?}");
    let is_move = |line: &str| {
        let is_change = line.contains("RTM_SETLINK") || !line.contains("NLM_F_CREATE");
        line.contains("IFLA_NET_NS") && is_change && line.contains("sendto(")
    };
    let moves = lines(&is_move);
    assert!(moves.is_empty(), "{moves:#?}");
    // The trace is one of netlink: five links are made.
    let made = lines(&|line| line.contains("RTM_NEWLINK") && line.contains("NLM_F_CREATE"));
    assert_eq!(made.len(), 5, "{made:#?}");
}
