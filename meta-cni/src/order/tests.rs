use cni::netconf::NetConfList;
use serde_json::json;

use super::*;

/// Attachments `eth0`, `net1`, `net2` … with these configurations.
fn attachments(confs: &[Value]) -> Vec<Attachment> {
    let attachment = |(index, conf): (usize, &Value)| Attachment {
        network: format!("shop/n{index}"),
        ifname: match index {
            0 => "eth0".to_owned(),
            index => format!("net{index}"),
        },
        args: String::new(),
        list: NetConfList::from_value(conf.clone()).unwrap(),
        check_by_plugins: false,
        default_route: None,
        device: None,
        device_info_file: None,
    };
    confs.iter().enumerate().map(attachment).collect()
}

fn plain() -> Value {
    json!({"type": "bridge"})
}

fn named_net(name: &str) -> Value {
    json!({"name": name, "type": "bridge"})
}

fn over(master: &str) -> Value {
    json!({"type": "macvlan", "linkInContainer": true, "master": master})
}

fn bond(links: &[&str]) -> Value {
    let links: Vec<_> = links.iter().map(|link| json!({"name": link})).collect();
    json!({"type": "bond", "linksInContainer": true, "links": links})
}

#[test]
fn an_attachment_stands_on_those_whose_interfaces_its_plugins_name() {
    let chained = json!({"plugins": [{"type": "bridge"}, over("net1")]});
    let of_the_host = json!({"type": "macvlan", "master": "net1"});
    let bond_of_the_host = json!({"type": "bond", "links": [{"name": "net1"}]});
    let any_case = json!({"type": "vlan", "LinkInContainer": true, "MASTER": "net1"});
    let named = json!({
        "type": "bond", "ifname": "bond0", "linksInContainer": true,
        "links": [{"name": "net1"}, {}, 7, {"name": ""}],
    });
    let none: Vec<usize> = Vec::new();
    for (case, confs, last) in [
        ("nothing", vec![plain(), plain()], none.clone()),
        ("the default network", vec![plain(), over("eth0")], vec![0]),
        (
            "an earlier one",
            vec![plain(), plain(), over("net1")],
            vec![1],
        ),
        (
            "a bond over two",
            vec![plain(), plain(), plain(), plain(), bond(&["net3", "net1"])],
            vec![1, 3],
        ),
        (
            "the same twice",
            vec![plain(), plain(), bond(&["net1", "net1"])],
            vec![1],
        ),
        ("a chained plugin", vec![plain(), plain(), chained], vec![1]),
        (
            "an earlier one of the same network",
            vec![plain(), named_net("n"), named_net("m"), named_net("n")],
            vec![1],
        ),
        (
            "a master of the host",
            vec![plain(), plain(), of_the_host],
            none.clone(),
        ),
        (
            "links of the host",
            vec![plain(), plain(), bond_of_the_host],
            none.clone(),
        ),
        (
            "keys in any case",
            vec![plain(), plain(), any_case],
            vec![1],
        ),
        (
            "a name of its own",
            vec![plain(), plain(), named, over("bond0")],
            vec![2],
        ),
        ("loopback", vec![plain(), over("lo")], none),
        (
            "an interface that nobody is known to make",
            vec![plain(), plain(), over("ovn-udn1")],
            vec![0, 1],
        ),
    ] {
        let all = attachments(&confs);
        let found = dependences(&all.iter().collect::<Vec<_>>());
        assert_eq!(found.last(), Some(&last), "{case}");
    }
}

#[test]
fn what_a_record_has_lost_keeps_nothing_from_being_deleted() {
    let all = attachments(&[plain(), over("net3"), plain(), over("net1"), over("net9")]);
    let left = [&all[1], &all[3]];
    assert_eq!(dependences(&left), [vec![], vec![0]]);
    assert_eq!(levels(&left), [[0], [1]]);
    let left = [&all[3], &all[2], &all[4]];
    assert_eq!(levels(&left), [vec![0], vec![1], vec![2]]);
}

#[test]
fn levels_keep_independent_attachments_side_by_side() {
    for (case, confs, expected) in [
        ("no attachment", vec![], vec![]),
        ("the default network", vec![plain()], vec![vec![0]]),
        (
            "independent ones",
            vec![plain(), plain(), plain(), over("eth0")],
            vec![vec![0], vec![1, 2, 3]],
        ),
        (
            "a bond beside another",
            vec![plain(), plain(), plain(), bond(&["net1", "net2"]), plain()],
            vec![vec![0], vec![1, 2, 4], vec![3]],
        ),
        (
            "a vlan over a bond over two",
            vec![
                plain(),
                plain(),
                plain(),
                bond(&["net1", "net2"]),
                over("net3"),
            ],
            vec![vec![0], vec![1, 2], vec![3], vec![4]],
        ),
    ] {
        let all = attachments(&confs);
        assert_eq!(levels(&all.iter().collect::<Vec<_>>()), expected, "{case}");
    }
}

#[test]
fn what_no_order_can_serve_is_refused() {
    let unknown = json!({"type": "ovn-k8s-cni-overlay"});
    for (case, confs, expected) in [
        ("an earlier one", vec![plain(), plain(), over("net1")], None),
        (
            "a later one",
            vec![plain(), over("net2"), plain()],
            Some(
                "network shop/n1: its master net2 is the interface of network shop/n2, which comes \
                 later; ask for shop/n2 before it",
            ),
        ),
        (
            "a circle",
            vec![plain(), over("net2"), over("net1")],
            Some("network shop/n1: its master net2 is the interface of network shop/n2"),
        ),
        (
            "itself",
            vec![plain(), bond(&["net1"])],
            Some("network shop/n1: its link net1 is its own interface"),
        ),
        (
            "the default network on another",
            vec![over("net1"), plain()],
            Some("network shop/n0: its master net1 is the interface of network shop/n1"),
        ),
        (
            "nobody's",
            vec![plain(), plain(), over("net7")],
            Some(
                "network shop/n2: its master net7 is no interface of the pod, which has lo, eth0, \
                 net1 before it; correct master",
            ),
        ),
        (
            "nobody's, on which the default network stands",
            vec![over("net7")],
            Some(
                "network shop/n0: its master net7 is no interface of the pod, which has lo before",
            ),
        ),
        (
            "one that a plugin of its own ways may have made",
            vec![unknown.clone(), over("ovn-udn1")],
            None,
        ),
        (
            "one that an earlier plugin of the list has made",
            vec![plain(), json!({"plugins": [plain(), over("net1")]})],
            None,
        ),
    ] {
        let all = attachments(&confs);
        let found = problems(&all.iter().collect::<Vec<_>>());
        let found = found.first();
        let text = found.map(|problem| format!("{}: {}", problem.subject, problem.what));
        match expected {
            None => assert_eq!(text, None, "{case}"),
            Some(start) => assert!(
                text.as_ref().unwrap().starts_with(start),
                "{case}: {text:?}"
            ),
        }
    }
}
