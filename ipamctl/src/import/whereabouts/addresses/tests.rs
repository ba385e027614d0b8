//! Dumps, and what is held according to them.

use serde_json::{Value, json};

use super::*;

fn args() -> WhereaboutsArgs {
    WhereaboutsArgs::default()
}

fn found(items: Value, args: &WhereaboutsArgs) -> Found {
    let dump = Dump::read(&json!({ "items": items }).to_string()).expect("a dump");
    assert!(dump.problems.is_empty(), "{:?}", dump.problems);
    find(&dump, args)
}

fn pool(name: &str, range: &str, allocations: Value) -> Value {
    json!({"kind": "IPPool", "metadata": {"name": name}, "spec": {"range": range, "allocations": allocations}})
}

fn reservation(name: &str, spec: Value) -> Value {
    json!({"kind": "OverlappingRangeIPReservation", "metadata": {"name": name}, "spec": spec})
}

fn network(name: &str, config: Value) -> Value {
    json!({"kind": "NetworkAttachmentDefinition", "metadata": {"name": name, "namespace": "ns"},
        "spec": {"config": config.to_string()}})
}

/// A pod of namespace ns on node n1 with one interface.
fn pod_with(name: &str, network: &str, ips: &[&str]) -> Value {
    let status = json!([{"name": network, "interface": "net1", "ips": ips}]).to_string();
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"),
        "annotations": {"k8s.v1.cni.cncf.io/network-status": status}}, "spec": {"nodeName": "n1"}})
}

/// Address, container, network and node of all that is held.
fn lines(found: &Found) -> Vec<String> {
    let line = |one: &Held| {
        let holder = &one.holder;
        format!(
            "{} {} {} {}",
            one.address, holder.container, holder.network, holder.node
        )
    };
    found.held.iter().map(line).collect()
}

#[test]
fn an_entry_that_makes_no_sense_is_reported_with_its_place_and_the_others_are_read() {
    let allocations = json!({
        "18446463705355360228": {"id": "lost", "podref": "ns/lost"}, "256": {"id": "beyond"}, "-1": {"id": "before"},
        "x": {"id": "x"}, "5": null, "6": {"podref": ""}, "7": {"id": "a", "podref": "ns/good", "ifname": "net1"},
        "8": {"id": 8},
    });
    let found = found(
        json!([pool("10.61.0.0-24", "10.61.0.0/24", allocations)]),
        &args(),
    );
    assert_eq!(lines(&found), ["10.61.0.7 a 10.61.0.0-24 "]);
    assert_eq!(found.problems.len(), 7, "{:?}", found.problems);
    for (key, words) in [
        (
            "18446463705355360228",
            "(pod ns/lost): it is not an offset in 10.61.0.0/24",
        ),
        ("256", "(container beyond): it is not an offset"),
        ("-1", "it is not an offset"),
        ("x", "it is not an offset"),
        ("5", "it names no holder"),
        ("6", "it names neither a container nor a pod"),
        ("8", "id: invalid type"),
    ] {
        let place = format!("IPPool 10.61.0.0-24, allocation {key}");
        let problem = found.problems.iter().find(|one| one.starts_with(&place));
        assert!(
            problem.is_some_and(|problem| problem.contains(words)),
            "{key}: {:?}",
            found.problems
        );
    }
}

#[test]
fn what_only_a_reservation_has_is_held_too() {
    let items = json!([
        pool(
            "10.63.0.0-24",
            "10.63.0.0/24",
            json!({"5": {"id": "a", "podref": "ns/p4", "ifname": "net1"}})
        ),
        pool("blue-10.63.0.0-24", "10.63.0.0/24", json!(null)),
        reservation("10.63.0.5", json!({"containerid": "a", "podref": "ns/p4"})),
        reservation(
            "10.63.0.6",
            json!({"containerid": "b", "podref": "ns/p5", "ifname": "net2"})
        ),
        reservation("blue-10.63.0.7", json!({"podref": "ns/p6"})),
        reservation("nothing", json!({"podref": "ns/p7"})),
    ]);
    let found = found(items, &args());
    assert_eq!(
        lines(&found),
        [
            "10.63.0.5 a 10.63.0.0-24 ",
            "10.63.0.6 b 10.63.0.0-24 ",
            "10.63.0.7  blue "
        ]
    );
    let summary: Vec<_> = found
        .held
        .iter()
        .map(|one| (one.source, one.vrf.as_str()))
        .collect();
    assert_eq!(
        summary,
        [
            (Source::Whereabouts, "default"),
            (Source::WhereaboutsReservation, "default"),
            (Source::WhereaboutsReservation, "blue")
        ]
    );
    assert_eq!(
        found.problems,
        ["OverlappingRangeIPReservation nothing: its name holds no address"]
    );
}

