//! `bridge`: every key at least twice, both families, chains, versions, and values that are wrong.

use serde_json::{Value, json};

use super::row::Row;
use super::run::compare;

/// host-local with ranges of these subnets, in a folder of the side.
pub(crate) fn host_local(subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!([{"subnet": subnet}]))
        .collect();
    json!({"type": "host-local", "dataDir": "{data}", "ranges": ranges})
}

const V4: &str = "10.77.0.0/24";
const V6: &str = "fd00:77::/64";

fn dual() -> Value {
    host_local(&[V4, V6])
}

fn bridge(name: &str, more: Value) -> Row {
    let mut row = Row::new(name, json!({"type": "bridge", "bridge": "br7"}));
    for (key, value) in more.as_object().unwrap() {
        row.conf[key] = value.clone();
    }
    row
}

/// A reference plugin leaves the pair of links after an ADD that failed.
const LEFT: &str =
    "an ADD that fails removes the links that it made; the reference leaves them to DEL";

fn rows() -> Vec<Row> {
    let with_routes = |routes: Value| {
        let mut ipam = dual();
        ipam["routes"] = routes;
        ipam
    };
    let mut rows = vec![
        bridge("layer 2", json!({})),
        bridge("layer 2 in the default bridge", json!({"bridge": null})),
        bridge("layer 2 with an empty ipam", json!({"ipam": {}})),
        bridge("dual stack", json!({"ipam": dual()})),
        bridge("v4 only", json!({"ipam": host_local(&[V4])})),
        bridge("v6 only", json!({"ipam": host_local(&[V6])})),
        bridge(
            "gateway, dual stack",
            json!({"isGateway": true, "ipam": dual()}),
        ),
        bridge(
            "gateway, v4",
            json!({"isGateway": true, "ipam": host_local(&[V4])}),
        ),
        bridge(
            "gateway, v6",
            json!({"isGateway": true, "ipam": host_local(&[V6])}),
        ),
        bridge(
            "default gateway, dual stack",
            json!({"isDefaultGateway": true, "ipam": dual()}),
        ),
        bridge(
            "default gateway, v4",
            json!({"isDefaultGateway": true, "ipam": host_local(&[V4])}),
        ),
        bridge(
            "default gateway, v6",
            json!({"isDefaultGateway": true, "ipam": host_local(&[V6])}),
        ),
        bridge(
            "routes",
            json!({"isGateway": true, "ipam": with_routes(json!([{"dst": "192.0.2.0/24"}, {"dst": "2001:db8::/32"}]))}),
        ),
        bridge(
            "a route with gateway and metric",
            json!({"isGateway": true, "ipam": with_routes(json!([{"dst": "192.0.2.0/24", "gw": "10.77.0.9", "priority": 77}]))}),
        ),
        bridge(
            "a route in a table with scope",
            json!({"isGateway": true, "ipam": with_routes(json!([{"dst": "192.0.2.0/24", "table": 101, "scope": 0}]))}),
        ),
        bridge(
            "a default route of ipam without gateway",
            json!({"isGateway": true, "ipam": with_routes(json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]))}),
        ),
        bridge(
            "default gateway and a default route of ipam with gateway",
            json!({"isDefaultGateway": true, "ipam": with_routes(json!([{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}, {"dst": "::/0", "gw": "fd00:77::1"}]))}),
        ),
        bridge(
            "default gateway and a default route of ipam without gateway",
            json!({"isDefaultGateway": true, "ipam": with_routes(json!([{"dst": "0.0.0.0/0"}]))}),
        )
        .differs(
            "*",
            "the reference fails with `file exists`; the route of ipam means this gateway",
        ),
        bridge(
            "another address on the bridge",
            json!({"isGateway": true, "ipam": host_local(&[V4])}),
        )
        .host("link add br7 type bridge")
        .host("address add 192.0.2.1/24 dev br7")
        .differs("ADD", LEFT)
        .differs("GC", LEFT),
        bridge(
            "another address on the bridge, forced",
            json!({"isGateway": true, "forceAddress": true, "ipam": host_local(&[V4])}),
        )
        .host("link add br7 type bridge")
        .host("address add 192.0.2.1/24 dev br7"),
        bridge(
            "another v6 subnet on the bridge",
            json!({"isGateway": true, "ipam": host_local(&[V6])}),
        )
        .host("link add br7 type bridge")
        .host("address add fd00:88::1/64 dev br7"),
        bridge(
            "an overlapping v6 subnet, forced",
            json!({"isGateway": true, "forceAddress": true, "ipam": host_local(&[V6])}),
        )
        .host("link add br7 type bridge")
        .host("address add fd00:77::9/48 dev br7"),
        bridge(
            "the gateway is there already",
            json!({"isGateway": true, "ipam": dual()}),
        )
        .host("link add br7 type bridge")
        .host("address add 10.77.0.1/24 dev br7")
        .host("address add fd00:77::1/64 dev br7"),
        bridge("an mtu", json!({"mtu": 1400, "ipam": dual()})),
        bridge("an mtu of 0", json!({"mtu": 0, "ipam": dual()})),
        bridge(
            "an mtu below that of IPv6",
            json!({"mtu": 1000, "ipam": host_local(&[V4])}),
        ),
        bridge("hairpin", json!({"hairpinMode": true, "ipam": dual()})),
        bridge(
            "hairpin off",
            json!({"hairpinMode": false, "isGateway": true, "ipam": dual()}),
        ),
        bridge(
            "promiscuous",
            json!({"promiscMode": true, "isGateway": true, "ipam": dual()}),
        ),
        bridge("promiscuous, layer 2", json!({"promiscMode": true})),
        bridge(
            "hairpin and promiscuous",
            json!({"hairpinMode": true, "promiscMode": true}),
        ),
        bridge(
            "isolated ports",
            json!({"portIsolation": true, "ipam": dual()}),
        ),
        bridge(
            "isolated ports with hairpin",
            json!({"portIsolation": true, "hairpinMode": true}),
        ),
        bridge("a vlan", json!({"vlan": 100, "ipam": dual()})),
        bridge(
            "a vlan with gateway",
            json!({"vlan": 100, "isGateway": true, "ipam": dual()}),
        ),
        bridge(
            "a vlan beside the default one",
            json!({"vlan": 100, "preserveDefaultVlan": true}),
        ),
        bridge(
            "the default vlan removed",
            json!({"vlan": 100, "preserveDefaultVlan": false}),
        ),
        bridge(
            "a trunk",
            json!({"vlanTrunk": [{"id": 10}, {"minID": 20, "maxID": 22}]}),
        ),
        bridge(
            "a trunk with a native vlan",
            json!({"vlan": 100, "vlanTrunk": [{"minID": 20, "maxID": 22, "id": 30}]}),
        ),
        bridge("an empty trunk", json!({"vlanTrunk": []})),
        bridge("a trunk without end", json!({"vlanTrunk": [{"minID": 20}]})),
        bridge(
            "a trunk backwards",
            json!({"vlanTrunk": [{"minID": 22, "maxID": 20}]}),
        ),
        bridge("a trunk of no vlan", json!({"vlanTrunk": [{"id": 4095}]})),
        bridge("no vlan", json!({"vlan": 4095})),
        bridge("a negative vlan", json!({"vlan": -1})),
        bridge(
            "duplicate detection",
            json!({"enabledad": true, "isGateway": true, "ipam": host_local(&[V6])}),
        ),
        bridge(
            "duplicate detection, dual stack",
            json!({"enabledad": true, "ipam": dual()}),
        ),
        bridge(
            "an interface that stays down",
            json!({"disableContainerInterface": true}),
        ),
        bridge(
            "an interface that stays down with addresses",
            json!({"disableContainerInterface": true, "ipam": dual()}),
        ),
        bridge(
            "a hardware address of the runtime",
            json!({"runtimeConfig": {"mac": "02:00:00:00:00:11"}, "ipam": dual()}),
        ),
        bridge(
            "a hardware address of args",
            json!({"args": {"cni": {"mac": "02:00:00:00:00:12"}}}),
        ),
        bridge("a hardware address of CNI_ARGS", json!({"ipam": dual()}))
            .args("IgnoreUnknown=1;MAC=02:00:00:00:00:13"),
        bridge(
            "the runtime's hardware address wins",
            json!({"args": {"cni": {"mac": "02:00:00:00:00:12"}}, "runtimeConfig": {"mac": "02:00:00:00:00:11"}}),
        ),
        bridge(
            "no hardware address",
            json!({"runtimeConfig": {"mac": "nonsense"}}),
        )
        .differs("*", "it is refused before the bridge is made"),
        bridge(
            "own dns",
            json!({"dns": {"nameservers": ["10.77.0.53"], "domain": "example.com", "search": ["a.example.com"], "options": ["ndots:2"]}, "ipam": dual()}),
        ),
        bridge(
            "keys in capitals",
            json!({"ISGATEWAY": true, "Mtu": 1300, "ipam": dual()}),
        ),
        bridge(
            "null for absent",
            json!({"mtu": null, "vlanTrunk": null, "ipam": dual()}),
        ),
        bridge(
            "a key that nobody knows",
            json!({"futureKey": true, "ipam": dual()}),
        )
        .differs("GC", "the executable has no GC"),
        bridge(
            "masquerading, left to the executable",
            json!({"ipMasq": true, "ipMasqBackend": "nftables", "ipam": dual()}),
        )
        .differs("GC", "the executable has no GC"),
        bridge("a bridge that is none", json!({})).host("link add br7 type veth peer name other"),
        bridge("an interface that exists", json!({})).pod("link add eth0 type bridge"),
        bridge("text for a number", json!({"mtu": "1400"})),
        bridge("a number for a switch", json!({"isGateway": 1})),
        bridge("no name", json!({"name": ""})),
        bridge("a name that is a path", json!({"name": "../x"})),
        bridge("an unknown version", json!({"cniVersion": "9.9.9"})),
        bridge("ipam gives nothing", json!({"ipam": {"type": "static"}}))
            .differs("ADD", LEFT)
            .differs("GC", LEFT),
        bridge(
            "ipam is missing",
            json!({"ipam": {"type": "no-such-plugin"}}),
        )
        .differs("ADD", LEFT)
        .differs("GC", "GC asks the plugin of ipam, too"),
        bridge(
            "ipam is full",
            json!({"ipam": host_local(&["10.77.0.0/30"])}),
        ),
    ];
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let conf = json!({"cniVersion": version, "isDefaultGateway": true, "ipam": dual()});
        rows.push(bridge(&format!("version {version}"), conf));
    }
    rows
}

#[test]
fn bridge_is_as_the_reference() {
    compare("bridge", 40, rows());
}
