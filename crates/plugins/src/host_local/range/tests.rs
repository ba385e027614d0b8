use serde_json::json;

use super::*;

fn written(value: serde_json::Value) -> WrittenRange {
    serde_json::from_value(value).unwrap()
}

fn set(value: serde_json::Value) -> RangeSet {
    let written: Vec<WrittenRange> = serde_json::from_value(value).unwrap();
    RangeSet::read(&written).unwrap()
}

fn addresses(set: &RangeSet, last: Option<&str>) -> Vec<String> {
    let last = last.map(|last| last.parse().unwrap());
    let all = set.addresses_after(last).map(|(ip, _)| ip.to_string());
    all.collect()
}

#[test]
fn what_is_not_written_is_filled_in() {
    let cases = [
        (
            json!({"subnet": "10.1.2.0/24"}),
            "10.1.2.1-10.1.2.254",
            "10.1.2.1",
        ),
        (
            json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.9", "gateway": "10.1.2.254"}),
            "10.1.2.9-10.1.2.9",
            "10.1.2.254",
        ),
        (
            json!({"subnet": "10.1.2.0/30", "rangeStart": "", "gateway": ""}),
            "10.1.2.1-10.1.2.2",
            "10.1.2.1",
        ),
        (
            json!({"subnet": "fd00::/64"}),
            "fd00::1-fd00::ffff:ffff:ffff:ffff",
            "fd00::1",
        ),
        (
            json!({"subnet": "0.0.0.0/0"}),
            "0.0.0.1-255.255.255.254",
            "0.0.0.1",
        ),
    ];
    for (given, range, gateway) in cases {
        let read = written(given).read().unwrap();
        assert_eq!(
            (read.to_string().as_str(), read.gateway.to_string().as_str()),
            (range, gateway)
        );
    }
}

#[test]
fn a_range_that_is_none_is_refused() {
    for given in [
        json!({}),
        json!({"subnet": ""}),
        json!({"subnet": "10.1.2.0"}),
        json!({"subnet": "10.1.2.3/24"}),
        json!({"subnet": "10.1.2.0/31"}),
        json!({"subnet": "fd00::/127"}),
        json!({"subnet": "::ffff:10.1.2.0/120"}),
        json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.3.1"}),
        json!({"subnet": "10.1.2.0/24", "rangeEnd": "10.1.3.1"}),
        json!({"subnet": "10.1.2.0/24", "gateway": "fd00::1"}),
        json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.8"}),
        json!({"subnet": "10.1.2.0/24", "rangeStart": "x"}),
    ] {
        assert!(written(given.clone()).read().is_err(), "{given}");
    }
}

#[test]
fn a_set_is_of_one_family_and_its_ranges_do_not_overlap() {
    for given in [
        json!([]),
        json!([{"subnet": "10.1.2.0/24"}, {"subnet": "fd00::/64"}]),
        json!([{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.0.0/16"}]),
        json!([{"subnet": "10.1.0.0/16"}, {"subnet": "10.1.2.0/24"}]),
    ] {
        let written: Vec<WrittenRange> = serde_json::from_value(given.clone()).unwrap();
        assert!(RangeSet::read(&written).is_err(), "{given}");
    }
    let [one, other, apart] = ["10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16"]
        .map(|subnet| set(json!([{"subnet": subnet}])));
    assert!(one.overlaps(&other) && other.overlaps(&one));
    assert!(!one.overlaps(&apart));
}

#[test]
fn addresses_are_tried_round_robin_without_the_gateway() {
    let small = set(json!([{"subnet": "10.0.0.0/29"}]));
    let from_start = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
    assert_eq!(addresses(&small, None), from_start);
    let from_middle = ["10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
    assert_eq!(addresses(&small, Some("10.0.0.4")), from_middle);
    assert_eq!(addresses(&small, Some("10.9.0.4")), from_start);
    assert_eq!(addresses(&small, Some("10.0.0.6")), from_start);
}

#[test]
fn a_set_is_tried_from_range_to_range() {
    let two = set(json!([
        {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.8", "rangeEnd": "10.0.0.9"},
        {"subnet": "10.9.0.0/24", "rangeEnd": "10.9.0.2"},
    ]));
    assert_eq!(addresses(&two, None), ["10.0.0.8", "10.0.0.9", "10.9.0.2"]);
    assert_eq!(
        addresses(&two, Some("10.0.0.9")),
        ["10.9.0.2", "10.0.0.8", "10.0.0.9"]
    );
    let only_gateway = set(json!([{"subnet": "10.0.0.0/24", "rangeEnd": "10.0.0.1"}]));
    assert!(addresses(&only_gateway, None).is_empty());
}