#[test]
fn an_address_of_two_holders_is_reported() {
    let items = json!([
        pool(
            "10.63.0.0-24",
            "10.63.0.0/24",
            json!({"5": {"id": "a", "podref": "ns/p4"}})
        ),
        reservation("10.63.0.5", json!({"containerid": "b", "podref": "ns/p5"})),
    ]);
    let found = found(items, &args());
    assert_eq!(found.held.len(), 1);
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("for pod ns/p5")),
        "{:?}",
        found.notes
    );
}

#[test]
fn an_offset_that_was_cut_to_64_bits_is_completed_by_reservations_pods_and_networks() {
    let range = "fd00:1::/32";
    let cut = |id: &str, pod: &str| json!({"7": {"id": id, "podref": pod, "ifname": "net1"}});
    let one = |more: Value| {
        let mut items = vec![pool("fd00-1---32", range, cut("a", "ns/web"))];
        items.extend(more.as_array().cloned().unwrap_or_default());
        let found = found(items.into(), &args());
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        lines(&found)
            .first()
            .and_then(|line| line.split(' ').next().map(str::to_owned))
            .expect("held")
    };
    for (name, more, address) in [
        ("nothing else is known", json!([]), "fd00:1::7"),
        (
            "a reservation",
            json!([reservation(
                "fd00-1-9--7",
                json!({"containerid": "a", "podref": "ns/web"})
            )]),
            "fd00:1:9::7",
        ),
        (
            "of another container",
            json!([reservation(
                "fd00-1-9--7",
                json!({"containerid": "b", "podref": "ns/x"})
            )]),
            "fd00:1::7",
        ),
        (
            "a pod",
            json!([pod_with("web", "ns/n", &["fd00:1:8::7"])]),
            "fd00:1:8::7",
        ),
        (
            "a network",
            json!([network(
                "n",
                json!({"ipam": {"type": "whereabouts", "range": range, "range_start": "fd00:1:0:5::9"}})
            )]),
            "fd00:1:0:6::7",
        ),
    ] {
        assert_eq!(one(more), address, "{name}");
    }
    // Newer versions write the whole offset.
    let whole = (9u128 << 64) + 7;
    let found = found(
        json!([pool(
            "fd00-1---32",
            range,
            json!({whole.to_string(): {"id": "a"}})
        )]),
        &args(),
    );
    assert_eq!(found.held[0].address.to_string(), "fd00:1:0:9::7");
}

#[test]
fn an_absurd_offset_whose_holder_a_reservation_or_pod_names_is_no_problem() {
    let items = json!([
        pool(
            "10.61.0.0-24",
            "10.61.0.0/24",
            json!({
                "18446463705355360228": {"id": "a", "podref": "ns/web", "ifname": "net1"},
                "18446463705355360229": {"id": "b", "podref": "ns/db", "ifname": "net1"},
            })
        ),
        reservation(
            "10.61.0.9",
            json!({"containerid": "a", "podref": "ns/web", "ifname": "net1"})
        ),
        pod_with("db", "ns/n", &["10.61.0.10", "10.99.0.1"]),
    ]);
    let found = found(items, &args());
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    assert_eq!(
        lines(&found),
        ["10.61.0.9 a 10.61.0.0-24 ", "10.61.0.10 b 10.61.0.0-24 "]
    );
}

