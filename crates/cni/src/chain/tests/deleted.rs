//! DEL of a list: which plugins it calls, with which input, and which it leaves out.

use super::*;

#[test]
fn del_asks_in_reverse_and_gives_the_result_from_version_0_4_0() {
    let recorded = result("10.0.0.9/24");
    for version in Version::ALL {
        let plugins = Recording::new(nothing);
        del(
            &plugins,
            limit(),
            &list(version, json!({})),
            TARGET,
            Some(&recorded),
            &[],
        );
        assert_eq!(
            plugins.briefs(),
            ["DEL c net1", "DEL b net1", "DEL a net1"],
            "{version}"
        );
        for call in plugins.calls() {
            let expected = (version >= Version::V0_4_0).then(|| recorded.to_value(version));
            assert_eq!(
                call.stdin.get("prevResult"),
                expected.map(Result::unwrap).as_ref(),
                "{version} {}",
                call.plugin
            );
        }
    }
}

#[test]
fn del_without_a_recorded_result_gives_none() {
    let plugins = Recording::new(nothing);
    del(
        &plugins,
        limit(),
        &list(Version::LATEST, json!({})),
        TARGET,
        None,
        &[],
    );
    assert_eq!(plugins.calls().len(), 3);
    for call in plugins.calls() {
        assert_eq!(call.stdin.get("prevResult"), None);
    }
}

#[test]
fn del_goes_on_after_failures_and_returns_them_all() {
    let plugins = Recording::new(|call: &Called| match call.plugin.as_str() {
        "b" => Ok(Vec::new()),
        other => Err(failed(other, 11, "busy")),
    });
    let errors: Vec<PluginFailure> = del(
        &plugins,
        limit(),
        &list(Version::LATEST, json!({})),
        TARGET,
        None,
        &[],
    );
    assert_eq!(plugins.calls().len(), 3);
    let errors: Vec<_> = errors.iter().map(|failure| named(&failure.error)).collect();
    let again = Some(Code::TRY_AGAIN_LATER);
    assert_eq!(errors, [("c", "DEL", again), ("a", "DEL", again)]);
}

#[test]
fn del_leaves_out_those_that_are_done() {
    for (done, asked) in [
        (&[][..], &["DEL c net1", "DEL b net1", "DEL a net1"][..]),
        (&[1], &["DEL c net1", "DEL a net1"]),
        (&[0, 2], &["DEL b net1"]),
        (&[0, 1, 2], &[]),
    ] {
        let plugins = Recording::new(nothing);
        let failures = del(
            &plugins,
            limit(),
            &list(Version::LATEST, json!({})),
            TARGET,
            None,
            done,
        );
        assert!(failures.is_empty());
        assert_eq!(plugins.briefs(), asked, "done: {done:?}");
    }
}

#[test]
fn a_failed_plugin_is_reported_by_its_place_though_two_have_one_name() {
    let conf = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [
        {"type": "a", "n": 0}, {"type": "b"}, {"type": "a", "n": 2},
    ]});
    let list = NetConfList::from_value(conf).unwrap();
    let plugins = Recording::new(|call: &Called| match call.stdin.get("n") {
        Some(n) if *n == 2 => Err(failed("a", 7, "broken")),
        _ => Ok(Vec::new()),
    });
    let failures = del(&plugins, limit(), &list, TARGET, None, &[]);
    let places: Vec<_> = failures.iter().map(|failure| failure.place).collect();
    assert_eq!(places, [2]);
}

#[test]
fn without_a_namespace_those_that_work_in_one_are_not_asked_but_their_ipam_plugin_is() {
    let conf = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [
        {"type": "host-device", "device": "eth1", "ipam": {"type": "host-local", "x": 1}},
        {"type": "vlan", "ipam": {}},
        {"type": "bridge", "ipam": {"type": "static"}},
        {"type": "sbr"},
    ]});
    let list = NetConfList::from_value(conf).unwrap();
    let all = [
        "DEL sbr net1",
        "DEL bridge net1",
        "DEL vlan net1",
        "DEL host-device net1",
    ];
    for (netns, asked) in [
        ("/run/netns/pod", &all[..]),
        ("", &["DEL bridge net1", "DEL host-local net1"]),
    ] {
        let plugins = Recording::new(nothing);
        let target = Target { netns, ..TARGET };
        let recorded = result("10.0.0.9/24");
        assert!(del(&plugins, limit(), &list, target, Some(&recorded), &[]).is_empty());
        assert_eq!(plugins.briefs(), asked, "namespace {netns:?}");
        let last = plugins.calls().pop().unwrap().stdin;
        assert_eq!(last["type"], "host-device", "it has what its plugin gets");
        assert_eq!(last["ipam"]["x"], 1);
        assert_eq!(
            last["prevResult"],
            recorded.to_value(Version::V1_0_0).unwrap()
        );
    }
}

#[test]
fn an_ipam_plugin_that_fails_without_a_namespace_is_reported_in_place_of_its_plugin() {
    let conf = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [
        {"type": "sbr"}, {"type": "host-device", "ipam": {"type": "dhcp"}},
    ]});
    let list = NetConfList::from_value(conf).unwrap();
    let plugins = Recording::new(|call: &Called| Err(failed(&call.plugin, 11, "no daemon")));
    let target = Target {
        netns: "",
        ..TARGET
    };
    let failures = del(&plugins, limit(), &list, target, None, &[]);
    let [failure] = failures.as_slice() else {
        panic!("{failures:?}");
    };
    assert_eq!(failure.place, 1);
    assert_eq!(
        named(&failure.error),
        ("dhcp", "DEL", Some(Code::TRY_AGAIN_LATER))
    );
}
