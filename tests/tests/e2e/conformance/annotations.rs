//! Section 2, "Annotations": which networks and interfaces a pod gets. What its networks are given is
//! in `annotations/given.rs`.

mod given;

use e2e::{Node, RecordedCall};
use serde_json::{Value, json};

/// A node with networks `red`, `green` and `blue` of recording plugins that run one after the other.
fn node(name: &str) -> Node {
    let node = Node::recorder(name).conf(json!({ "maxParallelDelegates": 1 }));
    node.recording_nads(&["red", "green", "blue"]);
    node
}

/// Adds a pod with this annotation and gives what it got beside its default network, in order, as
/// `<interface> <network>`.
fn secondary(node: &Node, networks: &str) -> Vec<String> {
    let pod = node.pod("default", "web").networks(networks).create();
    let before = node.calls().len() + 1;
    node.add(&pod).ok();
    let calls = node.calls().into_iter().skip(before);
    calls
        .map(|call| format!("{} {}", call.ifname, call.network))
        .collect()
}

/// Adds a pod with this annotation, which is to be refused before anything runs.
#[track_caller]
fn refused(node: &Node, networks: &str, words: &[&str]) {
    let pod = node.pod("default", "web").networks(networks).create();
    node.add(&pod).fails(7, words);
    assert_eq!(node.summaries(), [""; 0], "{networks}");
    node.assert_clean();
}

#[test]
fn a_comma_list_names_networks_with_namespace_and_interface_in_order() {
    let node = node("comma");
    node.nad("other", "red", node.recording("other-red", json!({})));
    assert_eq!(
        secondary(&node, "  blue , other/red@ext0,red "),
        ["net1 blue", "ext0 other-red", "net3 red"]
    );
}

#[test]
fn a_json_list_names_networks_and_unknown_fields_are_ignored() {
    let node = node("json");
    let list = json!([
        { "name": "blue", "unheard": { "of": [1, null] } },
        { "name": "red", "namespace": "default", "interface": "ext0" },
        { "name": "green", "interfaceRequest": "legacy0" },
    ]);
    assert_eq!(
        secondary(&node, &list.to_string()),
        ["net1 blue", "ext0 red", "legacy0 green"]
    );
}

#[test]
fn an_annotation_that_is_absent_or_empty_asks_for_nothing() {
    let node = node("nothing");
    let pod = node.pod("default", "bare").create();
    node.add(&pod).ok();
    for text in ["", "  ", "[]"] {
        assert_eq!(secondary(&node, text), [""; 0], "{text:?}");
    }
}

