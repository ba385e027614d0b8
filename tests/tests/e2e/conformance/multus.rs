//! Section 6, "Settled": pods that Multus made before the switch. Its files are written here as Multus
//! 4.3 and libcni 1.3 write them, around interfaces that real plugins made.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::{Node, Pod};
use serde_json::{Value, json};

/// Whether libcni's cache is there beside the scratch file.
#[derive(Clone, Copy, PartialEq)]
enum Cache {
    Kept,
    Lost,
}

/// A pod with these networks (name, interface, configuration), each made by its plugin itself, and the
/// files that Multus keeps of it.
fn made_by_multus(node: &Node, networks: &[(&str, &str, &Value)], cache: Cache) -> Pod {
    let pod = node.pod("default", "web").create();
    let mut scratch = Vec::new();
    for (index, (name, ifname, conf)) in networks.iter().enumerate() {
        let plugin = node.bin_dir().join(conf["type"].as_str().unwrap());
        let add = node
            .call("ADD")
            .program(&plugin)
            .whole_conf((*conf).clone());
        let result = add.pod(&pod).ifname(ifname).run().ok();
        let bytes = STANDARD.encode(conf.to_string());
        // The interface of the default network is not in the file.
        let request = if index == 0 { "" } else { ifname };
        scratch.push(json!({
            "Conf": conf, "ConfList": {}, "Name": name, "ifnameRequest": request,
            "MasterPlugin": index == 0, "Bytes": bytes,
        }));
        if cache == Cache::Kept {
            let cached = json!({
                "kind": "cniCacheV1", "containerId": pod.container_id, "config": bytes,
                "ifName": ifname, "networkName": conf["name"], "netns": pod.netns().path(),
                "cniArgs": [["IgnoreUnknown", "true"], ["K8S_POD_NAME", "web"], ["IP", "10.9.0.5"]],
                "capabilityArgs": { "portMappings": [{ "hostPort": 8080 }] },
                "result": result,
            });
            let path = cache_file(node, &pod, conf, ifname);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, cached.to_string()).unwrap();
        }
    }
    fs::write(scratch_file(node, &pod), json!(scratch).to_string()).unwrap();
    pod
}

fn scratch_file(node: &Node, pod: &Pod) -> PathBuf {
    node.cni_dir().join(&pod.container_id)
}

fn cache_file(node: &Node, pod: &Pod, conf: &Value, ifname: &str) -> PathBuf {
    let network = conf["name"].as_str().unwrap();
    let name = format!("{network}-{}-{ifname}", pod.container_id);
    node.cni_dir().join("results").join(name)
}

/// A pod of Multus with two real networks.
fn real(name: &str, cache: Cache) -> (Node, Pod) {
    let node = Node::new(name);
    let default = node.bridge("br-default", &["10.1.0.0/24", "fd00:1::/64"]);
    let blue = node.side_bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]);
    let networks = [("", "eth0", &default), ("default/blue", "net1", &blue)];
    let pod = made_by_multus(&node, &networks, cache);
    assert_eq!(pod.netns().links(), ["lo", "eth0", "net1"]);
    (node, pod)
}

#[test]
fn del_of_a_pod_made_by_multus_leaves_nothing_and_needs_no_cluster() {
    for cache in [Cache::Kept, Cache::Lost] {
        let (node, pod) = real("del", cache);
        fs::remove_dir_all(node.networks_dir()).unwrap();
        node.del(&pod).ok();
        assert_eq!(pod.netns().links(), ["lo"]);
        node.assert_clean();
    }
}

