//! Files as Multus 4.3 and libcni 1.3 write them, and broken ones.

use cni::error::with_causes;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// What Multus left, in a folder of its own.
struct Left {
    dir: TempDir,
    files: MultusFiles,
}

impl Left {
    fn new() -> Left {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("results")).unwrap();
        let files = MultusFiles::new(dir.path());
        Left { dir, files }
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.dir.path().join(file), text).unwrap();
    }

    /// The record of container `c1`.
    fn record(&self) -> Result<Option<Record>, MultusError> {
        let args = Args::parse("IgnoreUnknown=1;K8S_POD_NAME=web").unwrap();
        let pod = PodRef {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            uid: None,
        };
        self.files
            .record("c1", "/run/netns/pod", "eth0", &args, Some(pod))
    }

    fn entries(&self) -> Vec<Entry> {
        self.record().unwrap().unwrap().attachments
    }
}

/// A delegate as the scratch file has it.
fn delegate(name: &str, interface: &str, conf: &Value) -> Value {
    json!({
        "Conf": {"cniVersion": "1.0.0", "name": "x", "type": "x", "ipam": {}, "dns": {}},
        "ConfList": {"cniVersion": "", "plugins": null},
        "Name": name,
        "ifnameRequest": interface,
        "macRequest": "", "infinibandGUIDRequest": "", "deviceID": "", "resourceName": "",
        "MasterPlugin": interface.is_empty(), "ConfListPlugin": false,
        "Bytes": STANDARD.encode(conf.to_string()),
    })
}

/// An entry of libcni's cache.
fn cached(conf: &Value, more: Value) -> String {
    let mut cached = json!({
        "kind": "cniCacheV1", "containerId": "c1", "networkName": "x", "ifName": "x",
        "netns": "/run/netns/pod", "config": STANDARD.encode(conf.to_string()),
    });
    let more = more.as_object().unwrap().clone();
    cached.as_object_mut().unwrap().extend(more);
    cached.to_string()
}

fn stdin(entry: &Entry, index: usize) -> Value {
    let bytes = entry.attachment.list.plugins[index].stdin_with([]);
    serde_json::from_slice(&bytes).unwrap()
}

fn calico() -> Value {
    json!({"cniVersion": "0.3.1", "name": "calico", "type": "calico"})
}

fn blue() -> Value {
    json!({"cniVersion": "1.0.0", "name": "blue-net", "plugins": [
        {"type": "bridge", "capabilities": {"mac": true}},
        {"type": "tuning", "capabilities": {"portMappings": true}},
    ]})
}

#[test]
fn a_sandbox_that_multus_did_not_make_is_none() {
    let left = Left::new();
    left.write("c2", "[]");
    assert_eq!(left.record().unwrap(), None);
    assert_eq!(left.files.container_ids(), ["c2"]);
    let never = MultusFiles::new(Path::new("/nonexistent"));
    assert_eq!(never.container_ids(), [""; 0]);
}

#[test]
fn a_scratch_file_alone_has_networks_interfaces_and_configurations() {
    let left = Left::new();
    let delegates = json!([
        delegate("", "", &calico()),
        delegate("shop/blue", "b0", &blue()),
        delegate(
            "shop/green",
            "",
            &json!({"type": "macvlan", "master": "eth1"})
        ),
    ]);
    left.write("c1", delegates.to_string());
    let record = left.record().unwrap().unwrap();
    assert_eq!(record.container_id, "c1");
    assert_eq!(record.netns, "/run/netns/pod");
    assert_eq!(record.pod.unwrap().to_string(), "shop/web");
    let shown: Vec<_> = record
        .attachments
        .iter()
        .map(|entry| {
            let attachment = &entry.attachment;
            assert_eq!((entry.phase, &entry.result), (Phase::Planned, &None));
            assert_eq!(attachment.args, "IgnoreUnknown=1;K8S_POD_NAME=web");
            let names = [
                &attachment.network,
                &attachment.ifname,
                &attachment.list.name,
            ];
            names.map(String::as_str)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ["calico", "eth0", "calico"],
            ["shop/blue", "b0", "blue-net"],
            ["shop/green", "net2", "green"],
        ]
    );
    assert_eq!(
        stdin(&record.attachments[0], 0),
        calico(),
        "the configuration goes to the plugin as it was"
    );
    let expected = json!({"type": "tuning", "capabilities": {"portMappings": true},
        "cniVersion": "1.0.0", "name": "blue-net"});
    assert_eq!(stdin(&record.attachments[1], 1), expected);
}

