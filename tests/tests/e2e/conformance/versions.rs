//! Section 5, "Result versions": of the runtime and of each delegate, and how a version is chosen.

use e2e::Node;
use serde_json::{Value, json};

const ALL: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// The addresses of a result of any version, in order.
fn addresses(result: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match result["cniVersion"].as_str() {
        Some("0.1.0" | "0.2.0") => vec![text(&result["ip4"]["ip"]), text(&result["ip6"]["ip"])],
        _ => result["ips"]
            .as_array()
            .unwrap()
            .iter()
            .map(|ip| text(&ip["address"]))
            .collect(),
    }
}

#[test]
fn the_runtime_is_answered_in_its_own_version() {
    for version in ALL {
        let node = Node::new("runtime").conf(json!({ "cniVersion": version }));
        let pod = node.pod("default", "web").create();
        let result = node.add(&pod).ok();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(
            addresses(&result),
            ["10.1.0.2/24", "fd00:1::2/64"],
            "{version}"
        );
        match version {
            "0.1.0" | "0.2.0" => {
                assert_eq!(result["ip4"]["gateway"], "10.1.0.1");
                assert_eq!(result["ip6"]["routes"][0]["dst"], "::/0");
                assert_eq!((result.get("ips"), result.get("interfaces")), (None, None));
            }
            "0.3.0" | "0.3.1" | "0.4.0" => {
                assert_eq!(result["ips"][0]["version"], "4");
                assert_eq!(result["ips"][1]["version"], "6");
                assert_eq!(result["interfaces"][2]["name"], "eth0");
            }
            _ => assert_eq!(result["ips"][0].get("version"), None),
        }
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn a_configuration_without_a_version_is_0_1_0() {
    let node = Node::new("none").conf(json!({ "cniVersion": null }));
    let pod = node.pod("default", "web").create();
    assert_eq!(node.add(&pod).ok()["ip4"]["ip"], "10.1.0.2/24");
}

#[test]
fn each_delegate_is_spoken_to_in_the_version_of_its_own_list() {
    let node = Node::recorder("delegate").conf(json!({ "maxParallelDelegates": 1 }));
    for version in ALL {
        let mut conf = node.recording(version, json!({ "ips": ["10.9.0.5/24", "fd00:9::5/64"] }));
        conf["cniVersion"] = json!(version);
        let name = format!("v{}", version.replace('.', "-"));
        node.nad("default", &name, node.list(&[conf.clone(), conf]));
    }
    let names: Vec<String> = ALL.map(|v| format!("v{}", v.replace('.', "-"))).into();
    let pod = node
        .pod("default", "web")
        .networks(&names.join(","))
        .create();
    node.add(&pod).ok();
    node.del(&pod).ok();
    for (index, version) in ALL.iter().enumerate() {
        let add = node
            .last_call(&format!("ADD net{} {version}", index + 1))
            .conf();
        assert_eq!(add["cniVersion"], *version);
        assert_eq!(add["prevResult"]["cniVersion"], *version);
        assert_eq!(
            addresses(&add["prevResult"]),
            ["10.9.0.5/24", "fd00:9::5/64"],
            "{version}"
        );
        let del = node
            .last_call(&format!("DEL net{} {version}", index + 1))
            .conf();
        // DEL is given a result from 0.4.0 on.
        let prev = if *version < "0.4.0" {
            None
        } else {
            Some(&add["prevResult"])
        };
        assert_eq!(del.get("prevResult"), prev, "{version}");
        let reported = &node.network_status(&pod)[index + 1];
        assert_eq!(
            reported["ips"],
            json!(["10.9.0.5", "fd00:9::5"]),
            "{version}"
        );
    }
}

/// Real plugins in every version of a delegate.
fn real_plugins_speak_every_version(node: Node, versions: &[&str]) {
    for version in versions {
        let mut conf = node.bridge("br-all", &["10.2.0.0/24", "fd00:2::/64"]);
        conf["cniVersion"] = json!(version);
        let call = |verb: &str, pod| {
            node.call(verb)
                .pod(pod)
                .conf(json!({ "delegates": [conf] }))
                .run()
        };
        let pod = node.pod("default", "web").create();
        let result = call("ADD", &pod).ok();
        assert_eq!(result["cniVersion"], "1.1.0");
        assert_eq!(addresses(&result).len(), 2, "{version}");
        assert_eq!(pod.netns().addresses("eth0").len(), 2, "{version}");
        call("CHECK", &pod).ok();
        call("DEL", &pod).ok();
        node.assert_clean();
    }
}

#[test]
fn pinned_plugins_work_in_every_version() {
    real_plugins_speak_every_version(Node::new("pinned"), &ALL);
}

#[test]
fn plugins_of_the_distribution_work_in_every_version_that_they_have() {
    real_plugins_speak_every_version(Node::with_debian_plugins("debian"), &ALL[..6]);
}

#[test]
fn the_highest_known_version_that_a_list_offers_is_chosen() {
    for (offered, single, chosen) in [
        (json!(["0.3.1", "1.0.0", "0.4.0"]), json!("0.3.1"), "1.0.0"),
        (json!(["0.3.1", "9.9.9", "next"]), json!("0.2.0"), "0.3.1"),
        (json!(["0.3.1"]), json!("1.1.0"), "1.1.0"),
        (json!(["0.4.0"]), Value::Null, "0.4.0"),
    ] {
        let node = Node::recorder("offered").default_network(|node| {
            let mut conf = node.recording("default", json!({}));
            conf["cniVersions"] = offered.clone();
            match &single {
                Value::Null => drop(conf.as_object_mut().unwrap().shift_remove("cniVersion")),
                single => conf["cniVersion"] = single.clone(),
            }
            conf
        });
        let pod = node.pod("default", "web").create();
        node.add(&pod).ok();
        assert_eq!(node.calls()[0].conf()["cniVersion"], chosen, "{offered}");
    }
}

#[test]
fn a_delegate_that_offers_no_known_version_is_refused() {
    let node = Node::recorder("unknown");
    let mut conf = node.recording("red", json!({}));
    conf["cniVersion"] = json!("9.9.9");
    node.nad("default", "red", conf);
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).fails(7, &["default/red", "9.9.9"]);
}

#[test]
fn a_delegate_that_answers_in_another_version_than_it_was_asked_in_is_understood() {
    let node = Node::recorder("answers").default_network(|node| {
        let result = json!({
            "cniVersion": "0.4.0", "ips": [{ "version": "4", "address": "10.9.0.5/24" }],
        });
        node.recording("default", json!({ "result": result }))
    });
    let pod = node.pod("default", "web").create();
    assert_eq!(
        node.add(&pod).ok()["ips"],
        json!([{ "address": "10.9.0.5/24" }])
    );
}

#[test]
fn what_1_1_0_added_to_results_is_kept_and_returned_to_older_runtimes_as_libcni_does() {
    let interface = json!({
        "name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1400, "sandbox": "/x",
        "socketPath": "/run/s", "pciID": "0000:01:00.0",
    });
    let route = json!({
        "dst": "0.0.0.0/0", "gw": "10.9.0.1", "mtu": 1300, "advmss": 1200, "priority": 5, "table": 7, "scope": 0,
    });
    let result = json!({ "cniVersion": "1.1.0", "interfaces": [interface], "routes": [route] });
    let node = Node::recorder("fields")
        .default_network(|node| node.recording("default", json!({ "result": result })));
    let run = |version: &str| {
        let pod = node.pod("default", "web").create();
        node.call("ADD")
            .pod(&pod)
            .conf(json!({ "cniVersion": version }))
            .run()
            .ok()
    };
    let new = run("1.1.0");
    assert_eq!(
        (&new["interfaces"][0], &new["routes"][0]),
        (&interface, &route)
    );
    let old = run("0.4.0");
    let plain = json!({ "name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/x" });
    assert_eq!(old["interfaces"][0], plain);
    assert_eq!(
        old["routes"][0], route,
        "libcni has one type Route for all versions"
    );
}

#[test]
fn unknown_fields_of_a_delegates_configuration_pass_through_unchanged() {
    let extra = json!({ "deep": [{ "x": null }, 1.25, "\u{1f980}"], "big": 18_446_744_073_709_551_615_u64 });
    let node = Node::recorder("extra").default_network(|node| {
        let mut conf = node.recording("default", json!({}));
        conf["vendor.example/extra"] = extra.clone();
        conf
    });
    let pod = node.pod("default", "web").create();
    node.add(&pod).ok();
    assert_eq!(node.calls()[0].conf()["vendor.example/extra"], extra);
}