#[test]
fn del_of_a_pod_made_by_multus_works_though_its_namespace_is_gone() {
    for cache in [Cache::Kept, Cache::Lost] {
        let (node, pod) = real("gone", cache);
        pod.netns().remove();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn gc_keeps_a_listed_pod_made_by_multus_and_deletes_one_that_is_not_listed() {
    for cache in [Cache::Kept, Cache::Lost] {
        let (node, pod) = real("gc", cache);
        node.gc([&pod]).ok();
        assert_eq!(pod.netns().links(), ["lo", "eth0", "net1"]);
        // Only the cache says which namespace it is; a namespace that is gone needs no name.
        if cache == Cache::Lost {
            pod.netns().remove();
        }
        node.gc([]).ok();
        node.assert_clean();
    }
}

#[test]
fn check_of_a_pod_made_by_multus_finds_the_interface_that_vanished() {
    let (node, pod) = real("check", Cache::Kept);
    node.check(&pod).ok();
    pod.netns().sh("ip link delete net1");
    node.check(&pod)
        .fails(100, &["default/blue (net1)", "net1 is gone"]);
}

/// A pod of Multus with two networks of the recording plugin that declare portMappings. DEL of the
/// second one fails as long as the file `broken` is there.
fn recorded(name: &str, cache: Cache) -> (Node, Pod) {
    let node = Node::recorder(name).conf(json!({ "maxParallelDelegates": 1 }));
    let capable = |name: &str, record: Value| {
        let mut conf = node.recording(name, record);
        conf["capabilities"] = json!({ "portMappings": true });
        conf
    };
    let fail = json!({ "DEL": { "code": 42, "msg": "no DEL" } });
    let failing = json!({ "failOn": fail, "while": node.folder().join("broken") });
    let (default, red) = (capable("default", json!({})), capable("red", failing));
    let networks = [("", "eth0", &default), ("default/red", "ext0", &red)];
    let pod = made_by_multus(&node, &networks, cache);
    (node, pod)
}

#[test]
fn the_cache_of_libcni_is_the_better_source() {
    let (node, pod) = recorded("cache", Cache::Kept);
    node.del(&pod).ok();
    assert_eq!(node.summaries()[2..], ["DEL ext0 red", "DEL eth0 default"]);
    let del = node.last_call("DEL ext0 red");
    assert_eq!(
        del.env["CNI_ARGS"],
        "IgnoreUnknown=true;K8S_POD_NAME=web;IP=10.9.0.5"
    );
    assert_eq!(
        del.conf()["runtimeConfig"],
        json!({ "portMappings": [{ "hostPort": 8080 }] })
    );
    assert_eq!(del.conf()["prevResult"]["interfaces"][0]["name"], "ext0");
    node.assert_clean();
}

#[test]
fn the_scratch_file_alone_gives_configurations_and_interfaces() {
    let (node, pod) = recorded("scratch", Cache::Lost);
    node.del(&pod).ok();
    assert_eq!(node.summaries()[2..], ["DEL ext0 red", "DEL eth0 default"]);
    let del = node.last_call("DEL ext0 red");
    assert_eq!(del.env["CNI_ARGS"], pod.cni_args());
    assert_eq!(
        (
            del.conf().get("runtimeConfig"),
            del.conf().get("prevResult")
        ),
        (None, None)
    );
    node.assert_clean();
}

#[test]
fn a_failed_del_of_a_pod_made_by_multus_is_tried_again_and_leaves_no_file_then() {
    for cache in [Cache::Kept, Cache::Lost] {
        let (node, pod) = recorded("again", cache);
        let broken = node.folder().join("broken");
        fs::write(&broken, "").unwrap();
        node.del(&pod).fails(42, &["default/red", "no DEL"]);
        fs::remove_file(&broken).unwrap();
        node.del(&pod).ok();
        assert_eq!(
            node.summaries()[2..],
            [
                "DEL ext0 red",
                "DEL eth0 default",
                "DEL ext0 red",
                "DEL ext0 red"
            ]
        );
        node.assert_clean();
    }
}

#[test]
fn a_type_beside_plugins_is_what_multus_ran_and_what_is_deleted() {
    for cache in [Cache::Kept, Cache::Lost] {
        let node = Node::recorder("beside");
        let default = node.recording("default", json!({}));
        let mut red = node.recording("red", json!({}));
        red["plugins"] = json!([{ "type": "no-such-plugin" }]);
        let networks = [("", "eth0", &default), ("default/red", "ext0", &red)];
        let pod = made_by_multus(&node, &networks, cache);
        node.del(&pod).ok();
        assert_eq!(node.summaries()[2..], ["DEL ext0 red", "DEL eth0 default"]);
        assert_eq!(
            node.last_call("DEL ext0 red").conf()["plugins"],
            red["plugins"]
        );
        node.assert_clean();
    }
}

#[test]
fn a_scratch_file_that_cannot_be_read_is_an_error_and_stays() {
    let (node, pod) = recorded("broken", Cache::Kept);
    let path = scratch_file(&node, &pod);
    fs::write(&path, "[{").unwrap();
    node.del(&pod).fails(5, &[path.to_str().unwrap()]);
    assert!(
        path.exists() && node.calls().len() == 2,
        "only the two ADDs ran"
    );
}