#[test]
fn leases_are_filed_under_the_network_that_the_pod_or_the_range_names() {
    let whereabouts = |name: &str| {
        let mut config =
            json!({"type": "bridge", "ipam": {"type": "whereabouts", "range": "10.1.0.0/24"}});
        if !name.is_empty() {
            config["name"] = name.into();
        }
        config
    };
    let allocations = json!({
        "7": {"id": "a", "podref": "ns/web", "ifname": "net1"}, "8": {"id": "b", "podref": "other/db"},
    });
    let of = |networks: &[Value], args: &WhereaboutsArgs| {
        let mut items = vec![
            pool("10.1.0.0-24", "10.1.0.0/24", allocations.clone()),
            pod_with("web", "ns/second", &["10.1.0.7"]),
        ];
        items.extend_from_slice(networks);
        let found = found(items.into(), args);
        (lines(&found), found.notes)
    };
    let (leases, notes) = of(&[network("first", whereabouts("blue"))], &args());
    assert_eq!(leases, ["10.1.0.7 a ns/first n1", "10.1.0.8 b ns/first "]);
    assert!(notes.is_empty(), "{notes:?}");
    let both = [
        network("first", whereabouts("blue")),
        network("second", whereabouts("")),
    ];
    let (leases, notes) = of(&both, &args());
    assert_eq!(leases, ["10.1.0.7 a ns/second n1", "10.1.0.8 b ns/first "]);
    assert!(
        notes[0].contains("several networks lease from it"),
        "{notes:?}"
    );
    // After the switch, the pod still names it.
    let switched = network(
        "second",
        json!({"type": "bridge", "ipam": {"type": "meta-ipam", "pool": "p"}}),
    );
    let (leases, notes) = of(&[switched], &args());
    assert_eq!(
        leases,
        ["10.1.0.7 a ns/second n1", "10.1.0.8 b 10.1.0.0-24 "]
    );
    assert!(
        notes[0].contains("no NetworkAttachmentDefinition"),
        "{notes:?}"
    );
    let given = WhereaboutsArgs {
        network: Some("given".to_owned()),
        ..args()
    };
    let (leases, notes) = of(&[], &given);
    assert_eq!(leases, ["10.1.0.7 a given n1", "10.1.0.8 b given "]);
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn slices_of_nodes_are_of_their_whole_range_and_name_the_node() {
    let items = json!([
        {"kind": "NodeSlicePool", "metadata": {"name": "sliced"}, "spec": {"range": "10.30.0.0/16", "sliceSize": "/24"},
            "status": {"allocations": [{"nodeName": "n-1", "sliceRange": "10.30.1.0/24"}]}},
        pool("n-1-10.30.1.0-24", "10.30.1.0/24", json!({"7": {"id": "a", "podref": "ns/gone", "ifname": "net1"}, "8": {"id": "b", "podref": "ns/x"}})),
        network("nad", json!({"name": "sliced", "ipam": {
            "type": "whereabouts", "range": "10.30.0.0/16", "node_slice_size": "/24", "exclude": ["10.30.0.0/24"]}})),
    ]);
    let found = found(items, &args());
    assert_eq!(
        lines(&found),
        ["10.30.1.7 a ns/nad n-1", "10.30.1.8 b ns/nad "],
        "GC must not find what has a guessed interface"
    );
    assert_eq!(found.ranges.len(), 1);
    assert_eq!(found.ranges[0].cidr.to_string(), "10.30.0.0/16");
    assert_eq!(found.ranges[0].settings[0].excludes.len(), 1);
    let covered: Vec<_> = found
        .covered
        .iter()
        .map(|(_, cidr)| cidr.to_string())
        .collect();
    assert_eq!(covered, ["10.30.1.0/24"], "only what the file has of it");
}

#[test]
fn each_network_name_is_a_vrf_unless_one_is_given_for_all() {
    let items = json!([
        pool("10.1.0.0-24", "10.1.0.0/24", json!({"7": {"id": "a"}})),
        pool("blue-10.1.0.0-24", "10.1.0.0/24", json!({"7": {"id": "b"}})),
    ]);
    let vrfs =
        |found: &Found| -> Vec<String> { found.held.iter().map(|one| one.vrf.clone()).collect() };
    let apart = found(items.clone(), &args());
    assert_eq!(vrfs(&apart), ["default", "blue"]);
    assert_eq!(apart.ranges.len(), 2);
    let one = found(
        items,
        &WhereaboutsArgs {
            vrf: Some("all".to_owned()),
            ..args()
        },
    );
    assert_eq!(vrfs(&one), ["all", "all"]);
    assert_eq!(one.ranges.len(), 1);
}

#[test]
fn offsets_count_from_the_address_that_the_range_is_written_with() {
    let found = found(
        json!([pool("a", "10.1.0.16/24", json!({"7": {"id": "a"}}))]),
        &args(),
    );
    assert_eq!(found.held[0].address.to_string(), "10.1.0.23");
}

proptest::proptest! {
    #[test]
    fn no_range_and_offset_makes_the_reader_panic(bits: u128, prefix in 0u8..=128, offset: u128) {
        let range = IpNetwork::new(IpAddr::V6(bits.into()), prefix).expect("a prefix");
        if let Some(address) = exact(range, &offset.to_string()) {
            assert!(range.contains(address));
        }
    }
}
