use cni::netconf::NetConfList;
use cni::result::CniResult;
use cni::version::Version;
use serde_json::{Value, json};

use super::*;
use crate::attachment::Attachment;
use crate::record::Phase;
use crate::test_netns::TestNetns;

const MTUS: Open = Open {
    mtus: true,
    addresses: false,
};
const ADDRESSES: Open = Open {
    mtus: false,
    addresses: true,
};
/// Longer than any detection takes.
const LONG: Duration = Duration::from_secs(600);

fn netlink(netns: &TestNetns) -> Netlink {
    visit(&netns.path(), || ()).unwrap().0
}

/// A record of one attachment for each of these lists of interfaces.
fn record(netns: &TestNetns, results: &[Value]) -> Record {
    let path = netns.path().display().to_string();
    let attachment = |index: usize| Attachment {
        network: format!("default/n{index}"),
        ifname: format!("net{index}"),
        args: String::new(),
        list: NetConfList::from_value(json!({ "name": "n", "type": "bridge" })).unwrap(),
        check_by_plugins: false,
        default_route: None,
        device: None,
        device_info_file: None,
    };
    let attachments = (0..results.len()).map(attachment).collect();
    let mut record = Record::planned("c1", &path, None, attachments);
    for (entry, result) in record.attachments.iter_mut().zip(results) {
        let mut result = result.clone();
        result["cniVersion"] = json!("1.1.0");
        entry.phase = Phase::Added;
        entry.result = Some(CniResult::from_value(&result, Version::LATEST).unwrap());
    }
    record
}

#[test]
fn an_mtu_that_no_result_says_is_the_kernels() {
    let netns = TestNetns::new();
    let here = netns.path();
    netns.ip("link add net0 mtu 1400 type veth peer name peer0");
    let mut record = record(
        &netns,
        &[
            json!({ "interfaces": [{ "name": "host0" }, { "name": "net0", "sandbox": here }] }),
            json!({ "interfaces": [{ "name": "net0", "sandbox": here, "mtu": 9000 }] }),
            json!({ "interfaces": [{ "name": "vf", "sandbox": here }, { "name": "dummy1", "sandbox": "0" }] }),
        ],
    );
    let questions = Questions::of(&record, MTUS);
    settle(
        &mut netlink(&netns),
        &mut record,
        &questions,
        Duration::ZERO,
    )
    .unwrap();
    let shown: Vec<_> = record
        .attachments
        .iter()
        .flat_map(|entry| entry.result.iter().flat_map(|result| &result.interfaces))
        .map(|interface| (interface.name.as_str(), interface.mtu))
        .collect();
    assert_eq!(
        shown,
        [
            ("host0", None),
            ("net0", Some(1400)),
            ("net0", Some(9000)),
            ("vf", None),
            ("dummy1", None),
        ]
    );
}

#[test]
fn nothing_is_asked_when_results_leave_nothing_open() {
    let netns = TestNetns::new();
    let said = json!({ "name": "net0", "sandbox": netns.path(), "mtu": 1500 });
    let record = record(
        &netns,
        &[json!({ "interfaces": [{ "name": "host0" }, said] })],
    );
    assert!(Questions::of(&record, MTUS).is_empty());
    assert!(Questions::of(&record, ADDRESSES).is_empty());
}

#[test]
fn the_ipv6_addresses_of_interfaces_in_the_pod_are_asked_for() {
    let netns = TestNetns::new();
    let here = netns.path();
    let cases = [
        (
            "by its interface",
            json!({
                "interfaces": [{ "name": "host0" }, { "name": "net0", "sandbox": here }],
                "ips": [
                    { "address": "fd00::1/64", "interface": 0 },
                    { "address": "fd00::2/64", "interface": 1 },
                    { "address": "10.0.0.2/24", "interface": 1 },
                ],
            }),
            vec![("net0", "fd00::2")],
        ),
        (
            "by the first of the pod",
            json!({
                "interfaces": [{ "name": "host0" }, { "name": "a", "sandbox": here }, { "name": "b", "sandbox": here }],
                "ips": [{ "address": "fd00::2/64" }],
            }),
            vec![("a", "fd00::2")],
        ),
        (
            "by the name that the plugin was given",
            json!({ "ips": [{ "address": "fd00::2/64" }] }),
            vec![("net0", "fd00::2")],
        ),
        (
            "of no interface of the pod",
            json!({
                "interfaces": [{ "name": "dummy1", "sandbox": "0" }],
                "ips": [{ "address": "fd00::2/64" }],
            }),
            vec![],
        ),
    ];
    for (name, result, expected) in cases {
        let questions = Questions::of(&record(&netns, &[result]), ADDRESSES);
        let asked = questions.0.iter().flat_map(|one| {
            let addresses = one.addresses.iter();
            addresses.map(|address| (one.name.as_str(), address.to_string()))
        });
        let expected = expected
            .iter()
            .map(|(name, address)| (*name, (*address).to_owned()));
        assert_eq!(
            asked.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{name}"
        );
    }
}

/// `net0` and `peer0`, two ends of one link.
fn link() -> TestNetns {
    let netns = TestNetns::new();
    netns.ip("link add net0 type veth peer name peer0");
    netns.ip("link set net0 up");
    netns
}

fn wait(netns: &TestNetns, addresses: &[&str], limit: Duration) -> Result<(), SettleError> {
    let ips: Vec<Value> = addresses
        .iter()
        .map(|one| json!({ "address": one, "interface": 0 }))
        .collect();
    let interface = json!({ "name": "net0", "sandbox": netns.path() });
    let mut record = record(netns, &[json!({ "interfaces": [interface], "ips": ips })]);
    let questions = Questions::of(&record, ADDRESSES);
    settle(&mut netlink(netns), &mut record, &questions, limit)
}

#[test]
fn addresses_can_be_used_after_the_wait() {
    let netns = link();
    netns.ip("link set peer0 up");
    netns.ip("-6 addr add fd00::5/64 dev net0");
    netns.ip("-6 addr add fd00::6/64 dev net0");
    wait(&netns, &["fd00::5/64", "fd00::6/64", "fd00::7/64"], LONG).unwrap();
    assert_eq!(netns.ip("-6 addr show dev net0 scope global tentative"), "");
}

#[test]
fn an_address_that_another_host_has_is_named_with_its_interface_and_network() {
    let netns = link();
    netns.ip("link set peer0 up");
    netns.ip("-6 addr add fd00::6/64 dev peer0 nodad");
    netns.ip("-6 addr add fd00::5/64 dev net0");
    netns.ip("-6 addr add fd00::6/64 dev net0");
    let error = wait(&netns, &["fd00::5/64", "fd00::6/64"], LONG)
        .unwrap_err()
        .to_string();
    for word in ["default/n0", "net0", "fd00::6"] {
        assert!(error.contains(word), "{error}");
    }
    assert!(error.len() < 300);
}

#[test]
fn neither_an_interface_without_a_carrier_nor_the_end_of_the_time_is_an_error() {
    let netns = link();
    netns.ip("-6 addr add fd00::5/64 dev net0");
    // Ends although nothing ever ends the detection.
    wait(&netns, &["fd00::5/64"], LONG).unwrap();
    netns.ip("link set peer0 up");
    wait(&netns, &["fd00::5/64"], Duration::ZERO).unwrap();
}
