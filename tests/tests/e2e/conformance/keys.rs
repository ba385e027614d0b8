//! Section 1, "CNI configuration keys".

use std::fs;
use std::time::Duration;

use e2e::{Node, Pod, wait_until};
use serde_json::{Value, json};

/// Adds a pod of a namespace and gives the networks it got, as `<interface> <network>`.
fn networks_of_pod(node: &Node, namespace: &str) -> Vec<String> {
    let pod = node.pod(namespace, "web").create();
    attached(node, &pod)
}

fn attached(node: &Node, pod: &Pod) -> Vec<String> {
    node.add(pod).ok();
    let calls = node.calls();
    let of_pod = calls.iter().filter(|c| c.container_id == pod.container_id);
    let mut networks: Vec<String> = of_pod
        .map(|call| format!("{} {}", call.ifname, call.network))
        .collect();
    networks.sort();
    networks
}

#[test]
fn a_configuration_of_multus_works_once_its_type_is_changed() {
    let node = Node::recorder("drop-in").conf(json!({
        "cniVersion": "0.3.1",
        "name": "multus-cni-network",
        "capabilities": { "portMappings": true, "bandwidth": true },
        "kubeconfig": "",
        "logLevel": "verbose",
        "logOptions": { "maxAge": 5, "maxSize": 100, "maxBackups": 5, "compress": true },
        "retryDeleteOnError": true,
        "auxiliaryCNIChainName": "vendor-cni-chain",
        "namespaceIsolation": false,
        "unheard": { "of": [null] },
    }));
    let pod = node.pod("default", "web").create();
    assert_eq!(node.add(&pod).ok()["cniVersion"], "0.3.1");
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn what_the_runtime_has_for_capabilities_reaches_the_default_network_alone() {
    let capable = |node: &Node, name: &str| {
        let mut conf = node.recording(name, json!({}));
        conf["capabilities"] = json!({ "portMappings": true });
        conf
    };
    let node = Node::new("runtime").default_network(|node| capable(node, "default"));
    node.nad("default", "red", capable(&node, "red"));
    let pod = node.pod("default", "web").networks("red").create();
    let mappings = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    let runtime = json!({ "runtimeConfig": { "portMappings": mappings } });
    node.call("ADD").pod(&pod).conf(runtime).run().ok();
    let given = |summary: &str| node.last_call(summary).conf()["runtimeConfig"].clone();
    assert_eq!(
        given("ADD eth0 default"),
        json!({ "portMappings": mappings })
    );
    assert_eq!(given("ADD net1 red"), Value::Null);
}

/// A node without a source of networks: no agent, no API server, no folder.
fn node_without_source(name: &str) -> Node {
    let node = Node::recorder(name);
    let both = json!([
        node.recording("a", json!({})),
        node.recording("b", json!({}))
    ]);
    let kubelet = node.folder().join("kubelet");
    node.conf(json!({
        "networksDir": null, "agentSocket": "", "kubeletDir": kubelet, "delegates": both
    }))
}

#[test]
fn without_kubernetes_the_delegates_alone_are_attached() {
    let node = node_without_source("alone");
    let pod = node.pod("default", "web").create();
    let add = node.call("ADD").pod(&pod).without_env("CNI_ARGS");
    add.run().ok();
    let calls = node.calls();
    let summaries: Vec<_> = calls.iter().map(e2e::RecordedCall::summary).collect();
    assert_eq!(summaries, ["ADD eth0 a", "ADD net1 b"]);
    node.status().ok();
    let del = node.call("DEL").pod(&pod).without_env("CNI_ARGS");
    del.run().ok();
    node.assert_clean();
}

#[test]
fn a_pod_of_kubernetes_is_refused_without_a_source_of_networks() {
    let node = node_without_source("nobody");
    let pod = node.pod("default", "web").networks("red").create();
    let words = ["default/web", "kubeconfig", "networksDir", "meta-cnid"];
    node.add(&pod).fails(7, &words);
    assert!(node.calls().is_empty(), "nothing has run");
    node.del(&pod).ok();
    node.assert_clean();
    fs::create_dir_all(node.folder().join("kubelet/pods")).unwrap();
    node.status().fails(50, &["kubeconfig", "networksDir"]);
}

#[test]
fn add_and_status_name_what_is_missing_in_a_configuration_of_thick_multus() {
    let node = node_without_source("thick");
    node.conf_file("10-calico.conflist", &node.recording("calico", json!({})));
    let calico = format!("/host{}/10-calico.conflist", node.conf_dir().display());
    let networks = json!({ "networksDir": format!("/host{}", node.networks_dir().display()) });
    // As the generator of Multus 4.2 writes it, but for type and the folders of this test.
    let node = node.conf(json!({
        "capabilities": { "bandwidth": true, "portMappings": true }, "cniVersion": "1.1.0",
        "logLevel": "verbose", "logToStderr": true, "name": "multus-cni-network", "delegates": null,
        "clusterNetwork": calico,
    }));
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).fails(7, &["kubeconfig", "thick Multus"]);
    node.status().fails(50, &["kubeconfig", "thick Multus"]);
    node.nad("default", "blue", node.recording("blue", json!({})));
    let node = node.conf(networks);
    node.status().ok();
    assert_eq!(attached(&node, &pod), ["eth0 calico", "net1 blue"]);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn delegates_are_configurations_or_lists_and_the_first_is_the_default_network() {
    let node = Node::recorder("delegates");
    let record = |name: &str| node.recording(name, json!({}));
    let list = node.list(&[record("list"), record("list")]);
    let delegates = json!([list, record("single")]);
    let node = node.conf(json!({ "delegates": delegates }));
    assert_eq!(
        networks_of_pod(&node, "default"),
        ["eth0 list", "eth0 list", "net1 single"]
    );
}

#[test]
fn cluster_network_wins_over_delegates_and_names_a_nad_of_multus_namespace() {
    let node = Node::recorder("nad").conf(json!({ "clusterNetwork": "main" }));
    node.nad("kube-system", "main", node.recording("system", json!({})));
    node.nad("net", "main", node.recording("moved", json!({})));
    assert_eq!(networks_of_pod(&node, "default"), ["eth0 system"]);
    let node = node.conf(json!({ "multusNamespace": "net" }));
    assert_eq!(networks_of_pod(&node, "other"), ["eth0 moved"]);
}

#[test]
fn cluster_network_without_a_nad_names_a_configuration_of_conf_dir() {
    let node = Node::recorder("confdir").conf(json!({ "clusterNetwork": "main" }));
    node.conf_file("10-other.conf", &node.recording("other", json!({})));
    node.conf_file(
        "20-x.conflist",
        &node.list(&[node.recording("main", json!({}))]),
    );
    assert_eq!(networks_of_pod(&node, "default"), ["eth0 main"]);
}

#[test]
fn cluster_network_with_a_slash_is_a_file_or_a_folder_whose_first_file_counts() {
    let node = Node::recorder("path");
    node.conf_file("a/20-second.conf", &node.recording("second", json!({})));
    node.conf_file("a/10-first.conf", &node.recording("first", json!({})));
    let (file, folder) = (
        node.conf_dir().join("a/20-second.conf"),
        node.conf_dir().join("a"),
    );
    let node = node.conf(json!({ "clusterNetwork": file }));
    assert_eq!(networks_of_pod(&node, "one"), ["eth0 second"]);
    let node = node.conf(json!({ "clusterNetwork": folder }));
    assert_eq!(networks_of_pod(&node, "two"), ["eth0 first"]);
}

#[test]
fn default_networks_are_added_to_every_pod_outside_system_namespaces() {
    let node = Node::recorder("defaults")
        .conf(json!({ "clusterNetwork": "main", "defaultNetworks": ["a", "b"] }));
    for name in ["main", "a"] {
        node.nad("kube-system", name, node.recording(name, json!({})));
    }
    node.conf_file("b.conf", &node.recording("b", json!({})));
    let all = ["eth0 main", "net1 a", "net2 b"];
    assert_eq!(networks_of_pod(&node, "default"), all);
    assert_eq!(networks_of_pod(&node, "kube-system"), ["eth0 main"]);
    let node = node.conf(json!({ "systemNamespaces": ["infra"] }));
    assert_eq!(networks_of_pod(&node, "infra"), ["eth0 main"]);
    assert_eq!(networks_of_pod(&node, "kube-system"), all);
}

#[test]
fn default_networks_beside_inline_delegates_are_ignored() {
    let node = Node::recorder("ignored").conf(json!({ "defaultNetworks": ["a"] }));
    node.nad("kube-system", "a", node.recording("a", json!({})));
    assert_eq!(networks_of_pod(&node, "default"), ["eth0 default"]);
}

#[test]
fn isolation_allows_the_pods_own_namespace_and_the_global_ones() {
    let node = Node::recorder("isolation")
        .conf(json!({ "namespaceIsolation": true, "globalNamespaces": "shared , open" }));
    for namespace in ["mine", "shared", "open", "default"] {
        node.nad(namespace, "red", node.recording(namespace, json!({})));
    }
    let allowed = node.pod("mine", "a").networks("red,shared/red,open/red");
    assert_eq!(
        attached(&node, &allowed.create())[1..],
        ["net1 mine", "net2 shared", "net3 open"]
    );
    let refused = node.pod("mine", "b").networks("default/red").create();
    node.add(&refused)
        .fails(7, &["default/red", "namespaceIsolation"]);
    let everyone = node.conf(json!({ "globalNamespaces": null }));
    everyone.add(&refused).ok();
}

#[test]
fn without_isolation_a_pod_names_networks_of_any_namespace() {
    let node = Node::recorder("open");
    node.nad("other", "red", node.recording("red", json!({})));
    let pod = node.pod("default", "web").networks("other/red").create();
    assert_eq!(attached(&node, &pod), ["eth0 default", "net1 red"]);
}

#[test]
fn add_waits_for_the_readiness_indicator_file() {
    let node = Node::recorder("waits");
    let (ready, log) = (node.folder().join("ready"), node.folder().join("log"));
    let pod = node.pod("default", "web").create();
    let node = node.conf(json!({
        "readinessindicatorfile": ready, "logFile": log, "logLevel": "info",
    }));
    let running = node.call("ADD").pod(&pod).spawn();
    wait_until("ADD waits", Duration::from_secs(10), || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("readinessindicatorfile").then_some(())
    });
    assert!(node.calls().is_empty());
    fs::write(&ready, "").unwrap();
    running.wait().ok();
    assert_eq!(node.summaries(), ["ADD eth0 default"]);
}

