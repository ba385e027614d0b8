//! `ptp`: both families, gateways, hosts that route and that do not, and values that are wrong.

use serde_json::{Value, json};

use super::addressed::{self, EXECUTED, Leaves, V4, V6, but, dual, fixed};
use super::bridge::host_local;
use super::row::Row;
use super::run::compare;

/// What the reference does without `ipam`.
const NO_IPAM: &str =
    "without ipam no ADD was served, and DEL has nothing to do; the reference fails for ever";

/// What the reference leaves of an ADD that failed.
const LEFT: &str =
    "an ADD that fails leaves nothing; the reference leaves links, leases or forwarding";

fn rows() -> Vec<Row> {
    let base = Row::new("", json!({"type": "ptp"}));
    let row = |name: &str, more: Value| but(&base, name, more);
    // Without files that GC would touch.
    let still = || fixed(&[("10.77.0.9/24", "10.77.0.1")]);
    let mut rows = addressed::rows(&base, Leaves::Late);
    rows.extend([
        row("an mtu", json!({"mtu": 1400, "ipam": dual()})),
        row("an mtu of 0", json!({"mtu": 0, "ipam": host_local(&[V4])})),
        row("a negative mtu is none", json!({"mtu": -1, "ipam": host_local(&[V4])})),
        row("an mtu that is too large", json!({"mtu": 70000, "ipam": host_local(&[V4])})).differs("*", LEFT),
        row("text for a number", json!({"mtu": "1400", "ipam": still()})),
        row("a number for a switch", json!({"ipMasq": 1, "ipam": still()})),
        row("a number for a backend", json!({"ipMasqBackend": 1, "ipam": still()})),
        row("keys in capitals", json!({"MTU": 1300, "IPMASQ": false, "ipam": dual()})),
        row("masquerading, left to the executable", json!({"ipMasq": true, "ipMasqBackend": "nftables", "ipam": dual()})).differs("GC", EXECUTED),
        row("masquerading off", json!({"ipMasq": false, "ipMasqBackend": "iptables", "ipam": host_local(&[V6])})),
        row("an address of its own network", json!({"ipam": fixed(&[("10.77.0.9/32", "10.77.0.1")])})).differs("*", LEFT),
        row("an address of its own network of IPv6", json!({"ipam": fixed(&[("fd00:77::9/128", "fe80::1")])})),
        row("two addresses with one gateway", json!({"ipam": fixed(&[("10.77.0.9/24", "10.77.0.1"), ("10.77.0.10/24", "10.77.0.1")])})).differs("*", LEFT),
        row("an address without gateway", json!({"ipam": fixed(&[("10.77.0.9/24", "")])})).differs("*", LEFT),
        row("an address of IPv6 without gateway", json!({"ipam": fixed(&[("fd00:77::9/64", "")])})).differs("*", LEFT),
        row("one gateway of two", json!({"ipam": fixed(&[("10.77.0.9/24", "10.77.0.1"), ("fd00:77::9/64", "")])})).differs("*", LEFT),
        row("a gateway outside the subnet", json!({"ipam": fixed(&[("10.77.0.9/24", "10.88.0.1")])})),
        row("a host that has the route", json!({"ipam": host_local(&[V4])}))
            .host("link add up0 type veth peer name up1")
            .host("link set up0 up")
            .host("route add 10.77.0.2/32 dev up0 scope host"),
        row("a host that has the gateway's address", json!({"ipam": host_local(&[V4])}))
            .host("link add up0 type veth peer name up1")
            .host("address add 10.77.0.1/24 dev up0"),
        row("no ipam", json!({}))
            .differs("DEL", NO_IPAM)
            .differs("DEL again", NO_IPAM)
            .differs("DEL of what is gone", NO_IPAM)
            .differs("DEL without CNI_NETNS", NO_IPAM),
        row("an empty ipam", json!({"ipam": {}}))
            .differs("DEL", NO_IPAM)
            .differs("DEL again", NO_IPAM)
            .differs("DEL of what is gone", NO_IPAM)
            .differs("DEL without CNI_NETNS", NO_IPAM),
    ]);
    rows
}

#[test]
fn ptp_is_as_the_reference() {
    compare("ptp", 40, rows());
}
