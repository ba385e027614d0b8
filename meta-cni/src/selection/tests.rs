use proptest::prelude::*;
use serde_json::json;

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
fn every_bad_element_of_the_short_form_is_told() {
    assert_eq!(places("a,B,c/,d@"), ["element 2", "element 3", "element 4"]);
    for text in [
        "a,",
        "a b",
        "a/b/c",
        "-a",
        "a-",
        "A",
        "a@b@c:",
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
