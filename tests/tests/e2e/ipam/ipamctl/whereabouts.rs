//! What whereabouts holds becomes pools and leases, and ends with it: `ipamctl import whereabouts`.

use serde_json::{Value, json};

use super::{Bench, json, text};
use crate::ipam::meta_ipam::{MetaIpam, good};

/// An IPPool object as whereabouts writes it.
fn ip_pool(name: &str, range: &str, allocations: Value) -> Value {
    json!({
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"range": range, "allocations": allocations}
    })
}

/// The same of a reservation.
fn reservation(name: &str, container: &str, pod: &str) -> Value {
    json!({
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"containerid": container, "podref": pod, "ifname": "net1"}
    })
}

fn holder(container: &str, pod: &str) -> Value {
    json!({"id": container, "podref": pod, "ifname": "net1"})
}

/// A network of namespace `default` whose configuration has no name.
fn network(name: &str, ipam: Value) -> Value {
    let config = json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": ipam}).to_string();
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"config": config}
    })
}

/// A pod of namespace `default` on node `n1`, with the interface `net1`.
fn pod(name: &str, network: &str, ips: &[&str]) -> Value {
    let status = json!([{"name": network, "interface": "net1", "ips": ips}]).to_string();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": {"k8s.v1.cni.cncf.io/network-status": status}},
        "spec": {"nodeName": "n1"}
    })
}

fn dump(bench: &Bench, name: &str, items: &[Value]) -> String {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    bench.file(name, &list.to_string())
}

/// The addresses of all leases that hold, and who has them.
fn held(bench: &Bench) -> Vec<String> {
    let leases = bench.json("lease list --state active")["leases"].clone();
    let line = |lease: &Value| {
        let owner = &lease["owner"];
        let fields = [
            &lease["ipv4"],
            &lease["ipv6"],
            &owner["containerId"],
            &owner["network"],
            &owner["node"],
        ];
        let fields = fields.map(|field| field.as_str().unwrap_or_default());
        fields.join(" ").trim().to_owned()
    };
    let mut held: Vec<_> = leases
        .as_array()
        .expect("a list")
        .iter()
        .map(line)
        .collect();
    held.sort();
    held
}

#[test]
fn what_whereabouts_holds_becomes_pools_and_leases() {
    let bench = Bench::new();
    let allocations = || json!({"9": holder("c1", "default/web-0")});
    let file = dump(
        &bench,
        "ippools.json",
        &[
            ip_pool("10.30.0.0-24", "10.30.0.0/24", allocations()),
            ip_pool("fd00-30---64", "fd00:30::/64", allocations()),
        ],
    );
    let missing = bench.fails(&format!("import whereabouts {file}"), 2);
    assert!(
        missing.contains("no pool of VRF default contains 10.30.0.0/24"),
        "{missing}"
    );
    let line = format!("import whereabouts {file} --pool-prefix wb-");
    assert_eq!(bench.json(&line), json!({"imported": "2"}));
    assert_eq!(
        bench.json(&line),
        json!({"unchanged": "1"}),
        "the pool is there now"
    );
    let leases = bench.json("lease list")["leases"].clone();
    assert_eq!(leases.as_array().map(Vec::len), Some(1), "{leases}");
    let lease = &leases[0];
    assert_eq!(
        [
            text(&lease["ipv4"]),
            text(&lease["ipv6"]),
            text(&lease["owner"]["pod"])
        ],
        ["10.30.0.9/24", "fd00:30::9/64", "web-0"]
    );
    assert!(bench.done("whohas fd00:30::9").contains("default/web-0"));
}

