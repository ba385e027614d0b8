//! Sandboxes as they come and go.

use std::collections::BTreeSet;
use std::thread;

use e2e::Node;
use e2e::kube::PLUGIN;
use e2e::runtime::Release;
use serde_json::{Value, json};

use crate::runtime::fixture::{INTERFACES, RunningPod, Scene};

/// The addresses of a sandbox's interface, without prefix lengths.
fn addresses(scene: &Scene, pod: &RunningPod, ifname: &str) -> Vec<String> {
    let all = scene.runtime.netns(&pod.sandbox).addresses(ifname);
    let bare = |address: &String| address.split('/').next().map(str::to_owned);
    all.iter().filter_map(bare).collect()
}

#[test]
fn pods_have_three_interfaces_of_two_families_reach_each_other_and_leave_nothing() {
    let scene = Scene::new("three");
    let (a, b) = (scene.run("a"), scene.run("b"));
    scene.assert_connected(&a, &b);
    scene.assert_connected(&b, &a);
    assert_eq!(scene.leases().len(), 2 * INTERFACES.len());
    for pod in [&a, &b] {
        assert!(scene.kubelet().is_ready(&pod.sandbox));
        scene.kubelet().stop_pod(&pod.sandbox.id).expect("stop");
        assert!(!scene.kubelet().is_ready(&pod.sandbox));
    }
    assert_eq!(scene.leases(), [] as [Value; 0], "stopped is enough");
    for pod in [&a, &b] {
        scene.delete(pod);
    }
    scene.assert_clean();
}

#[test]
fn runtime_network_status_leases_and_containers_have_the_same_addresses() {
    let scene = Scene::new("same");
    let pod = scene.run("web");
    let netns = scene.runtime.netns(&pod.sandbox);
    let links: BTreeSet<String> = netns.links().into_iter().collect();
    assert_eq!(
        links,
        BTreeSet::from(["lo", "eth0", "net1", "net2"].map(str::to_owned))
    );
    assert_eq!(
        netns.default_routes(),
        ["10.10.0.1 eth0", "fd00:10::1 eth0"]
    );

    let eth0 = addresses(&scene, &pod, "eth0");
    assert_eq!(scene.kubelet().pod_ips(&pod.sandbox), eth0);

    let reported = scene.network_status(&pod);
    let names = ["br-pods", "same/storage", "same/telemetry"];
    assert_eq!(reported.len(), INTERFACES.len(), "{reported:?}");
    for ((element, ifname), name) in reported.iter().zip(INTERFACES).zip(names) {
        assert_eq!(element["name"], name);
        assert_eq!(element["interface"], ifname);
        assert_eq!(element["ips"], json!(addresses(&scene, &pod, ifname)));
        assert_eq!(
            element["mac"],
            netns.link(ifname).expect("it is there")["address"]
        );
        let is_default = element["default"] == true;
        assert_eq!(is_default, ifname == "eth0", "{element}");
    }

    let mut leases = scene.leases();
    leases.sort_by_key(|lease| lease["owner"]["ifname"].to_string());
    assert_eq!(leases.len(), INTERFACES.len(), "{leases:?}");
    for (lease, ifname) in leases.iter().zip(INTERFACES) {
        let owner = &lease["owner"];
        assert_eq!(owner["ifname"], ifname);
        assert_eq!(owner["pod"], pod.name);
        assert_eq!(owner["podUid"], pod.uid);
        assert_eq!(owner["containerId"], pod.sandbox.id);
        let leased = [&lease["ipv4"], &lease["ipv6"]].map(|ip| ip.as_str().unwrap_or_default());
        assert_eq!(netns.addresses(ifname), leased);
    }

    let seen = scene
        .kubelet()
        .run_in_container(&pod.sandbox, &["ip", "address"]);
    for ifname in INTERFACES {
        assert!(seen.contains(&format!(": {ifname}")), "{seen}");
        for address in netns.addresses(ifname) {
            assert!(seen.contains(&format!(" {address} ")), "{address}: {seen}");
        }
    }
    scene.delete(&pod);
    scene.assert_clean();
}

#[test]
fn pods_of_the_usual_default_bridge_start_with_the_example_pools() {
    let usual = json!({ "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true });
    let scene = Scene::with_default_bridge("newcomer", usual);
    let (a, b) = (scene.run("a"), scene.run("b"));
    for pod in [&a, &b] {
        let routes = scene.runtime.netns(&pod.sandbox).default_routes();
        assert_eq!(routes, ["10.10.0.1 eth0", "fd00:10::1 eth0"]);
    }
    scene.assert_connected(&a, &b);
    for pod in [&a, &b] {
        scene.delete(pod);
    }
    scene.assert_clean();
}

#[test]
fn many_pods_at_once_are_all_connected_and_all_go() {
    let scene = Scene::new("many");
    let names: Vec<String> = (0..8).map(|number| format!("web-{number}")).collect();
    let pods: Vec<RunningPod> = thread::scope(|scope| {
        let scene = &scene;
        let running: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(move || scene.run(name)))
            .collect();
        let ended = running.into_iter().map(|thread| thread.join());
        ended.map(|pod| pod.expect("the pod runs")).collect()
    });
    assert_eq!(scene.leases().len(), pods.len() * INTERFACES.len());
    for pair in pods.windows(2) {
        scene.assert_connected(&pair[0], &pair[1]);
    }
    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| scene.delete(pod));
        }
    });
    scene.assert_clean();
}

#[test]
fn pods_come_and_go_while_the_agent_is_down() {
    let mut scene = Scene::new("agentless");
    let a = scene.run("a");
    assert_eq!(requests_of_plugin(&scene), [""; 0], "the agent was asked");
    scene.agent.kill9();
    let b = scene.run("b");
    assert_eq!(scene.network_status(&b).len(), INTERFACES.len());
    assert_ne!(requests_of_plugin(&scene), [""; 0]);
    scene.assert_connected(&a, &b);
    for pod in [&a, &b] {
        scene.delete(pod);
    }
    scene.assert_clean();
}

/// What meta-cni itself asked the API server about the pods of a scene.
fn requests_of_plugin(scene: &Scene) -> Vec<String> {
    let kubeconfig = scene.api.plugin_kubeconfig();
    scene
        .api
        .requests_about(PLUGIN, kubeconfig, &scene.namespace)
}

#[test]
fn containerd_and_plugins_of_the_distribution_do_the_same() {
    let node = Node::with_debian_plugins("older");
    let scene = Scene::on(node, Release::Distribution, "older");
    let (a, b) = (scene.run("a"), scene.run("b"));
    scene.assert_connected(&a, &b);
    assert_eq!(
        scene.kubelet().pod_ips(&a.sandbox),
        addresses(&scene, &a, "eth0")
    );
    assert_eq!(scene.network_status(&a).len(), INTERFACES.len());
    for pod in [&a, &b] {
        scene.delete(pod);
    }
    scene.assert_clean();
}
