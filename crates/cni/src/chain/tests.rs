//! What every plugin of a list is asked, in which order, and what becomes of its answer.

use std::collections::BTreeSet;
use std::time::Duration;

mod deleted;

use super::*;
use crate::error::Code;
use crate::plugins::recording::{Called, Recording, failed};

const TARGET: Target<'_> = Target {
    container_id: "c1",
    netns: "/run/netns/pod",
    ifname: "net1",
    args: "IgnoreUnknown=1;IP=10.0.0.9",
};

/// Calls that are recorded take no time.
fn limit() -> TimeLimit {
    TimeLimit::per_call(Duration::from_secs(60))
}

/// A list of the plugins a, b and c.
fn list(version: Version, extra: Value) -> NetConfList {
    let mut conf = json!({
        "cniVersion": version, "name": "lan",
        "plugins": [{"type": "a", "mtu": 1400}, {"type": "b"}, {"type": "c"}],
    });
    conf.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    NetConfList::from_value(conf).unwrap()
}

/// The result with one address, on an interface if the version can say that.
fn result(address: &str) -> CniResult {
    let value = json!({
        "interfaces": [{"name": "net1", "sandbox": "/run/netns/pod", "mtu": 1400}],
        "ips": [{"address": address, "interface": 0}],
    });
    CniResult::from_value(&value, Version::LATEST).unwrap()
}

fn said(result: &CniResult, version: Version) -> Vec<u8> {
    result.to_value(version).unwrap().to_string().into_bytes()
}

fn address_of(plugin: &str) -> &'static str {
    match plugin {
        "a" => "10.1.0.1/24",
        "b" => "10.1.0.2/24",
        _ => "10.1.0.3/24",
    }
}

fn nothing(_: &Called) -> Result<Vec<u8>, PluginError> {
    Ok(Vec::new())
}

/// The plugin and the code of a failure.
fn named(error: &ChainError) -> (&str, &str, Option<Code>) {
    match error {
        ChainError::Plugin {
            plugin,
            command,
            source,
        } => match source.as_ref() {
            PluginError::Failed { object, .. } => (plugin, command, Some(object.code)),
            _ => (plugin, command, None),
        },
        ChainError::Result {
            plugin, command, ..
        } => (plugin, command, None),
        ChainError::PrevResult { .. } => ("", "", None),
    }
}

#[test]
fn add_hands_each_result_to_the_next_plugin_in_the_lists_version() {
    for version in Version::ALL {
        let plugins =
            Recording::new(|call: &Called| Ok(said(&result(address_of(&call.plugin)), version)));
        let last = add(&plugins, limit(), &list(version, json!({})), TARGET).unwrap();
        let calls = plugins.calls();
        assert_eq!(
            plugins.briefs(),
            ["ADD a net1", "ADD b net1", "ADD c net1"],
            "{version}"
        );
        assert_eq!(calls[0].stdin, json!({"type": "a", "mtu": 1400}));
        for (call, before) in calls[1..].iter().zip(["a", "b"]) {
            let expected = result(address_of(before)).to_value(version).unwrap();
            assert_eq!(call.stdin["prevResult"], expected, "{version}");
            assert_eq!(call.stdin["prevResult"]["cniVersion"], json!(version));
        }
        assert_eq!(last.ips[0].address.to_string(), "10.1.0.3/24", "{version}");
    }
}

#[test]
fn a_result_in_another_version_than_the_lists_is_converted_for_the_next_plugin() {
    let plugins = Recording::new(|call: &Called| {
        Ok(said(
            &result(address_of(&call.plugin)),
            if call.plugin == "a" {
                Version::V0_4_0
            } else {
                Version::V1_0_0
            },
        ))
    });
    add(&plugins, limit(), &list(Version::V1_0_0, json!({})), TARGET).unwrap();
    let prev = &plugins.calls()[1].stdin["prevResult"];
    assert_eq!(prev["cniVersion"], "1.0.0");
    assert_eq!(prev["ips"][0].get("version"), None);
}

#[test]
fn add_passes_every_plugin_where_to_act() {
    let plugins = Recording::new(|_: &Called| Ok(said(&result("10.0.0.9/24"), Version::LATEST)));
    add(&plugins, limit(), &list(Version::LATEST, json!({})), TARGET).unwrap();
    for call in plugins.calls() {
        let variables = [&call.container_id, &call.netns, &call.ifname, &call.args];
        assert_eq!(
            variables,
            [
                TARGET.container_id,
                TARGET.netns,
                TARGET.ifname,
                TARGET.args
            ]
        );
    }
}

#[test]
fn add_stops_at_the_first_plugin_that_fails() {
    let plugins = Recording::new(|call: &Called| match call.plugin.as_str() {
        "b" => Err(failed("b", 7, "no such master")),
        _ => Ok(said(&result("10.0.0.9/24"), Version::LATEST)),
    });
    let failure = add(&plugins, limit(), &list(Version::LATEST, json!({})), TARGET).unwrap_err();
    assert_eq!(failure.place, 1);
    assert_eq!(
        named(&failure.error),
        ("b", "ADD", Some(Code::INVALID_NETWORK_CONFIG))
    );
    assert_eq!(plugins.briefs(), ["ADD a net1", "ADD b net1"]);
}

