use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn places(text: &str) -> Vec<String> {
    match parse(text) {
        Err(problems) => problems.into_iter().map(|problem| problem.place).collect(),
        Ok(elements) => panic!("{text} was accepted: {elements:?}"),
    }
}

#[test]
fn the_short_form_has_namespace_name_and_interface() {
    let elements = parse(" a , ns1/b@eth1,c@x").unwrap();
    let got: Vec<_> = elements
        .iter()
        .map(|e| {
            (
                e.namespace.as_deref(),
                e.name.as_str(),
                e.interface.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            (None, "a", None),
            (Some("ns1"), "b", Some("eth1")),
            (None, "c", Some("x"))
        ]
    );
}

#[test]
fn nothing_is_asked_for_by_an_empty_text_or_list() {
    for text in ["", "  ", "[]", " [ ] "] {
        assert_eq!(parse(text), Ok(vec![]), "{text:?}");
    }
}

#[test]
fn every_bad_element_of_the_short_form_is_reported() {
    assert_eq!(places("a,B,c/,d@"), ["element 2", "element 3", "element 4"]);
    for text in [
        "a,",
        "a b",
        "a/b/c",
        "-a",
        "a-",
        "A",
        "a@b@c",
        "a@b@c:",
        "net-a@b@",
        "a@@b",
        "a@1234567890123456",
        "../x",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_json_form_has_every_field() {
    let text = json!([{
        "name": "a", "namespace": "n", "interface": "if0", "ips": ["10.0.0.1/24", "fd00::1"],
        "mac": "02:00:00:00:00:01", "infiniband-guid": "c2:11:22:33:44:55:66:77",
        "portMappings": [{"hostPort": 1, "containerPort": 2}], "bandwidth": {"ingressRate": 1},
        "default-route": ["10.0.0.254", "fd00::fe"], "cni-args": {"x": 1}, "deviceID": "0000:01:00.0",
        "ipam-claim-reference": "claim", "unknown": [null],
    }, {"name": "b.c", "interfaceRequest": "if1", "default-route": [], "mac": null, "ips": []}]);
    let elements = parse(&text.to_string()).unwrap();
    assert_eq!(elements[0].ips, ["10.0.0.1/24", "fd00::1"]);
    assert_eq!(elements[0].default_route.as_ref().map(Vec::len), Some(2));
    assert_eq!(elements[0].ipam_claim_reference.as_deref(), Some("claim"));
    assert_eq!(elements[1].interface.as_deref(), Some("if1"));
    assert_eq!(elements[1].default_route, Some(vec![]));
    assert_eq!(elements[1].mac, None);
}

#[test]
fn every_bad_field_is_named() {
    let text = json!([
        {"name": "a", "ips": ["10.0.0.1", "10.0.0.300", 7], "mac": "02:00"},
        null,
        {"namespace": "n"},
        {"name": "a", "interface": "a/b", "infiniband-guid": "02:00:00:00:00:01"},
        {"name": "a", "default-route": ["10.0.0.1", "10.0.0.2"], "cni-args": [], "bandwidth": 1},
        {"name": "../a"},
    ]);
    assert_eq!(
        places(&text.to_string()),
        [
            "[0].ips[1]",
            "[0].ips[2]",
            "[0].mac",
            "[1]",
            "[2].name",
            "[3].interface",
            "[3].infiniband-guid",
            "[4].bandwidth",
            "[4].default-route",
            "[4].cni-args",
            "[5].name"
        ]
    );
}

#[test]
fn a_value_that_its_type_cannot_hold_is_refused_by_its_field() {
    let mapping = |more: Value| {
        let mut mapping = json!({"hostPort": 8080, "containerPort": 80, "protocol": "TCP"});
        let more = more.as_object().unwrap().clone();
        mapping.as_object_mut().unwrap().extend(more);
        json!({"portMappings": [mapping]})
    };
    let limits = |limits: Value| json!({"bandwidth": limits});
    let huge = r#"{"hostPort": 99999999999999999999}"#;
    for (fields, place) in [
        (
            mapping(serde_json::from_str(huge).unwrap()),
            "portMappings[0].hostPort",
        ),
        (mapping(json!({"hostPort": 0})), "portMappings[0].hostPort"),
        (mapping(json!({"hostPort": -1})), "portMappings[0].hostPort"),
        (
            mapping(json!({"HostPort": "80"})),
            "portMappings[0].hostPort",
        ),
        (
            mapping(json!({"containerPort": 65536})),
            "portMappings[0].containerPort",
        ),
        (
            mapping(json!({"containerPort": 80.5})),
            "portMappings[0].containerPort",
        ),
        (
            mapping(json!({"protocol": "icmp"})),
            "portMappings[0].protocol",
        ),
        (mapping(json!({"protocol": 6})), "portMappings[0].protocol"),
        (mapping(json!({"hostIP": "host"})), "portMappings[0].hostIP"),
        (mapping(json!({"hostIP": 1})), "portMappings[0].hostIP"),
        (json!({"portMappings": [{}, 1]}), "portMappings[1]"),
        (json!({"portMappings": {}}), "portMappings"),
        (
            limits(json!({"ingressRate": "1M"})),
            "bandwidth.ingressRate",
        ),
        (limits(json!({"egressRate": -1})), "bandwidth.egressRate"),
        (limits(json!({"egressRate": 1.5})), "bandwidth.egressRate"),
        (
            limits(json!({"ingressRate": u64::MAX})),
            "bandwidth.ingressRate",
        ),
        (
            limits(json!({"ingressBurst": 1_u64 << 35})),
            "bandwidth.ingressBurst",
        ),
        (
            limits(json!({"egressBurst": true})),
            "bandwidth.egressBurst",
        ),
        (json!({"bandwidth": []}), "bandwidth"),
        (json!({"interface": 1}), "interface"),
        (json!({"interfaceRequest": ["a"]}), "interfaceRequest"),
        (json!({"namespace": {}}), "namespace"),
        (json!({"ips": "10.0.0.1"}), "ips"),
        (json!({"mac": 2}), "mac"),
        (json!({"infiniband-guid": []}), "infiniband-guid"),
        (json!({"default-route": "10.0.0.1"}), "default-route"),
        (json!({"default-route": [1]}), "default-route[0]"),
        (json!({"cni-args": "a=b"}), "cni-args"),
        (json!({"deviceID": 3}), "deviceID"),
        (json!({"ipam-claim-reference": 4}), "ipam-claim-reference"),
        (json!({"name": 5}), "name"),
        (json!({"name": ""}), "name"),
    ] {
        let mut element = json!({"name": "a"});
        let more = fields.as_object().unwrap().clone();
        element.as_object_mut().unwrap().extend(more);
        let found = places(&json!([element]).to_string());
        assert_eq!(found[0], format!("[0].{place}"), "{element}");
    }
}

#[test]
fn values_at_the_ends_of_their_ranges_are_taken_as_they_are() {
    let mappings = json!([
        {"hostPort": 1, "containerPort": 65535, "hostIP": "::1", "protocol": "sctp"},
        {"hostport": 65535, "ContainerPort": 1, "protocol": "", "hostIP": null, "more": [1]},
    ]);
    let bandwidth =
        json!({"ingressRate": i64::MAX, "ingressBurst": 34_359_738_359_u64, "egressRate": 0});
    let text = json!([{"name": "a", "portMappings": mappings, "bandwidth": bandwidth}]);
    let element = parse(&text.to_string()).unwrap().remove(0);
    assert_eq!(element.port_mappings, Some(mappings));
    assert_eq!(element.bandwidth, Some(bandwidth));
}

#[test]
fn the_case_of_a_field_does_not_matter() {
    let text =
        json!([{"Name": "a", "MAC": "02:00:00:00:00:01", "Interface": "x", "deviceid": "d"}]);
    let element = parse(&text.to_string()).unwrap().remove(0);
    assert_eq!(element.name, "a");
    assert_eq!(element.mac.as_deref(), Some("02:00:00:00:00:01"));
    assert_eq!(element.interface.as_deref(), Some("x"));
    assert_eq!(element.device_id.as_deref(), Some("d"));
}

#[test]
fn hardware_addresses_are_taken_in_every_form_and_handed_on_in_one() {
    for (mac, guid) in [
        ("02:00:00:00:00:0A", "C2:11:22:33:44:55:66:77"),
        ("02-00-00-00-00-0a", "c2-11-22-33-44-55-66-77"),
        ("0200.0000.000a", "C211.2233.4455.6677"),
    ] {
        let text = json!([{"name": "a", "mac": mac, "infiniband-guid": guid}]);
        let element = parse(&text.to_string()).unwrap().remove(0);
        assert_eq!(element.mac.as_deref(), Some("02:00:00:00:00:0a"));
        let guid = element.infiniband_guid.unwrap();
        assert_eq!(guid, "c2:11:22:33:44:55:66:77");
    }
}

#[test]
fn a_json_text_that_is_no_list_is_refused() {
    for text in [r#"{"name":"a"}"#, "[", r#""a""#, "[[]]", "[1]"] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert!(parse(&"[".repeat(100_000)).is_err(), "nesting is bounded");
}

proptest! {
    #[test]
    fn the_short_form_reads_back(items in proptest::collection::vec(
        (proptest::option::of("[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?"), "[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?", proptest::option::of("[a-z][a-z0-9.]{0,14}")), 1..5)) {
        let text: Vec<String> = items.iter().map(|(namespace, name, interface)| {
            let namespace = namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default();
            let interface = interface.as_ref().map(|i| format!("@{i}")).unwrap_or_default();
            format!("{namespace}{name}{interface}")
        }).collect();
        let elements = parse(&text.join(" , ")).unwrap();
        let got: Vec<_> = elements.into_iter().map(|e| (e.namespace, e.name, e.interface)).collect();
        prop_assert_eq!(got, items);
    }

    #[test]
    fn no_text_makes_it_panic(text in ".*", json in "[\\[\\]{}\",:a-z0-9 ]{0,40}") {
        let _ = parse(&text);
        let _ = parse(&json);
    }
}
