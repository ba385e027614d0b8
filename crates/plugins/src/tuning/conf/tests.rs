use serde_json::json;

use super::*;

#[test]
fn a_setting_is_named_with_dots_and_its_interface_keeps_its_own() {
    let cases = [
        ("net.ipv4.ip_forward", Some("/proc/sys/net/ipv4/ip_forward")),
        ("net/ipv4/ip_forward", Some("/proc/sys/net/ipv4/ip_forward")),
        (
            "net.ipv4.conf.IFNAME.arp_filter",
            Some("/proc/sys/net/ipv4/conf/eth0.5/arp_filter"),
        ),
        ("/net//ipv4.x/", Some("/proc/sys/net/ipv4/x")),
        ("kernel.domainname", None),
        ("net", None),
        ("netfilter.x", None),
        ("", None),
    ];
    for (name, path) in cases {
        let read = setting(name, "eth0.5").ok();
        assert_eq!(read, path.map(PathBuf::from), "{name}");
    }
}

#[test]
fn a_setting_that_stands_twice_is_refused() {
    let cases = [
        (r#"{"sysctl": {"net.a": "1", "net.b": "1"}}"#, true),
        (r#"{"sysctl": {"net.a": "1", "net.a": "1"}}"#, false),
        (r#"{"x": 1, "SysCtl": {"net.a": "1", "net.a": "2"}}"#, false),
        (r#"{"sysctl": null, "other": {"a": 1, "a": 2}}"#, true),
        (r#"{"sysctl": 1}"#, false),
    ];
    for (text, is_good) in cases {
        assert_eq!(refuse_repeated(text.as_bytes()).is_ok(), is_good, "{text}");
    }
}

#[test]
fn numbers_that_the_kernel_cannot_have_are_refused() {
    for conf in [
        json!({"mtu": -1}),
        json!({"mtu": 5_000_000_000_i64}),
        json!({"txQLen": -1}),
        json!({"mac": "x"}),
    ] {
        let written: Written = serde_json::from_value(conf.clone()).unwrap();
        assert!(written.checked().is_err(), "{conf}");
    }
    let none: Written = serde_json::from_value(json!({"mtu": 0, "txQLen": 0, "mac": ""})).unwrap();
    let none = none.checked().unwrap();
    assert_eq!((none.mtu, none.tx_queue), (None, Some(0)));
    assert!(none.mac.is_none());
}
