use cni::netconf::NetConfList;
use serde_json::json;

use super::*;

/// A configuration, and the gateways of the default routes that the pod asks for.
type Conf = (Value, Option<&'static [&'static str]>);

/// Attachments `eth0`, `net1`, `net2` … of networks with these configurations.
fn attachments(confs: &[Conf]) -> Vec<Attachment> {
    let attachment = |(index, (conf, gateways)): (usize, &Conf)| Attachment {
        network: format!("n{index}"),
        ifname: match index {
            0 => "eth0".to_owned(),
            index => format!("net{index}"),
        },
        args: String::new(),
        list: NetConfList::from_value(conf.clone()).unwrap(),
        check_by_plugins: false,
        default_route: gateways.map(|all| all.iter().map(|one| one.parse().unwrap()).collect()),
        device: None,
        device_info_file: None,
    };
    confs.iter().enumerate().map(attachment).collect()
}

fn texts(confs: &[Conf]) -> Vec<String> {
    let warnings = of_pod(&attachments(confs));
    warnings.into_iter().map(|warning| warning.what).collect()
}

/// A main plugin with addresses of host-local and these routes.
fn routed(kind: &str, routes: &[&str]) -> Value {
    let routes: Vec<_> = routes.iter().map(|dst| json!({"dst": dst})).collect();
    let ranges = json!([[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/64"}]]);
    json!({"type": kind, "ipam": {"type": "host-local", "ranges": ranges, "routes": routes}})
}

fn layer2() -> Value {
    json!({"type": "bridge"})
}

#[test]
fn two_default_routes_of_a_family_are_reported() {
    let both = ["0.0.0.0/0", "::/0"];
    let four = "eth0 (n0), net1 (n1) each have an IPv4 default route: new connections leave by";
    let six = "eth0 (n0), net1 (n1) each have an IPv6 default route: connections are split";
    let calico = json!({"type": "calico"});
    let gateway = |subnet: &str| {
        json!({
            "type": "bridge", "isDefaultGateway": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]},
        })
    };
    let any_case = json!({
        "type": "bridge", "IPAM": {"Type": "static", "Routes": [{"DST": "0.0.0.0/0"}]},
    });
    let leased = json!({"type": "macvlan", "ipam": {"type": "meta-ipam", "pool": "blue"}});
    let cases: [(&str, Vec<Conf>, Vec<&str>); 9] = [
        (
            "both families",
            vec![
                (routed("bridge", &both), None),
                (routed("ptp", &both), None),
            ],
            vec![four, six],
        ),
        (
            "another plugin as the default network",
            vec![
                (calico.clone(), None),
                (routed("macvlan", &both[..1]), None),
            ],
            vec![four],
        ),
        (
            "by isDefaultGateway, of the families that the bridge has",
            vec![(calico.clone(), None), (gateway("fd01::/64"), None)],
            vec![six],
        ),
        (
            "by keys in any case",
            vec![(calico.clone(), None), (any_case, None)],
            vec![four],
        ),
        (
            "a secondary that has none",
            vec![
                (calico.clone(), None),
                (routed("macvlan", &["10.9.0.0/16"]), None),
            ],
            vec![],
        ),
        (
            "a secondary of which nothing is known",
            vec![(calico.clone(), None), (leased, None)],
            vec![],
        ),
        (
            "a default network without",
            vec![
                (routed("bridge", &[]), None),
                (routed("macvlan", &both), None),
            ],
            vec![],
        ),
        (
            "one family is asked for",
            vec![
                (calico.clone(), None),
                (routed("macvlan", &both), Some(&["10.0.0.1"])),
            ],
            vec![],
        ),
        (
            "the secondary is to have none",
            vec![(calico, None), (routed("macvlan", &both), Some(&[]))],
            vec![],
        ),
    ];
    for (case, confs, expected) in cases {
        let shown = texts(&confs);
        assert_eq!(shown.len(), expected.len(), "{case}: {shown:?}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.starts_with(expected), "{case}: {shown}");
        }
    }
}

#[test]
fn host_ports_of_two_attachments_are_reported_as_portmap_keeps_them() {
    let mapped = |name: &str, more: Value| {
        let mut portmap = json!({
            "type": "portmap", "runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 2}]},
        });
        let more = more.as_object().unwrap().clone();
        portmap.as_object_mut().unwrap().extend(more);
        (json!({"name": name, "plugins": [layer2(), portmap]}), None)
    };
    let none = json!({});
    for (case, second, third, expected) in [
        (
            "one network",
            mapped("a", none.clone()),
            mapped("a", none.clone()),
            Some("net1 (n1) and net2 (n2) both map host ports on network a"),
        ),
        (
            "two networks",
            mapped("a", none.clone()),
            mapped("b", none.clone()),
            Some("net1 (n1) and net2 (n2) both map host ports: where portmap uses nftables"),
        ),
        (
            "two networks with iptables",
            mapped("a", json!({"backend": "iptables"})),
            mapped("b", none.clone()),
            None,
        ),
        (
            "no port on one of them",
            mapped("a", none.clone()),
            mapped("a", json!({"runtimeConfig": {"portMappings": []}})),
            None,
        ),
        (
            "no portmap on one of them",
            mapped("a", none),
            (layer2(), None),
            None,
        ),
    ] {
        let shown = texts(&[(layer2(), None), second, third]);
        match expected {
            None => assert_eq!(shown, [""; 0], "{case}"),
            Some(start) => assert!(shown[0].starts_with(start), "{case}: {shown:?}"),
        }
    }
}

#[test]
fn ipvlans_of_two_modes_and_a_vlan_twice_are_reported() {
    let ipvlan =
        |master: &str, mode: &str| json!({"type": "ipvlan", "master": master, "mode": mode});
    let vlan = |master: &str, id: u64| json!({"type": "vlan", "master": master, "vlanId": id});
    let inside = json!({"type": "vlan", "master": "eth1", "vlanId": 7, "linkInContainer": true});
    for (first, second, expected) in [
        (
            ipvlan("eth1", ""),
            ipvlan("eth1", "l3"),
            Some("net1 (n1) is an ipvlan of mode l2 and net2 (n2) one of mode l3"),
        ),
        (ipvlan("eth1", "l3"), ipvlan("eth1", "l3"), None),
        (ipvlan("eth1", "l2"), ipvlan("eth2", "l3"), None),
        (
            ipvlan("", "l2"),
            ipvlan("", "l3s"),
            Some("net1 (n1) is an ipvlan of mode l2 and net2 (n2) one of mode l3s"),
        ),
        (
            vlan("eth1", 7),
            vlan("eth1", 7),
            Some("net1 (n1) and net2 (n2) both ask for vlan 7 of eth1"),
        ),
        (vlan("eth1", 7), vlan("eth1", 8), None),
        (vlan("eth1", 7), vlan("eth2", 7), None),
        (vlan("eth1", 7), inside, None),
    ] {
        let shown = texts(&[
            (layer2(), None),
            (first.clone(), None),
            (second.clone(), None),
        ]);
        match expected {
            None => assert_eq!(shown, [""; 0], "{first} {second}"),
            Some(start) => assert!(shown[0].starts_with(start), "{shown:?}"),
        }
    }
}

#[test]
fn bridges_with_a_gateway_and_ptp_let_the_node_forward_ipv6() {
    let ipam = |subnet: &str| json!({"type": "host-local", "ranges": [[{"subnet": subnet}]]});
    for (conf, expected) in [
        (
            json!({"type": "bridge", "isGateway": true, "ipam": ipam("fd00::/64")}),
            true,
        ),
        (
            json!({"type": "bridge", "isDefaultGateway": true, "ipam": {"type": "meta-ipam"}}),
            true,
        ),
        (json!({"type": "ptp", "ipam": ipam("fd00::/64")}), true),
        (json!({"type": "ptp", "ipam": ipam("10.0.0.0/24")}), false),
        (json!({"type": "bridge", "ipam": ipam("fd00::/64")}), false),
        (json!({"type": "bridge", "isGateway": true}), false),
        (json!({"type": "macvlan", "ipam": ipam("fd00::/64")}), false),
    ] {
        let list = NetConfList::from_value(conf.clone()).unwrap();
        assert_eq!(forwards_ipv6(&list), expected, "{conf}");
    }
}

#[test]
fn every_warning_fits_a_line() {
    let confs = [
        (routed("bridge", &["0.0.0.0/0", "::/0"]), None),
        (routed("ipvlan", &["0.0.0.0/0", "::/0"]), None),
        (json!({"type": "ipvlan", "mode": "l3"}), None),
    ];
    let all = of_pod(&attachments(&confs));
    assert_eq!(all.len(), 3, "{all:?}");
    for warning in all.into_iter().chain([of_forwarding("enp0s31f6")]) {
        assert!(warning.what.len() < 300, "{}", warning.what);
    }
}

#[test]
fn a_masquerading_network_twice_in_a_pod_is_reported_unless_nftables_keeps_its_rules() {
    let network = |name: &str, masq: bool, backend: &str| {
        let conf =
            json!({"name": name, "type": "bridge", "ipMasq": masq, "ipMasqBackend": backend});
        (conf, None)
    };
    let twice = "net1 (n1) and net2 (n2) are both on network a, which masquerades by iptables";
    let first = || network("pods", true, "");
    for (confs, expected) in [
        (
            vec![first(), network("a", true, ""), network("a", true, "")],
            Some(twice),
        ),
        (
            vec![
                first(),
                network("a", true, "iptables"),
                network("a", true, "iptables"),
            ],
            Some(twice),
        ),
        (
            vec![
                first(),
                network("a", true, "nftables"),
                network("a", true, "nftables"),
            ],
            None,
        ),
        (
            vec![first(), network("a", false, ""), network("a", false, "")],
            None,
        ),
        (
            vec![first(), network("a", true, ""), network("b", true, "")],
            None,
        ),
    ] {
        let reported = texts(&confs);
        assert_eq!(
            reported.len(),
            usize::from(expected.is_some()),
            "{reported:?}"
        );
        let starts = |text: &String| expected.is_some_and(|start| text.starts_with(start));
        assert!(reported.iter().all(starts), "{reported:?}");
    }
}
