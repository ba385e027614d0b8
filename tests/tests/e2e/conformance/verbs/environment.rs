//! Section 5, "Required environment", and the versions of configurations that verbs need.

use e2e::{Node, Outcome, Pod};
use serde_json::json;

const ALL: [&str; 4] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];

/// A call that lacks one variable.
fn without(node: &Node, verb: &str, pod: &Pod, variable: &str) -> Outcome {
    node.call(verb).pod(pod).without_env(variable).run()
}

#[test]
fn add_and_check_need_container_namespace_interface_and_path() {
    let node = Node::recorder("env-add");
    let pod = node.pod("default", "web").create();
    for verb in ["ADD", "CHECK"] {
        for variable in ALL {
            without(&node, verb, &pod, variable).fails(4, &[verb, variable]);
            node.call(verb)
                .pod(&pod)
                .env(variable, "")
                .run()
                .fails(4, &[variable]);
        }
    }
    assert!(node.calls().is_empty());
}

#[test]
fn del_needs_the_same_but_for_the_namespace() {
    let node = Node::recorder("env-del");
    let pod = node.pod("default", "web").create();
    node.add(&pod).ok();
    for variable in ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"] {
        without(&node, "DEL", &pod, variable).fails(4, &["DEL", variable]);
    }
    without(&node, "DEL", &pod, "CNI_NETNS").ok();
    assert_eq!(node.last_call("DEL eth0 default").env["CNI_NETNS"], "");
    node.assert_clean();
}

#[test]
fn gc_and_status_need_the_path_alone() {
    let node = Node::recorder("env-gc");
    for verb in ["GC", "STATUS"] {
        node.call(verb).run().ok();
        node.call(verb)
            .without_env("CNI_PATH")
            .run()
            .fails(4, &[verb, "CNI_PATH"]);
    }
}

#[test]
fn all_missing_variables_are_reported_at_once() {
    let node = Node::recorder("env-all");
    node.call("ADD")
        .without_env("CNI_PATH")
        .run()
        .fails(4, &ALL);
}

#[test]
fn check_needs_0_4_0_and_gc_and_status_need_1_1_0() {
    let node = Node::recorder("since");
    let pod = node.pod("default", "web").create();
    node.add(&pod).ok();
    let run = |verb: &str, version: &str| {
        let call = node.call(verb).pod(&pod);
        call.conf(json!({ "cniVersion": version })).run()
    };
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1"] {
        run("CHECK", version).fails(1, &["CHECK", "0.4.0", version]);
    }
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        run("GC", version).fails(1, &["GC", "1.1.0", version]);
        run("STATUS", version).fails(1, &["STATUS", "1.1.0", version]);
    }
    assert_eq!(node.summaries(), ["ADD eth0 default"]);
}

#[test]
fn without_a_command_it_says_what_it_is_on_stderr_and_succeeds() {
    let node = Node::recorder("person");
    let outcome = node.call("ADD").without_env("CNI_COMMAND").run();
    assert!(outcome.status.success(), "{outcome}");
    assert_eq!(outcome.stdout, "");
    assert!(
        outcome.stderr.contains("meta-cni") && outcome.stderr.contains("CNI plugin"),
        "{outcome}"
    );
}

#[test]
fn an_unknown_command_is_refused() {
    let node = Node::recorder("unknown");
    let pod = node.pod("default", "web").create();
    node.call("UPDATE").pod(&pod).run().fails(4, &["UPDATE"]);
}

#[test]
fn container_ids_and_interface_names_that_could_be_paths_are_refused() {
    let node = Node::recorder("paths");
    let pod = node.pod("default", "web").create();
    for verb in ["ADD", "DEL"] {
        let call = || node.call(verb).pod(&pod);
        call()
            .container_id("../../etc/passwd")
            .run()
            .fails(4, &["CNI_CONTAINERID"]);
        call().ifname("../eth0").run().fails(4, &["CNI_IFNAME"]);
        call()
            .ifname("sixteen-bytes-xx")
            .run()
            .fails(4, &["CNI_IFNAME"]);
    }
    node.assert_clean();
}

#[test]
fn cni_args_with_a_part_that_does_not_split_in_two_are_refused() {
    let node = Node::recorder("pairs");
    let pod = node.pod("default", "web").create();
    for part in ["B", "A=1=2", "=1"] {
        node.call("ADD")
            .pod(&pod)
            .args(part)
            .run()
            .fails(4, &["CNI_ARGS", part]);
    }
    assert!(node.calls().is_empty());
}
