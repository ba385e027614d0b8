//! The harness itself: what every other test stands on. Plugins are run here by themselves, without
//! `meta-cni`, by the same calls.

mod history;
mod kube;
mod reference_plugins;
mod workspace;

use e2e::{Call, Netns, Node, Outcome, Pod, lacking};
use serde_json::{Value, json};

/// Two pods on a bridge of bare plugins: they reach each other and the gateway, and leave nothing.
fn bridge_connects_two_pods(node: &Node) {
    let (a, b) = two_pods(node);
    let conf = node.bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]);
    for pod in [&a, &b] {
        let result = bare(node, "ADD", pod, &conf).ok();
        assert_eq!(result["ips"].as_array().map(Vec::len), Some(2), "{result}");
    }
    assert_eq!(a.netns().links(), ["lo", "eth0"]);
    assert_eq!(a.netns().addresses("eth0"), ["10.2.0.2/24", "fd00:2::2/64"]);
    assert_eq!(
        a.netns().default_routes(),
        ["10.2.0.1 eth0", "fd00:2::1 eth0"]
    );
    for address in [
        b.address("eth0", false),
        b.address("eth0", true),
        "10.2.0.1".into(),
        "fd00:2::1".into(),
    ] {
        a.netns().ping(&address);
    }
    bare(node, "CHECK", &a, &conf).ok();
    assert_eq!(node.leased("br-blue").len(), 4);
    assert_eq!(node.leftovers().len(), 2 + 2 + 4, "{:?}", node.leftovers());
    for pod in [&a, &b] {
        bare(node, "DEL", pod, &conf).ok();
    }
    node.assert_clean();
}

fn two_pods(node: &Node) -> (Pod, Pod) {
    (
        node.pod("default", "a").create(),
        node.pod("default", "b").create(),
    )
}

fn bare_call<'n>(node: &'n Node, verb: &str, pod: &Pod, conf: &Value) -> Call<'n> {
    let plugin = conf["type"].as_str().expect("a plugin has a type");
    node.call(verb)
        .pod(pod)
        .program(&node.bin_dir().join(plugin))
        .whole_conf(conf.clone())
}

fn bare(node: &Node, verb: &str, pod: &Pod, conf: &Value) -> Outcome {
    bare_call(node, verb, pod, conf).run()
}

#[test]
fn a_namespace_has_lo_and_is_removed_with_what_runs_in_it() {
    let netns = Netns::new("gone");
    assert_eq!(netns.links(), ["lo"]);
    netns.ping("127.0.0.1");
    netns.ping("::1");
    let mut sleeper = netns.run(|| std::process::Command::new("sleep").arg("600").spawn());
    assert_eq!(netns.processes().len(), 1);
    let path = netns.path().to_owned();
    drop(netns);
    assert!(!path.exists());
    let status = sleeper.as_mut().expect("sleep starts").wait();
    assert!(!status.expect("sleep is a child").success());
}

#[test]
fn pinned_plugins_connect_two_pods() {
    bridge_connects_two_pods(&Node::new("pinned"));
}

#[test]
fn plugins_of_the_distribution_connect_two_pods() {
    bridge_connects_two_pods(&Node::with_debian_plugins("debian"));
}

#[test]
fn macvlan_over_a_declared_master_connects_two_pods() {
    let node = Node::new("macvlan");
    node.master("mst0");
    let (a, b) = two_pods(&node);
    let conf = node.macvlan("mst0", &["10.3.0.0/24", "fd00:3::/64"]);
    for pod in [&a, &b] {
        bare(&node, "ADD", pod, &conf).ok();
    }
    a.netns().ping(&b.address("eth0", false));
    a.netns().ping(&b.address("eth0", true));
    for pod in [&a, &b] {
        bare(&node, "DEL", pod, &conf).ok();
    }
    node.assert_clean();
}

#[test]
fn a_recording_plugin_makes_a_real_link_and_writes_every_call_down() {
    let node = Node::new("link");
    let pod = node.pod("default", "a").create();
    let conf = node.recording("red", json!({ "link": true, "ips": ["10.9.0.5/24"] }));
    let result = bare(&node, "ADD", &pod, &conf).ok();
    assert_eq!(result["interfaces"][0]["name"], "eth0");
    assert_eq!(pod.netns().addresses("eth0"), ["10.9.0.5/24"]);
    bare(&node, "CHECK", &pod, &conf).ok();
    assert_eq!(node.leftovers().len(), 2);
    bare(&node, "DEL", &pod, &conf).ok();
    node.assert_clean();

    let calls = node.calls();
    let summaries: Vec<String> = calls.iter().map(e2e::RecordedCall::summary).collect();
    assert_eq!(
        summaries,
        ["ADD eth0 red", "CHECK eth0 red", "DEL eth0 red"]
    );
    assert_eq!(calls[0].parent, u64::from(std::process::id()));
    assert_eq!(calls[0].env["CNI_ARGS"], pod.cni_args());
    assert_eq!(calls[0].container_id, pod.container_id);
    assert_eq!(calls[1].conf()["prevResult"], result);
    assert!(calls[0].end.is_some() && !calls[0].overlaps(&calls[1]));
}