#[test]
fn each_bad_entry_is_reported_with_its_place_and_everything_else_is_imported() {
    let bench = Bench::new();
    let file = dump(
        &bench,
        "dump.json",
        &[
            ip_pool(
                "10.61.0.0-24",
                "10.61.0.0/24",
                json!({
                    "18446463705355360228": holder("c0", "ns/lost"), "7": holder("c1", "ns/good"), "8": null,
                    "0": holder("c5", "ns/network")
                }),
            ),
            ip_pool("broken", "10.62.0.0", json!({"9": holder("c2", "ns/x")})),
            ip_pool("10.63.0.0-24", "10.63.0.0/24", json!(null)),
            reservation("10.63.0.6", "c3", "ns/p5"),
            reservation("10.99.0.6", "c4", "ns/p6"),
        ],
    );
    let done = bench.run(&format!(
        "import whereabouts {file} --pool-prefix wb- -o json"
    ));
    assert_eq!(done.code, Some(1), "{done:?}");
    let shown = json(&done.out);
    assert_eq!(
        (&shown["imported"], &shown["conflicts"]),
        (&json!("4"), &json!("5")),
        "{shown}"
    );
    for words in [
        "IPPool 10.61.0.0-24, allocation 18446463705355360228 (pod ns/lost): it is not an offset in 10.61.0.0/24",
        "IPPool 10.61.0.0-24, allocation 8: it names no holder",
        "IPPool broken: range 10.62.0.0 is not a CIDR",
        "10.99.0.6: no range of the file and no pool of VRF default contains it",
        "lease 10.61.0.0/24 of pod ns/network: 10.61.0.0 is not in the ranges of wb-10.61.0.0-24",
        "5 items are not imported",
    ] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    let shown: Vec<_> = held(&bench)
        .into_iter()
        .map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(
        shown,
        [
            Some("10.61.0.7/24".to_owned()),
            Some("10.63.0.6/24".to_owned())
        ]
    );
    bench.done("check");
}

#[test]
fn networks_and_pods_set_what_the_pools_lease_and_whose_the_leases_are() {
    let bench = Bench::new();
    let ipam = json!({
        "type": "whereabouts", "gateway": "10.30.0.1",
        "ipRanges": [
            {"range": "10.30.0.0/16", "range_start": "10.30.0.10", "range_end": "10.30.0.20", "exclude": ["10.30.0.12/32"]},
            {"range": "fd00:30::/64"}
        ],
        "routes": [{"dst": "10.0.0.0/8"}]
    });
    let file = dump(
        &bench,
        "dump.json",
        &[
            ip_pool(
                "10.30.0.0-16",
                "10.30.0.0/16",
                json!({"10": holder("c1", "default/web-0")}),
            ),
            ip_pool(
                "fd00-30---64",
                "fd00:30::/64",
                json!({"1": holder("c1", "default/web-0")}),
            ),
            ip_pool(
                "10.30.0.0-28",
                "10.30.0.0/28",
                json!({"11": holder("c2", "default/web-1")}),
            ),
            network("storage", ipam),
            network(
                "small",
                json!({"type": "whereabouts", "range": "10.30.0.0/28", "range_start": "10.30.0.10"}),
            ),
            pod("web-0", "default/storage", &["10.30.0.10", "fd00:30::1"]),
        ],
    );
    let done = bench.run(&format!(
        "import whereabouts {file} --pool-prefix wb- -o json"
    ));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.err
            .contains("10.30.0.0/28 is inside of 10.30.0.0/16: one pool leases both"),
        "{done:?}"
    );
    assert_eq!(
        held(&bench),
        [
            "10.30.0.10/16 fd00:30::1/64 c1 default/storage n1",
            "10.30.0.11/16  c2 default/small",
        ]
    );
    let pool = bench.json("pool get wb-10.30.0.0-16");
    assert_eq!(
        pool["ipv4"]["ranges"],
        json!(["10.30.0.10-10.30.0.20"]),
        "{pool}"
    );
    assert_eq!(pool["ipv4"]["gateway"], "10.30.0.1");
    assert_eq!(pool["ipv4"]["routes"][0]["dst"], "10.0.0.0/8");
    assert_eq!(pool["ipv6"]["cidr"], "fd00:30::/64");
    // DEL and GC of meta-ipam find them by the network that meta-cni files leases under.
    let meta_ipam = |command: &str, container: &str, mut more: Value| {
        more["name"] = "default/storage".into();
        let server = MetaIpam::of(&bench.server.socket(), bench.server.folder());
        good(server.run(command, container, more));
    };
    meta_ipam("DEL", "c9", json!({}));
    assert_eq!(held(&bench).len(), 2);
    meta_ipam("GC", "", json!({"cni.dev/valid-attachments": []}));
    assert_eq!(held(&bench), ["10.30.0.11/16  c2 default/small"]);
    bench.done("check");
}

