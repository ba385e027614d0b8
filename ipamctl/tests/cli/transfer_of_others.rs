//! Import of what other plugins hold.

use serde_json::Value;

use crate::harness::Bench;

/// The lease that holds an address.
fn lease(bench: &Bench, address: &str) -> Value {
    bench.json(&format!("whohas {address}"))["leases"][0].clone()
}

#[test]
fn what_host_local_holds_becomes_leases() {
    let bench = Bench::with_lease();
    bench.file("net/10.20.0.9", "abc\r\neth0");
    bench.file("net/fd00:20::9", "abc\r\neth0");
    bench.file("net/10.99.0.9", "other\r\neth0");
    bench.file("net/last_reserved_ip.0", "10.20.0.9");
    let folder = bench.path("net").display().to_string();
    let done = bench.run(&format!("import host-local {folder} --pool blue -o json"));
    assert_eq!(done.code, Some(1), "{done:?}");
    let expected = "10.99.0.9 is not in the networks of pool blue";
    assert!(done.err.contains(expected), "{done:?}");
    let lease = lease(&bench, "10.20.0.9");
    assert_eq!(
        (&lease["ipv6"], &lease["owner"]["network"]),
        (&"fd00:20::9/64".into(), &"net".into())
    );
}

#[test]
fn what_whereabouts_holds_becomes_pools_and_leases() {
    let bench = Bench::new();
    let file = bench.file(
        "ippools.yaml",
        "kind: List\nitems:\n- {kind: IPPool, metadata: {name: 10.30.0.0-24}, spec: {range: 10.30.0.0/24, allocations: {'9': {id: abc, podref: default/web-0, ifname: net1}}}}\n",
    );
    let error = bench.fails(&format!("import whereabouts {file}"), 2);
    let expected = "no pool of VRF default contains 10.30.0.0/24";
    assert!(error.contains(expected), "{error}");
    bench.done(&format!(
        "import whereabouts {file} --pool-prefix wb- --network net"
    ));
    bench.done("pool get wb-10.30.0.0-24");
    let lease = lease(&bench, "10.30.0.9");
    assert_eq!(lease["owner"]["network"], "net", "{lease}");
    assert_eq!(lease["labels"]["meta-cni.io/imported-from"], "whereabouts");
}
