use serde_json::{Value, json};

use super::*;
use crate::cni::result::CniResult;
use crate::cni::version::Version;

const NETNS: &str = "/run/netns/pod";

fn interface(value: Value) -> Interface {
    let result = json!({ "cniVersion": "1.1.0", "interfaces": [value] });
    let mut result = CniResult::from_value(&result, Version::LATEST).unwrap();
    result.interfaces.remove(0)
}

#[test]
fn only_kernel_links_of_this_namespace_are_looked_for() {
    let cases = [
        ("a link of the pod", json!({ "sandbox": NETNS }), true),
        ("a link of the host", json!({}), false),
        ("nowhere", json!({ "sandbox": "0", "mac": "0" }), false),
        (
            "another namespace",
            json!({ "sandbox": "/run/netns/other" }),
            false,
        ),
        (
            "DPDK",
            json!({ "sandbox": NETNS, "pciID": "0000:3b:02.1" }),
            false,
        ),
        (
            "vhost-user",
            json!({ "sandbox": NETNS, "socketPath": "/run/v.sock" }),
            false,
        ),
    ];
    for (name, mut value, expected) in cases {
        value["name"] = json!("net1");
        let found = is_link_of_pod(&interface(value), &["/proc/7/ns/net", NETNS]);
        assert_eq!(found, expected, "{name}");
    }
}