#[test]
fn each_network_name_gets_pools_of_its_own_vrf() {
    let bench = Bench::new();
    let file = dump(
        &bench,
        "dump.json",
        &[
            ip_pool(
                "10.30.0.0-24",
                "10.30.0.0/24",
                json!({"9": holder("c1", "ns/a")}),
            ),
            ip_pool(
                "blue-10.30.0.0-24",
                "10.30.0.0/24",
                json!({"9": holder("c2", "ns/b")}),
            ),
        ],
    );
    let line = format!("import whereabouts {file} --pool-prefix wb-");
    assert_eq!(bench.json(&line), json!({"imported": "4"}));
    assert_eq!(bench.json(&line), json!({"unchanged": "2"}));
    let shown = bench.json("whohas 10.30.0.9 --vrf blue");
    assert_eq!(shown["leases"][0]["owner"]["containerId"], "c2", "{shown}");
    assert_eq!(shown["leases"][0]["pool"], "wb-blue-10.30.0.0-24");
}

#[test]
fn an_import_that_is_repeated_ends_what_whereabouts_has_no_more_and_nothing_else() {
    let bench = Bench::new();
    let of = |offsets: &[&str]| -> Value {
        let each = offsets.iter().map(|offset| {
            let container = format!("c{offset}");
            (
                (*offset).to_owned(),
                holder(&container, &format!("ns/p{offset}")),
            )
        });
        Value::Object(each.collect())
    };
    let first = dump(
        &bench,
        "first.json",
        &[
            ip_pool("10.30.0.0-24", "10.30.0.0/24", of(&["7", "8", "9"])),
            ip_pool(
                "10.31.0.0-24",
                "10.31.0.0/24",
                json!({"7": holder("d7", "ns/q7")}),
            ),
            reservation("10.30.0.20", "c20", "ns/p20"),
        ],
    );
    let imported = |file: &str, more: &str| {
        let done = bench.run(&format!(
            "import whereabouts {file} --pool-prefix wb- {more} -o json"
        ));
        (done.code, json(&done.out))
    };
    assert_eq!(imported(&first, "").1["imported"], "7");
    bench.done("lease allocate --pool wb-10.30.0.0-24 --claim mine");
    // Of what the file has no range of, of reservations if it has none, and of an entry that is in doubt, nothing is gone.
    let mut pool = ip_pool("10.30.0.0-24", "10.30.0.0/24", of(&["8"]));
    pool["spec"]["allocations"]["9"] = Value::Null;
    let second = dump(&bench, "second.json", &[pool]);
    let (code, shown) = imported(&second, "");
    assert_eq!(
        (code, &shown["released"]),
        (Some(1), &json!("1")),
        "{shown}"
    );
    let addresses = |held: Vec<String>| -> Vec<String> {
        let each = held.into_iter();
        each.filter_map(|line| line.split('/').next().map(str::to_owned))
            .collect()
    };
    let stay = ["10.30.0.20", "10.30.0.8", "10.30.0.9", "10.31.0.7"];
    let held_now = addresses(held(&bench));
    assert!(
        stay.iter()
            .all(|address| held_now.iter().any(|held| held == address)),
        "{held_now:?}"
    );
    assert_eq!(held_now.len(), 5, "with the claim's: {held_now:?}");
    // Another cluster's file says nothing of this one's leases.
    let third = dump(
        &bench,
        "third.json",
        &[
            ip_pool("10.30.0.0-24", "10.30.0.0/24", json!({})),
            reservation("10.31.0.50", "c50", "ns/p50"),
        ],
    );
    let (_, shown) = imported(&third, "--cluster other");
    assert_eq!(shown["released"], Value::Null, "{shown}");
    let (_, shown) = imported(&third, "");
    assert_eq!(shown["released"], "3", "{shown}");
    bench.done("check");
}
