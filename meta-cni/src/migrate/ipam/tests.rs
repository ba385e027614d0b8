//! What whereabouts 0.9.2 reads of `ipam`, case by case.

use serde_json::json;

use super::*;

fn read(ipam: Value) -> Result<Ipam, String> {
    Ipam::read(ipam.as_object().unwrap(), None)
}

/// The settings as `CIDR FIRST-LAST`.
fn settings(ipam: &Ipam) -> Vec<String> {
    let each = ipam.settings.iter();
    each.map(|one| format!("{} {}", one.cidr, one.span.text()))
        .collect()
}

#[test]
fn a_range_is_what_whereabouts_takes_it_for() {
    for (ipam, expected) in [
        (
            json!({"range": "10.1.0.7/24"}),
            &["10.1.0.0/24 10.1.0.1-10.1.0.254"][..],
        ),
        (
            json!({"range": "10.1.0.10-10.1.0.50/24"}),
            &["10.1.0.0/24 10.1.0.10-10.1.0.50"],
        ),
        (
            json!({"range": "10.1.0.0/24", "range_start": "10.1.0.10", "range_end": "10.1.0.50"}),
            &["10.1.0.0/24 10.1.0.10-10.1.0.50"],
        ),
        (
            json!({"range": "10.1.0.0/24", "range_start": "10.2.0.10", "range_end": "10.1.0.255"}),
            &["10.1.0.0/24 10.1.0.1-10.1.0.254"],
        ),
        (
            json!({"range": "10.1.0.0/24", "range_start": "10.1.0.50", "range_end": "10.1.0.10"}),
            &["10.1.0.0/24 10.1.0.50-10.1.0.254"],
        ),
        (
            json!({"range": "fd00:1::/64", "range_start": "fd00:1::9"}),
            &["fd00:1::/64 fd00:1::9-fd00:1::ffff:ffff:ffff:fffe"],
        ),
        (
            json!({"ipRanges": [{"range": "10.1.0.0/30"}, {"range": "fd00:1::/126"}]}),
            &[
                "10.1.0.0/30 10.1.0.1-10.1.0.2",
                "fd00:1::/126 fd00:1::1-fd00:1::2",
            ],
        ),
        (
            json!({"range": "10.1.0.0/30", "ipRanges": [{"range": "fd00:1::/126"}]}),
            &[
                "10.1.0.0/30 10.1.0.1-10.1.0.2",
                "fd00:1::/126 fd00:1::1-fd00:1::2",
            ],
        ),
        (
            json!({"Range": "10.1.0.0/30", "IPRANGES": null}),
            &["10.1.0.0/30 10.1.0.1-10.1.0.2"],
        ),
        (json!({}), &[]),
    ] {
        let read = read(ipam.clone()).expect("read");
        assert_eq!(settings(&read), expected, "{ipam}");
    }
}

#[test]
fn what_is_excluded_is_clipped_to_its_range() {
    let ipam = json!({
        "range": "10.1.0.0/24",
        "exclude": ["10.1.0.1/32", "10.1.0.201/25", "10.1.0.7", "10.9.0.0/24", "fd00::/64"],
    });
    let read = read(ipam).expect("read");
    let excludes: Vec<_> = read.settings[0]
        .excludes
        .iter()
        .map(|span| span.text())
        .collect();
    assert_eq!(excludes, ["10.1.0.1", "10.1.0.128-10.1.0.255", "10.1.0.7"]);
}

#[test]
fn the_nodes_file_holds_where_the_network_says_nothing() {
    let defaults = json!({
        "range": "10.9.0.0/24", "gateway": "10.1.0.1", "log_level": "debug",
        "kubernetes": {"kubeconfig": "/k"}, "enable_overlapping_ranges": false,
    });
    let ipam = json!({"range": "10.1.0.0/24", "gateway": ""});
    let both = Ipam::read(ipam.as_object().unwrap(), defaults.as_object()).expect("read");
    assert_eq!(settings(&both), ["10.1.0.0/24 10.1.0.1-10.1.0.254"]);
    assert_eq!(both.gateway, "10.1.0.1".parse().ok());
    assert!(!both.may_repeat, "this key is never taken from the file");
    let bare = Ipam::read(&Map::new(), defaults.as_object()).expect("read");
    assert_eq!(settings(&bare), ["10.9.0.0/24 10.9.0.1-10.9.0.254"]);
}

#[test]
fn everything_else_is_read() {
    let ipam = read(json!({
        "type": "whereabouts", "range": "10.1.0.0/24", "network_name": "apart", "node_slice_size": "/26",
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd00:9::7/64", "gw": "fd00:1::1", "mtu": 1400}],
        "dns": {"nameservers": ["10.1.0.53"], "search": ["a.example"]}, "addresses": [{"address": "10.2.0.2/24"}],
        "enable_overlapping_ranges": false, "colour": "blue", "log_file": "/x",
    }))
    .expect("read");
    assert_eq!(ipam.network_name, "apart");
    assert!(ipam.has_slices && ipam.may_repeat);
    assert_eq!(ipam.addresses, 1);
    assert_eq!(ipam.unknown, ["colour"]);
    let routes: Vec<_> = ipam
        .routes
        .iter()
        .map(|route| (route.dst.as_str(), route.gw.as_str(), route.mtu))
        .collect();
    assert_eq!(
        routes,
        [("0.0.0.0/0", "", 0), ("fd00:9::/64", "fd00:1::1", 1400)]
    );
    let dns = ipam.dns.expect("given");
    assert_eq!(
        (dns.nameservers, dns.search),
        (vec!["10.1.0.53".to_owned()], vec!["a.example".to_owned()])
    );
}

#[test]
fn what_cannot_be_read_is_named_by_its_key() {
    for (ipam, problem) in [
        (
            json!({"range": "10.1.0.0"}),
            "ipam.range: 10.1.0.0 is not a CIDR",
        ),
        (
            json!({"range": "x-10.1.0.0/24"}),
            "ipam.range: x is not an address",
        ),
        (
            json!({"range": "10.1.0.0/24", "exclude": ["x"]}),
            "ipam.exclude: x is not an address",
        ),
        (
            json!({"range": "10.1.0.0/24", "gateway": "x"}),
            "ipam.gateway: x is not an address",
        ),
        (
            json!({"range": "10.1.0.0/24", "routes": [{"dst": "x"}]}),
            "ipam.routes[].dst: x is not a CIDR",
        ),
        (
            json!({"routes": [{}]}),
            "ipam.routes[0]: missing field `dst`",
        ),
        (json!({"ipRanges": 7}), "ipam.ipranges: invalid type"),
    ] {
        let error = read(ipam.clone()).expect_err("wrong");
        assert!(error.starts_with(problem), "{ipam}: {error}");
    }
}