#[test]
fn without_its_readiness_indicator_file_add_ends_in_time_status_at_once_and_del_and_gc_go_on() {
    let node = Node::recorder("unready");
    let (gone, pod) = (
        node.folder().join("ready"),
        node.pod("default", "web").create(),
    );
    node.add(&pod).ok();
    let node = node.conf(json!({ "readinessindicatorfile": gone, "readinessTimeoutSeconds": 1 }));
    node.status().fails(50, &["readinessindicatorfile"]);
    let other = node.pod("default", "late").create();
    node.add(&other)
        .fails(11, &["readinessindicatorfile", "after 1s"]);
    node.gc([&pod]).ok();
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn bin_dir_is_searched_before_cni_path_and_delegates_are_given_both() {
    let node = Node::recorder("bindir");
    let (mine, theirs) = (node.folder().join("mine"), node.bin_dir());
    fs::create_dir(&mine).unwrap();
    std::os::unix::fs::symlink(theirs.join("recording-plugin"), mine.join("both")).unwrap();
    std::os::unix::fs::symlink("/bin/false", theirs.join("both")).unwrap();
    let mut both = node.recording("both", json!({}));
    both["type"] = json!("both");
    let path_alone = node.recording("path", json!({}));
    let node = node.conf(json!({ "binDir": mine, "delegates": [both, path_alone] }));
    networks_of_pod(&node, "default");
    let path = format!("{}:{}", mine.display(), theirs.display());
    assert_eq!(node.last_call("ADD net1 path").env["CNI_PATH"], path);
}

#[test]
fn logs_go_to_log_file_and_to_stderr_unless_that_is_switched_off() {
    let node = Node::recorder("logs");
    let log = node.folder().join("log");
    let node = node.conf(json!({ "logFile": log, "logLevel": "verbose" }));
    let pod = node.pod("default", "web").create();
    assert!(node.add(&pod).stderr.contains("AddedInterface"));
    let silent = node
        .call("DEL")
        .pod(&pod)
        .conf(json!({ "logToStderr": false }))
        .run();
    silent.ok();
    assert_eq!(silent.stderr, "");
    assert!(fs::read_to_string(&log).unwrap().contains("AddedInterface"));
    let unknown = node.call("STATUS").conf(json!({ "logLevel": "loud" }));
    let outcome = unknown.run();
    assert!(outcome.stderr.contains("loud"), "{}", outcome.stderr);
    outcome.ok();
}

#[test]
fn state_dir_holds_the_records_and_networks_dir_the_pods_and_networks() {
    let node = Node::recorder("dirs");
    let (moved, networks) = (
        node.state_dir().join("moved"),
        node.folder().join("manifests"),
    );
    let pod = node.pod("default", "web").networks("red").create();
    node.recording_nads(&["red"]);
    fs::rename(node.networks_dir(), &networks).unwrap();
    let node = node.conf(json!({ "stateDir": moved, "networksDir": networks }));
    node.add(&pod).ok();
    assert!(
        moved
            .join(format!("attachments/{}.json", pod.container_id))
            .is_file()
    );
    node.del(&pod).ok();
    node.assert_clean();
}

/// How many secondary networks are begun when all of five hang, and the call therefore fails.
fn begun_of_five(node: &Node) -> usize {
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        let hang = node.recording(name, json!({ "hang": true, "on": ["ADD"] }));
        node.nad("default", name, hang);
    }
    let pod = node
        .pod("default", "web")
        .networks(&names.join(","))
        .create();
    node.add(&pod).fails(11, &["delegateTimeoutSeconds"]);
    node.assert_clean();
    let calls = node.calls();
    calls.iter().filter(|call| call.verb == "ADD").count() - 1
}