#[test]
fn add_stops_at_a_plugin_that_prints_no_result() {
    for printed in ["", "  \n", "{", "[]", "null", r#"{"ips": 7}"#] {
        let plugins = Recording::new(|_: &Called| Ok(printed.as_bytes().to_vec()));
        let error = add(&plugins, limit(), &list(Version::LATEST, json!({})), TARGET)
            .unwrap_err()
            .error;
        assert!(matches!(error, ChainError::Result { .. }), "{printed:?}");
        assert_eq!(named(&error), ("a", "ADD", None), "{printed:?}");
        assert_eq!(plugins.briefs(), ["ADD a net1"], "{printed:?}");
    }
}

#[test]
fn check_is_asked_where_the_version_has_it_and_the_list_does_not_disable_it() {
    let recorded = result("10.0.0.9/24");
    for version in Version::ALL {
        for disabled in [false, true] {
            let plugins = Recording::new(nothing);
            let list = list(version, json!({"disableCheck": disabled}));
            check(&plugins, limit(), &list, TARGET, &recorded).unwrap();
            let asked = version >= Version::V0_4_0 && !disabled;
            let expected: &[_] = if asked {
                &["CHECK a net1", "CHECK b net1", "CHECK c net1"]
            } else {
                &[]
            };
            assert_eq!(
                plugins.briefs(),
                expected,
                "{version}, disabled: {disabled}"
            );
            let prev: Vec<_> = plugins
                .calls()
                .iter()
                .map(|call| call.stdin["prevResult"].clone())
                .collect();
            assert!(
                prev.iter()
                    .all(|prev| *prev == recorded.to_value(version).unwrap()),
                "{version}: {prev:?}"
            );
        }
    }
}

#[test]
fn check_and_status_stop_at_the_first_plugin_that_fails() {
    let plugins = Recording::new(|call: &Called| match call.plugin.as_str() {
        "b" => Err(failed("b", 51, "half of it is there")),
        _ => Ok(Vec::new()),
    });
    let list = list(Version::LATEST, json!({}));
    let code = Some(Code::LIMITED_CONNECTIVITY);
    let error = check(&plugins, limit(), &list, TARGET, &result("10.0.0.9/24")).unwrap_err();
    assert_eq!(named(&error), ("b", "CHECK", code));
    let error = status(&plugins, limit(), &list).unwrap_err();
    assert_eq!(named(&error), ("b", "STATUS", code));
    assert_eq!(
        plugins.briefs(),
        ["CHECK a net1", "CHECK b net1", "STATUS a ", "STATUS b "]
    );
}

#[test]
fn status_and_gc_are_asked_from_version_1_1_0_and_of_no_container() {
    for version in Version::ALL {
        let plugins = Recording::new(nothing);
        let list = list(version, json!({}));
        status(&plugins, limit(), &list).unwrap();
        gc(&plugins, limit(), &list, &[]).unwrap();
        let expected: &[_] = if version >= Version::V1_1_0 {
            &[
                "STATUS a ",
                "STATUS b ",
                "STATUS c ",
                "GC a ",
                "GC b ",
                "GC c ",
            ]
        } else {
            &[]
        };
        assert_eq!(plugins.briefs(), expected, "{version}");
        for call in plugins.calls() {
            let variables: BTreeSet<_> =
                [call.container_id, call.netns, call.ifname, call.args].into();
            assert_eq!(variables, BTreeSet::from([String::new()]));
        }
    }
}

#[test]
fn gc_names_the_attachments_that_are_valid() {
    let plugins = Recording::new(nothing);
    let valid = [("c1", "net1"), ("c2", "eth0")].map(|(container_id, ifname)| AttachmentId {
        container_id: container_id.to_owned(),
        ifname: ifname.to_owned(),
    });
    gc(&plugins, limit(), &list(Version::LATEST, json!({})), &valid).unwrap();
    gc(&plugins, limit(), &list(Version::LATEST, json!({})), &[]).unwrap();
    let inputs: Vec<_> = plugins
        .calls()
        .iter()
        .map(|call| call.stdin["cni.dev/valid-attachments"].clone())
        .collect();
    let some =
        json!([{"containerID": "c1", "ifname": "net1"}, {"containerID": "c2", "ifname": "eth0"}]);
    assert_eq!(inputs[..3], [some.clone(), some.clone(), some]);
    assert_eq!(
        inputs[3..],
        [json!([]), json!([]), json!([])],
        "no attachment is an empty list, not an absent key"
    );
}

#[test]
fn gc_leaves_a_list_alone_that_disables_it() {
    let plugins = Recording::new(nothing);
    let list = list(Version::LATEST, json!({"disableGC": true}));
    gc(&plugins, limit(), &list, &[]).unwrap();
    assert_eq!(plugins.calls(), []);
}

#[test]
fn gc_goes_on_after_failures_and_returns_them_all() {
    let plugins = Recording::new(|call: &Called| match call.plugin.as_str() {
        "b" => Ok(Vec::new()),
        other => Err(failed(other, 100, "broken")),
    });
    let errors = gc(&plugins, limit(), &list(Version::LATEST, json!({})), &[]).unwrap_err();
    let errors: Vec<_> = errors.iter().map(|error| named(error).0).collect();
    assert_eq!(errors, ["a", "c"]);
    assert_eq!(plugins.briefs(), ["GC a ", "GC b ", "GC c "]);
}
