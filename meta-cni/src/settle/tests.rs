use serde_json::{Value, json};

use super::*;
use crate::cni::netconf::NetConfList;
use crate::cni::result::CniResult;
use crate::cni::version::Version;
use crate::netns::tests::TestNetns;
use crate::plan::Attachment;
use crate::record::Phase;

/// A record of one attachment for each of these lists of interfaces.
fn record(netns: &TestNetns, results: &[Value]) -> Record {
    let path = netns.path().display().to_string();
    let attachment = |index: usize| Attachment {
        network: format!("default/n{index}"),
        ifname: format!("net{index}"),
        args: String::new(),
        list: NetConfList::from_value(json!({ "name": "n", "type": "bridge" })).unwrap(),
        default_route: None,
        device: None,
        device_info_file: None,
    };
    let attachments = (0..results.len()).map(attachment).collect();
    let mut record = Record::planned("c1", &path, "", None, attachments);
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
    let questions = Questions::of(&record);
    settle(&mut record, &questions).unwrap();
    let told: Vec<_> = record
        .attachments
        .iter()
        .flat_map(|entry| entry.result.iter().flat_map(|result| &result.interfaces))
        .map(|interface| (interface.name.as_str(), interface.mtu))
        .collect();
    assert_eq!(
        told,
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
    assert!(Questions::of(&record).is_empty());
}