#[test]
fn four_delegates_run_at_once_and_each_is_killed_after_delegate_timeout_seconds() {
    let node = Node::recorder("four").conf(json!({ "delegateTimeoutSeconds": 2 }));
    assert_eq!(begun_of_five(&node), 4);
}

#[test]
fn max_parallel_delegates_says_how_many_run_at_once() {
    let conf = json!({ "delegateTimeoutSeconds": 2, "maxParallelDelegates": 2 });
    assert_eq!(begun_of_five(&Node::recorder("two").conf(conf)), 2);
}

#[test]
fn with_one_delegate_at_a_time_all_run_strictly_in_order() {
    let node = Node::recorder("order").conf(json!({ "maxParallelDelegates": 1 }));
    node.recording_nads(&["a", "b", "c"]);
    let pod = node.pod("default", "web").networks("a,b,c").create();
    node.add(&pod).ok();
    node.del(&pod).ok();
    assert_eq!(
        node.summaries(),
        [
            "ADD eth0 default",
            "ADD net1 a",
            "ADD net2 b",
            "ADD net3 c",
            "DEL net3 c",
            "DEL net2 b",
            "DEL net1 a",
            "DEL eth0 default",
        ]
    );
    let calls = node.calls();
    assert!(calls.windows(2).all(|pair| !pair[0].overlaps(&pair[1])));
}

#[test]
fn only_allowed_plugins_are_run() {
    let node = Node::recorder("allowed").conf(json!({ "allowedPlugins": ["recording-plugin"] }));
    node.nad("default", "red", node.bridge("br-red", &["10.2.0.0/24"]));
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).fails(7, &["default/red", "allowedPlugins"]);
    assert!(node.calls().is_empty());
    node.nad(
        "default",
        "red",
        json!({ "cniVersion": "1.0.0", "type": "../bin/recording-plugin" }),
    );
    let any = node.conf(json!({ "allowedPlugins": null }));
    any.add(&pod).fails(7, &["type"]);
}