#[test]
fn a_recording_plugin_speaks_every_version() {
    let node = Node::new("versions");
    let pod = node.pod("default", "a").create();
    let shape = |version: &str| {
        let mut conf = node.recording("red", json!({ "ips": ["10.9.0.5/24", "fd00:9::5/64"] }));
        conf["cniVersion"] = json!(version);
        bare(&node, "ADD", &pod, &conf).ok()
    };
    assert_eq!(shape("0.2.0")["ip4"]["ip"], "10.9.0.5/24");
    assert_eq!(shape("0.2.0")["ip6"]["ip"], "fd00:9::5/64");
    assert_eq!(shape("0.4.0")["ips"][1]["version"], "6");
    assert_eq!(shape("1.0.0")["ips"][1].get("version"), None);
    let chained = node.recording("red", json!({}));
    let call = bare_call(&node, "ADD", &pod, &chained).conf(json!({ "prevResult": { "x": 1 } }));
    assert_eq!(call.run().ok(), json!({ "x": 1 }));
}

#[test]
fn a_recording_plugin_misbehaves_as_configured() {
    let node = Node::new("misbehave");
    let pod = node.pod("default", "a").create();
    let flag = node.folder().join("broken");
    let run = |verb: &str, record: Value| bare(&node, verb, &pod, &node.recording("red", record));

    let failing = json!({ "failOn": { "DEL": { "code": 11, "msg": "later" } }, "while": flag });
    run("DEL", failing.clone()).ok();
    std::fs::write(&flag, "").expect("write the flag");
    run("ADD", failing.clone()).ok();
    assert_eq!(
        run("DEL", failing).error(),
        (11, "later".into(), String::new())
    );

    let silent = run("ADD", json!({ "exit": 3 }));
    assert_eq!(
        (silent.status.code(), silent.stdout.as_str()),
        (Some(3), "")
    );
    assert_eq!(run("ADD", json!({ "print": "{" })).stdout, "{");
    let flood = run(
        "ADD",
        json!({ "printBytes": 3_000_000, "stderrBytes": 2_000_000 }),
    );
    assert_eq!(
        (flood.stdout.len(), flood.stderr.len()),
        (3_000_000, 2_000_000)
    );
    let slow = json!({ "delayMs": 50, "on": ["ADD"] });
    assert!(run("ADD", slow.clone()).elapsed.as_millis() >= 50);
    assert!(node.calls().last().is_some_and(|call| call.end.is_some()));
}

#[test]
fn a_hanging_plugin_is_started_watched_and_killed() {
    let node = Node::new("hang");
    let pod = node.pod("default", "a").create();
    let conf = node.recording("red", json!({ "hang": true }));
    let running = bare_call(&node, "ADD", &pod, &conf).spawn();
    let call = node.wait_for_call("ADD eth0 red");
    assert_eq!(call.pid, u64::from(running.pid()));
    assert!(node.leftovers().iter().any(|left| left.contains("process")));
    running.signal(nix::sys::signal::Signal::SIGKILL);
    assert!(!running.wait().status.success());
    assert_eq!(node.calls()[0].end, None);
    node.assert_clean();
}

#[test]
fn a_recording_plugin_kills_its_parent() {
    let node = Node::new("kill");
    let pod = node.pod("default", "a").create();
    let conf = node.recording("red", json!({ "killParent": "ADD:before" }));
    // The second command keeps the shell from turning into the plugin.
    let call = bare_call(&node, "ADD", &pod, &conf).under(["sh", "-c", "\"$0\"; true"]);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(call.run().status.signal(), Some(9));
}

#[test]
fn calls_take_overrides() {
    let node = Node::new("overrides").conf(json!({ "delegates": null, "logLevel": "debug" }));
    assert_eq!(node.configuration()["logLevel"], "debug");
    assert!(node.configuration().get("delegates").is_none());
    let pod = node.pod("default", "a").create();
    let conf = node.recording("red", json!({}));
    bare_call(&node, "ADD", &pod, &conf)
        .ifname("eth7")
        .container_id("c1")
        .args("MAC=02:00:00:00:00:01")
        .without_env("CNI_PATH")
        .conf(json!({ "extra": 1 }))
        .run()
        .ok();
    let call = node.wait_for_call("ADD eth7 red");
    assert_eq!(call.container_id, "c1");
    assert!(call.env["CNI_ARGS"].ends_with(";MAC=02:00:00:00:00:01"));
    assert!(!call.env.contains_key("CNI_PATH"));
    assert_eq!(call.conf()["extra"], 1);
}

#[test]
fn what_the_kernel_has_is_found_out_by_doing_it() {
    assert!(lacking::has("veth") && lacking::has("bridge"));
    assert_eq!(lacking::has("veth"), lacking::require("veth"));
}

/// The kernel rung runs the tests that are found: one that is missed would run nowhere.
#[test]
fn tests_that_need_a_feature_are_found_by_their_names() {
    let found = lacking::tests();
    let vlan = ("delegates::links::vlan_connects_pods", "vlan");
    let is_found = |(test, feature): (&str, &str)| {
        let same = |one: &&lacking::Needing| one.test == test && one.feature == feature;
        found.iter().filter(same).count() == 1
    };
    assert!(is_found(vlan), "{found:#?}");
    assert!(
        is_found(("harness::reference_plugins::dummy", "dummy")),
        "{found:#?}"
    );
}