#[test]
fn names_that_no_object_can_have_are_refused() {
    let node = node("names");
    for text in [
        "Red", "-red", "red-", "red,", "a/b/c", "re d", "other/", "red@",
    ] {
        refused(&node, text, &["annotation k8s.v1.cni.cncf.io/networks"]);
    }
    refused(&node, r#"[{"name":"../red"}]"#, &["[0].name"]);
    refused(&node, r#"[{"namespace":"default"}]"#, &["[0].name"]);
}

#[test]
fn a_bad_mac_guid_address_or_cidr_is_refused_by_its_place_all_at_once() {
    let list = json!([
        { "name": "red", "mac": "02:00:00:00:00", "ips": ["10.0.0.1/24", "10.0.0.1/33"] },
        { "name": "red", "infiniband-guid": "x", "ips": ["fd00::g"], "default-route": ["10.0.0.0/8"] },
    ]);
    let places = [
        "[0].mac",
        "[0].ips[1]",
        "[1].infiniband-guid",
        "[1].ips[0]",
        "[1].default-route[0]",
    ];
    refused(&node("bad"), &list.to_string(), &places);
}

#[test]
fn an_interface_name_that_the_kernel_would_refuse_is_refused() {
    let node = node("ifname");
    for name in ["sixteen-bytes-xx", ".", "..", "a/b", "a:b", "a b", "a\tb"] {
        let list = json!([{ "name": "red", "interface": name }]);
        refused(&node, &list.to_string(), &["[0].interface"]);
    }
    let longest = json!([{ "name": "red", "interface": "fifteen-bytes-x" }]);
    assert_eq!(
        secondary(&node, &longest.to_string()),
        ["fifteen-bytes-x red"]
    );
}

#[test]
fn the_order_is_default_network_then_default_networks_then_the_annotation_and_indices_count_all() {
    let node =
        node("whole").conf(json!({ "clusterNetwork": "main", "defaultNetworks": ["extra"] }));
    for name in ["main", "extra"] {
        node.nad("kube-system", name, node.recording(name, json!({})));
    }
    let pod = node.pod("default", "web").networks("blue,red").create();
    node.add(&pod).ok();
    let order = [
        "ADD eth0 main",
        "ADD net1 extra",
        "ADD net2 blue",
        "ADD net3 red",
    ];
    assert_eq!(node.summaries(), order);
}

#[test]
fn an_explicit_interface_name_still_uses_up_its_index() {
    let node = node("index");
    assert_eq!(
        secondary(&node, "red,green@ext0,blue"),
        ["net1 red", "ext0 green", "net3 blue"]
    );
}

#[test]
fn the_same_network_may_appear_twice_but_the_same_interface_name_may_not() {
    let node = node("twice");
    refused(
        &node,
        "red@ext0,blue@ext0",
        &["ext0", "default/red", "default/blue"],
    );
    refused(&node, "red@eth0", &["eth0"]);
    refused(&node, "red@net2,blue", &["net2"]);
    assert_eq!(secondary(&node, "red,red"), ["net1 red", "net2 red"]);
}

/// The network on `eth0` of a pod of `default` with this default-network annotation.
fn default_of(node: &Node, annotation: &str) -> String {
    let pod = node
        .pod("default", "web")
        .default_network(annotation)
        .create();
    node.add(&pod).ok();
    let last = node.calls().pop();
    last.as_ref().map(RecordedCall::summary).unwrap_or_default()
}

#[test]
fn the_default_network_annotation_replaces_the_default_network() {
    let isolation =
        json!({ "namespaceIsolation": true, "globalNamespaces": "default, kube-system" });
    let node = node("default").conf(isolation);
    node.nad("kube-system", "main", node.recording("main", json!({})));
    node.nad("other", "main", node.recording("other", json!({})));
    assert_eq!(
        default_of(&node, "main"),
        "ADD eth0 main",
        "of multusNamespace, which all share"
    );
    assert_eq!(default_of(&node, r#"[{"name":"main"}]"#), "ADD eth0 main");
    assert_eq!(default_of(&node, "default/red"), "ADD eth0 red");
    let pod = node
        .pod("default", "web")
        .default_network("other/main")
        .create();
    node.add(&pod)
        .fails(7, &["other/main", "namespaceIsolation"]);
    let node = node.conf(json!({ "globalNamespaces": "default" }));
    let pod = node.pod("default", "web").default_network("main").create();
    node.add(&pod)
        .fails(7, &["kube-system/main", "namespaceIsolation"]);
    let open = node.conf(json!({ "namespaceIsolation": null, "multusNamespace": "other" }));
    assert_eq!(default_of(&open, "main"), "ADD eth0 other");
}

#[test]
fn the_default_network_annotation_names_one_network_and_no_interface() {
    let node = node("one");
    node.nad("kube-system", "main", node.recording("main", json!({})));
    for (text, word) in [
        ("main,main", "more than one"),
        ("main@ext0", "interface"),
        ("Main", "Main"),
    ] {
        let pod = node.pod("default", "web").default_network(text).create();
        node.add(&pod)
            .fails(7, &["v1.multus-cni.io/default-network", word]);
    }
    assert_eq!(default_of(&node, ""), "ADD eth0 default");
}

#[test]
fn an_element_of_the_default_network_annotation_is_given_like_any_other() {
    let node = node("element");
    node.nad("kube-system", "main", node.recording("main", json!({})));
    let element = json!([{ "name": "main", "mac": "02:00:00:00:00:07" }]);
    default_of(&node, &element.to_string());
    let call = node.last_call("ADD eth0 main");
    assert_eq!(call.arg("MAC"), Some("02:00:00:00:00:07"));
}

#[test]
fn a_nad_with_an_empty_config_names_a_file_of_conf_dir() {
    let node = node("empty");
    node.nad("default", "yellow", json!(""));
    node.nad("default", "absent", json!(""));
    node.conf_file("90-yellow.conf", &node.recording("yellow", json!({})));
    assert_eq!(secondary(&node, "yellow"), ["net1 yellow"]);
    let pod = node.pod("default", "web").networks("absent").create();
    node.add(&pod).fails(7, &["default/absent", "no file in"]);
}

#[test]
fn plugins_beside_a_list_of_conf_dir_are_loaded_unless_only_inlined_ones_are_wanted() {
    let node = node("beside");
    let record = |name: &str| node.recording(name, json!({}));
    node.conf_file("beside/10-more.conf", &record("ignored-name"));
    let list = |only: bool| {
        let mut list = node.list(&[record("beside")]);
        list["loadOnlyInlinedPlugins"] = json!(only);
        list
    };
    node.nad("default", "beside", json!(""));
    node.conf_file("50.conflist", &list(false));
    assert_eq!(secondary(&node, "beside"), ["net1 beside", "net1 beside"]);
    node.conf_file("50.conflist", &list(true));
    assert_eq!(secondary(&node, "beside"), ["net1 beside"]);
}

#[test]
fn all_problems_of_a_pod_are_reported_in_one_message_before_anything_runs() {
    let node = node("all");
    node.nad("default", "broken", json!("{"));
    node.nad("default", "typeless", json!({ "cniVersion": "1.0.0" }));
    let words = [
        "default/gone",
        "default/broken",
        "default/typeless",
        "default/blue",
        "ext0",
        "default/white",
    ];
    refused(
        &node,
        "gone,broken,typeless,red@ext0,blue@ext0,white",
        &words,
    );
}

/// Values of `null` where an object or text belongs.
#[test]
fn null_where_an_object_is_expected_is_an_error_and_no_panic() {
    let node = node("null");
    node.nad(
        "default",
        "nulls",
        json!({ "cniVersion": "1.0.0", "plugins": [null] }),
    );
    node.nad(
        "default",
        "name",
        json!({ "cniVersion": null, "name": null, "type": null }),
    );
    refused(&node, "nulls,name", &["plugins[0]", "default/name"]);
    refused(&node, "[null]", &["[0]"]);
    let mut args = node.recording("args", json!({}));
    args["args"] = Value::Null;
    node.nad("default", "args", args);
    let list = json!([{ "name": "args", "cni-args": { "a": 1 } }]);
    refused(&node, &list.to_string(), &["args"]);
}
