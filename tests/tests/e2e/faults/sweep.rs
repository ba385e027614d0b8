//! `meta-cni` is killed at each of its system calls that change something or wait for somebody, one
//! after the other (strace(1), "Syscall tampering").

use std::os::unix::process::ExitStatusExt;

use e2e::{Node, Outcome, Pod, locate};
use serde_json::json;

use crate::faults::scene::{link, pod};

/// Files and folders of its own.
const FILES: [&str; 7] = [
    "openat", "mkdir", "flock", "write", "fsync", "rename", "unlink",
];

/// Delegates: their pipes, their start, their answer, their end.
const DELEGATES: [&str; 4] = ["pipe2", "clone3,vfork,clone", "poll", "wait4,waitid"];

/// Requests to the kernel by netlink, of all threads.
const REQUESTS: &str = "requests";

/// A node whose plugins are built in.
fn built_in(name: &str) -> Node {
    let node = Node::new(name);
    node.master("mv0");
    let red = node.macvlan("mv0", &["10.9.0.0/24", "fd00:9::/64"]);
    node.nad("default", "red", red);
    node
}

/// The default network is a bridge with real leases, the other one makes a link.
fn node(name: &str) -> Node {
    let node = Node::new(name);
    let red = link(
        &node,
        "red",
        json!({ "ips": ["10.9.0.5/24", "fd00:9::5/64"] }),
    );
    node.nad("default", "red", red);
    node.conf(json!({ "maxParallelDelegates": 1 }))
}

/// Runs `verb` and kills it when it comes to the `count`th of these calls. It is killed alone: its
/// delegates go on.
fn killed_at(node: &Node, verb: &str, pod: &Pod, calls: &str, count: u32) -> Outcome {
    if calls == REQUESTS {
        let count = count.to_string();
        let kill_at = locate::test_program("kill-at").into_os_string();
        return node
            .call(verb)
            .pod(pod)
            .under([kill_at, count.into()])
            .run();
    }
    let inject = format!("inject={calls}:signal=SIGKILL:when={count}");
    let strace = ["strace", "-o", "/dev/null", "-e", &inject];
    node.call(verb).pod(pod).under(strace).run()
}

/// Kills `verb` at the first of these calls, at the second, and so on until it comes to its end;
/// `before` and `after` are done around each. Gives how many there were.
fn sweep(node: &Node, verb: &str, calls: &str, before: impl Fn(&Pod), after: impl Fn(&Pod)) -> u32 {
    let pod = pod(node, "a", &["red"]);
    for count in 1.. {
        before(&pod);
        let outcome = killed_at(node, verb, &pod, calls, count);
        let survived = outcome.status.signal() != Some(9);
        if survived {
            outcome.ok();
        }
        after(&pod);
        node.assert_clean();
        if survived {
            return count - 1;
        }
    }
    unreachable!("a program makes a finite number of system calls")
}

fn sweep_add(calls: &[&str], after: impl Fn(&Node, &Pod)) {
    let node = node("sweep-add");
    for calls in calls {
        let kills = sweep(&node, "ADD", calls, |_| {}, |pod| after(&node, pod));
        // An ADD that succeeds removes no file.
        assert!(kills > 0 || *calls == "unlink", "ADD never calls {calls}");
    }
}

#[test]
fn an_add_killed_at_any_file_is_undone_by_del() {
    sweep_add(&FILES, |node, pod| _ = node.del(pod).ok());
}

#[test]
fn an_add_killed_at_any_step_of_a_delegate_is_undone_by_del() {
    sweep_add(&DELEGATES, |node, pod| _ = node.del(pod).ok());
}

/// A second ADD does over what the first began; it is refused if that had already recorded its end.
#[test]
fn an_add_killed_at_any_rename_or_start_of_a_delegate_is_done_over_by_the_next() {
    sweep_add(&["rename", "clone3,vfork,clone"], |node, pod| {
        let again = node.add(pod);
        if again.status.success() {
            node.check(pod).ok();
        } else {
            let (code, message, _) = again.error();
            assert!(code == 4 && message.contains("attached already"), "{again}");
        }
        node.del(pod).ok();
    });
}

#[test]
fn an_add_killed_at_any_request_to_the_kernel_is_undone_by_del() {
    let node = built_in("requests-add");
    let del = |pod: &Pod| _ = node.del(pod).ok();
    let kills = sweep(&node, "ADD", REQUESTS, |_| {}, del);
    assert!(kills > 10, "two links are made: {kills}");
}

#[test]
fn a_del_killed_at_any_request_to_the_kernel_is_completed_by_the_next() {
    let node = built_in("requests-del");
    let add = |pod: &Pod| _ = node.add(pod).ok();
    let del = |pod: &Pod| _ = node.del(pod).ok();
    let kills = sweep(&node, "DEL", REQUESTS, add, del);
    assert!(kills > 2, "two links are grouped and removed: {kills}");
}

#[test]
fn a_del_killed_at_any_step_is_completed_by_the_next() {
    let node = node("sweep-del");
    for calls in FILES.iter().chain(&DELEGATES) {
        let add = |pod: &Pod| _ = node.add(pod).ok();
        let del = |pod: &Pod| _ = node.del(pod).ok();
        let kills = sweep(&node, "DEL", calls, add, del);
        // A DEL that succeeds writes no record.
        let writes = ["fsync", "rename"].contains(calls);
        assert!(kills > 0 || writes, "DEL never calls {calls}");
    }
}
