//! What one policy allows, rule by rule.

use super::*;

#[test]
fn each_rule_of_a_policy_refuses_what_it_does_not_allow() {
    let macvlan = |more: Value| {
        let mut conf = json!({"type": "macvlan"});
        for (key, value) in more.as_object().unwrap() {
            conf[key] = value.clone();
        }
        conf
    };
    let types = |rule: Value| {
        spec(json!({
            "plugins": {
                "main": ["macvlan", "bridge", "host-device", "tuning", "sriov"],
                "chained": ["tuning"], "ipam": ["static", "host-local", "meta-ipam"],
            },
            "types": [rule], "pools": ["blue", "team-a-*"],
        }))
    };
    let masters = || types(json!({"type": "macvlan", "masters": ["eth1", "bond*"]}));
    let statics = || types(json!({"type": "static", "prefixes": ["10.1.0.0/16", "fd00::/48"]}));
    let fixed = |address: &str| {
        macvlan(json!({"ipam": {"type": "static", "addresses": [{"address": address}]}}))
    };
    let local = || types(json!({"type": "host-local", "prefixes": ["10.1.0.0/16"]}));
    let tuning = || types(json!({"type": "tuning", "sysctls": ["net.ipv4.conf.IFNAME.*"]}));
    let sysctl = |name: &str| json!({"type": "tuning", "sysctl": {name: "1"}});
    let pool = |ipam: Value| macvlan(json!({"ipam": ipam}));
    let any = || types(json!({"type": "vlan"}));
    for (rules, conf, is_allowed) in [
        (masters(), macvlan(json!({"master": "eth1"})), true),
        (masters(), macvlan(json!({"master": "bond0.5"})), true),
        (masters(), macvlan(json!({"master": "eth10"})), false),
        (masters(), macvlan(json!({})), false),
        (masters(), macvlan(json!({"master": ["eth1"]})), false),
        (
            types(json!({"type": "bridge", "bridges": ["br-a"]})),
            json!({"type": "bridge", "bridge": "br-a"}),
            true,
        ),
        (
            types(json!({"type": "bridge", "bridges": ["br-a"]})),
            json!({"type": "bridge"}),
            false,
        ),
        (
            types(json!({"type": "bridge", "bridges": ["cni0"]})),
            json!({"type": "bridge", "bridge": ""}),
            true,
        ),
        (
            types(json!({"type": "macvlan", "keys": {"deny": ["mtu"]}})),
            macvlan(json!({"MTU": 9000})),
            false,
        ),
        (
            types(json!({"type": "macvlan", "keys": {"deny": ["mtu"]}})),
            macvlan(json!({"mode": "bridge"})),
            true,
        ),
        (
            types(json!({"type": "macvlan", "keys": {"allow": ["master"]}})),
            macvlan(json!({"master": "x", "cniVersion": "1.0.0"})),
            true,
        ),
        (
            types(json!({"type": "macvlan", "keys": {"allow": ["master"]}})),
            macvlan(json!({"mode": "bridge"})),
            false,
        ),
        (
            types(json!({"type": "host-local", "keys": {"allow": ["dataDir"]}})),
            macvlan(json!({"ipam": {"type": "host-local", "dataDir": "/run/x"}})),
            true,
        ),
        (
            types(json!({"type": "host-local", "keys": {"deny": []}})),
            macvlan(json!({"ipam": {"type": "host-local", "dataDir": "/run/x"}})),
            false,
        ),
        (
            any(),
            macvlan(json!({"ipam": {"type": "host-local", "DATADIR": "x"}})),
            false,
        ),
        (
            any(),
            macvlan(json!({"anything": {"deep": ["unix:/run/x.sock"]}})),
            false,
        ),
        (any(), macvlan(json!({"anything": "a/../../b"})), false),
        (statics(), fixed("10.1.2.3/24"), true),
        (statics(), fixed("fd00::5/64"), true),
        (statics(), fixed("10.2.2.3/24"), false),
        (
            statics(),
            macvlan(json!({"ipam": {"type": "static"}, "args": {"cni": {"ips": ["10.2.0.1/24"]}}})),
            false,
        ),
        (
            statics(),
            macvlan(json!({"ipam": {"type": "static"}, "runtimeConfig": {"ips": ["10.2.0.1/24"]}})),
            false,
        ),
        (
            statics(),
            macvlan(json!({"ipam": {"type": "static", "addresses": ["10.1.0.1/24"]}})),
            false,
        ),
        (
            local(),
            macvlan(json!({"ipam": {"type": "host-local", "subnet": "10.1.5.0/24"}})),
            true,
        ),
        (
            local(),
            macvlan(json!({"ipam": {"type": "host-local", "subnet": "10.0.0.0/8"}})),
            false,
        ),
        (
            local(),
            macvlan(
                json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.5.0/24"}], [{"subnet": "10.9.0.0/24"}]]}}),
            ),
            false,
        ),
        (tuning(), sysctl("net.ipv4.conf.IFNAME.arp_filter"), true),
        (tuning(), sysctl("net/ipv4/conf/IFNAME/arp_filter"), true),
        (tuning(), sysctl("net.core.somaxconn"), false),
        (
            tuning(),
            sysctl("net.ipv4.conf.IFNAME./../../../../kernel/core_pattern"),
            false,
        ),
        (any(), sysctl("../../kernel/core_pattern"), false),
        (any(), json!({"type": "tuning", "sysctl": ["a"]}), false),
        (
            any(),
            json!({"type": "host-device", "device": "eth5"}),
            false,
        ),
        (any(), json!({"type": "host-device"}), false),
        (
            types(json!({"type": "host-device", "devices": ["eth5"]})),
            json!({"type": "host-device", "device": "eth5"}),
            true,
        ),
        (
            types(json!({"type": "host-device", "devices": ["eth5"]})),
            json!({"type": "host-device", "device": "eth0"}),
            false,
        ),
        (
            types(json!({"type": "host-device", "devices": ["eth5"]})),
            json!({"type": "host-device", "device": "eth5", "pciBusID": "0000:00:01.0"}),
            false,
        ),
        (
            any(),
            json!({"type": "sriov", "deviceID": "0000:00:01.0"}),
            false,
        ),
        (
            any(),
            pool(json!({"type": "meta-ipam", "pool": "blue"})),
            true,
        ),
        (
            any(),
            pool(json!({"type": "meta-ipam", "pools": ["blue", "team-a-1"]})),
            true,
        ),
        (
            any(),
            pool(json!({"type": "meta-ipam", "pool": "blue", "server": "unix:///of/the/node"})),
            true,
        ),
        (
            any(),
            pool(json!({"type": "meta-ipam", "pools": ["blue", "red"]})),
            false,
        ),
        (any(), json!({"type": "vlan"}), false),
        (any(), macvlan(json!({"ipam": {"type": "dhcp"}})), false),
        (
            any(),
            json!({"plugins": [{"type": "macvlan"}, {"type": "bandwidth"}]}),
            false,
        ),
        (
            any(),
            json!({"plugins": [{"type": "macvlan"}, {"type": "tuning"}]}),
            true,
        ),
    ] {
        let found = refused(
            &config(json!("enforce")),
            &policies(&[rules]),
            conf.clone(),
            Element::default(),
        );
        assert_eq!(found.is_none(), is_allowed, "{conf}: {found:?}");
        if let Some(found) = found {
            assert!(found.what.to_string().len() < 300, "{}", found.what);
        }
    }
}

#[test]
fn a_device_of_a_device_plugin_needs_no_list() {
    let (first, default) = default();
    let rules = spec(json!({"plugins": {"main": ["host-device"]}}));
    for (conf, is_allowed) in [
        (json!({"type": "host-device"}), true),
        (json!({"type": "host-device", "device": "eth0"}), false),
    ] {
        let with_resource = network(conf.clone()).map(|found| Found {
            resource_name: Some("example.com/nic".to_owned()),
            ..found
        });
        let wanted = [first.clone(), wanted_of("a", Element::default())];
        let found = vec![default.clone(), with_resource];
        let found = enforce(
            &config(json!("enforce")),
            Some(&policies(std::slice::from_ref(&rules))),
            None,
            &wanted,
            found,
        );
        assert_eq!(found[1].is_ok(), is_allowed, "{conf}: {found:?}");
    }
}