#[test]
fn a_list_of_a_file_is_put_together_from_what_multus_keeps_of_each_plugin() {
    let plugins = [
        json!({"type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}]]}}),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
    ];
    // Multus knows of no ranges.
    let known = json!({
        "cniVersion": "1.0.0", "name": "net",
        "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}, plugins[1]],
    });
    let mut first = delegate("net", "", &known);
    let kept = plugins
        .iter()
        .map(|plugin| json!({"Network": {}, "Bytes": STANDARD.encode(plugin.to_string())}));
    first["CNINetworkConfigList"] = json!({
        "Name": "net", "CNIVersion": "1.0.0", "DisableCheck": true, "DisableGC": false,
        "LoadOnlyInlinedPlugins": false, "Plugins": kept.collect::<Vec<_>>(), "Bytes": null,
    });
    let mut second = delegate("default/blue", "", &blue());
    second["CNINetworkConfigList"] = json!({
        "Name": "", "CNIVersion": "", "DisableCheck": false, "DisableGC": false,
        "LoadOnlyInlinedPlugins": false, "Plugins": null, "Bytes": null,
    });
    let left = Left::new();
    left.write("c1", json!([first, second]).to_string());
    let entries = left.entries();
    assert_eq!(stdin(&entries[0], 0)["ipam"], plugins[0]["ipam"]);
    assert_eq!(stdin(&entries[0], 1)["type"], "portmap");
    assert!(entries[0].attachment.list.disable_check);
    assert_eq!(entries[1].attachment.list.name, "blue-net");
}

#[test]
fn the_default_network_has_the_runtimes_interface() {
    let left = Left::new();
    left.write("c1", json!([delegate("", "other", &calico())]).to_string());
    assert_eq!(left.entries()[0].attachment.ifname, "eth0");
}

#[test]
fn the_cache_of_libcni_wins_and_has_arguments_capabilities_and_result() {
    let left = Left::new();
    let delegates = json!([
        delegate("", "", &calico()),
        delegate("shop/blue", "b0", &blue()),
    ]);
    left.write("c1", delegates.to_string());
    let mut changed = blue();
    changed["plugins"][0]["mtu"] = json!(1400);
    left.write(
        "results/blue-net-c1-b0",
        cached(
            &changed,
            json!({
                "cniArgs": [["IgnoreUnknown", "true"], ["IP", "10.0.0.9"]],
                "capabilityArgs": {"mac": "02:00:00:00:00:09", "portMappings": [{"hostPort": 80}]},
                "result": {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.9/24"}]},
            }),
        ),
    );
    let entries = left.entries();
    assert_eq!(entries[0].phase, Phase::Planned, "it has no cache entry");
    let blue = &entries[1];
    assert_eq!(blue.phase, Phase::Added);
    assert_eq!(blue.attachment.args, "IgnoreUnknown=true;IP=10.0.0.9");
    assert_eq!(blue.attachment.network, "shop/blue");
    let address = blue.result.as_ref().unwrap().ips[0].address;
    assert_eq!(address.to_string(), "10.0.0.9/24");
    let bridge = stdin(blue, 0);
    assert_eq!(bridge["mtu"], 1400, "the cache's configuration is used");
    assert_eq!(bridge["runtimeConfig"], json!({"mac": "02:00:00:00:00:09"}));
    assert_eq!(
        stdin(blue, 1)["runtimeConfig"],
        json!({"portMappings": [{"hostPort": 80}]})
    );
}

#[test]
fn an_attachment_with_a_device_has_the_file_about_it() {
    let left = Left::new();
    let mut with_device = delegate("default/blue", "", &blue());
    with_device["deviceID"] = json!("0000:01:00.0");
    let scratch = json!([delegate("", "", &calico()), with_device]);
    left.write("c1", scratch.to_string());
    let files: Vec<_> = left
        .entries()
        .into_iter()
        .map(|entry| entry.attachment.device_info_file)
        .collect();
    let file = "/var/run/k8s.cni.cncf.io/devinfo/cni/default-blue-c1_net1";
    assert_eq!(files, [None, Some(file.into())]);
}

#[test]
fn a_cache_entry_may_lack_what_libcni_leaves_out() {
    let left = Left::new();
    left.write("c1", json!([delegate("", "", &calico())]).to_string());
    for more in [
        json!({}),
        json!({"cniArgs": null, "capabilityArgs": null, "result": null}),
    ] {
        left.write("results/calico-c1-eth0", cached(&calico(), more));
        let entry = left.entries().remove(0);
        assert_eq!((entry.phase, &entry.result), (Phase::Added, &None));
        assert_eq!(entry.attachment.args, "");
        assert_eq!(stdin(&entry, 0), calico());
    }
}

#[test]
fn a_cached_result_of_an_old_version_is_understood() {
    let left = Left::new();
    let mut old = calico();
    old["cniVersion"] = json!("0.2.0");
    left.write("c1", json!([delegate("", "", &old)]).to_string());
    let result = json!({"result": {"ip4": {"ip": "10.0.0.9/24"}}});
    left.write("results/calico-c1-eth0", cached(&old, result));
    let result = left.entries().remove(0).result.unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.0.0.9/24");
}

#[test]
fn what_is_broken_is_named() {
    let good = json!([delegate("", "", &calico())]).to_string();
    let bytes = |bytes: &str| json!([{"Name": "x", "Bytes": bytes}]).to_string();
    let cases = [
        ("no JSON", "[{", None, "c1 is not what Multus writes"),
        ("no list", "{}", None, "c1 is not what Multus writes"),
        ("no Bytes", r#"[{"Name": "x"}]"#, None, "Bytes"),
        (
            "no base64",
            &bytes("%%"),
            None,
            "c1 is not what Multus writes",
        ),
        ("no text", &bytes("/w=="), None, "utf-8"),
        (
            "no configuration",
            &bytes(&STANDARD.encode("{}")),
            None,
            "a configuration in ",
        ),
        (
            "a cache that is no JSON",
            &good,
            Some("{".to_owned()),
            "results/calico-c1-eth0 is not what Multus writes",
        ),
        (
            "a cache without a configuration",
            &good,
            Some("{}".to_owned()),
            "config",
        ),
        (
            "a cache with a bad configuration",
            &good,
            Some(cached(&json!({"type": "../sh"}), json!({}))),
            "type",
        ),
        (
            "a cache with a bad result",
            &good,
            Some(cached(&calico(), json!({"result": {"ips": 7}}))),
            "ips",
        ),
    ];
    for (name, scratch, cache, expected) in cases {
        let left = Left::new();
        left.write("c1", scratch);
        if let Some(cache) = cache {
            left.write("results/calico-c1-eth0", cache);
        }
        let text = with_causes(&left.record().unwrap_err());
        assert!(text.contains(expected), "{name}: {text}");
        let folder = left.dir.path().display().to_string();
        assert!(text.contains(&folder), "{name}: {text}");
    }
}

#[test]
fn what_is_deleted_is_forgotten_and_the_rest_stays() {
    let left = Left::new();
    let delegates = json!([
        delegate("", "", &calico()),
        delegate("shop/blue", "b0", &blue()),
    ]);
    left.write("c1", delegates.to_string());
    left.write("c2", "[]");
    left.write("results/calico-c1-eth0", cached(&calico(), json!({})));
    left.write("results/calico-c2-eth0", cached(&calico(), json!({})));
    let record = left.record().unwrap().unwrap();
    assert_eq!(left.files.container_ids(), ["c1", "c2"]);
    for _ in 0..2 {
        left.files.forget(&record).unwrap();
        assert_eq!(left.files.container_ids(), ["c2"]);
        let cache = fs::read_dir(left.dir.path().join("results")).unwrap();
        let cache: Vec<_> = cache.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(cache, ["calico-c2-eth0"]);
    }
}

#[test]
fn only_files_that_can_be_scratch_files_are_containers() {
    let left = Left::new();
    for file in ["b", "a-1", ".hidden", "a b"] {
        left.write(file, "[]");
    }
    assert_eq!(left.files.container_ids(), ["a-1", "b"]);
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(scratch in any::<Vec<u8>>(), cache in any::<Vec<u8>>()) {
        let left = Left::new();
        left.write("c1", &scratch);
        let _ = left.record();
        left.write("c1", json!([delegate("", "", &calico())]).to_string());
        left.write("results/calico-c1-eth0", &cache);
        prop_assert!(left.record().is_err());
    }
}

#[test]
fn beside_a_type_multus_did_not_run_the_plugins() {
    let plugins = json!([{"type": "bridge"}, {"type": "tuning"}]);
    for (case, kind, expected) in [
        ("a type", json!({"type": "macvlan"}), vec!["macvlan"]),
        ("in any case", json!({"Type": "macvlan"}), vec!["macvlan"]),
        (
            "an empty type",
            json!({"type": ""}),
            vec!["bridge", "tuning"],
        ),
        ("no type", json!({}), vec!["bridge", "tuning"]),
    ] {
        let mut conf = json!({"cniVersion": "0.4.0", "name": "lan", "plugins": plugins});
        let kind = kind.as_object().unwrap().clone();
        conf.as_object_mut().unwrap().extend(kind);
        let list = as_multus_ran(&conf.to_string()).unwrap();
        let types = list.plugins.iter().map(PluginConf::plugin_type);
        assert_eq!(types.collect::<Vec<_>>(), expected, "{case}");
        if expected.len() == 1 {
            let stdin: Value = serde_json::from_slice(&list.plugins[0].stdin_with([])).unwrap();
            assert_eq!(stdin, conf, "{case}: the plugin is given all of it");
        }
    }
}
