use netlink::netns::within;

use super::*;
use crate::test_netns::TestNetns;

/// A setting of the namespace by name, `default` for interfaces that appear.
fn setting(netns: &TestNetns, ifname: &str, setting: &str) -> String {
    let text = within(&netns.path(), || fs::read_to_string(path(ifname, setting)));
    text.unwrap().unwrap().trim().to_owned()
}

fn add(netns: &TestNetns, ifname: &str) {
    netns.ip(&format!("link add {ifname} type veth peer name p-{ifname}"));
}

#[test]
fn interfaces_that_appear_meanwhile_learn_less_and_all_others_what_they_did() {
    for (accept, name, defrtr, ra) in [
        (Accept::Addresses, "addresses", "0", "1"),
        (Accept::None, "none", "1", "0"),
        (Accept::All, "all", "1", "1"),
    ] {
        let netns = TestNetns::new();
        add(&netns, "eth0");
        let guard = within(&netns.path(), || Guard::hold(accept)).unwrap();
        add(&netns, "net1");
        // Dropped outside of the namespace.
        drop(guard);
        add(&netns, "later");
        for (ifname, expected) in [
            ("eth0", ("1", "1")),
            ("net1", (defrtr, ra)),
            ("later", ("1", "1")),
        ] {
            let found = [DEFAULT_ROUTES, "accept_ra"].map(|one| setting(&netns, ifname, one));
            assert_eq!(
                (found[0].as_str(), found[1].as_str()),
                expected,
                "{name}: {ifname}"
            );
        }
    }
}

#[test]
fn an_interface_that_asks_learns_what_it_would_have() {
    let netns = TestNetns::new();
    let guard = within(&netns.path(), || Guard::hold(Accept::Addresses)).unwrap();
    add(&netns, "net1");
    add(&netns, "net2");
    within(&netns.path(), || guard.release(&["net1", "gone"])).unwrap();
    assert_eq!(setting(&netns, "net1", DEFAULT_ROUTES), "1");
    assert_eq!(setting(&netns, "net2", DEFAULT_ROUTES), "0");
}

#[test]
fn a_namespace_that_learns_nothing_by_itself_stays_so() {
    let netns = TestNetns::new();
    let turn_off = || fs::write(path("default", DEFAULT_ROUTES), "0").unwrap();
    within(&netns.path(), turn_off).unwrap();
    let guard = within(&netns.path(), || Guard::hold(Accept::Addresses)).unwrap();
    assert!(!guard.is_held());
    drop(guard);
    assert_eq!(setting(&netns, "default", DEFAULT_ROUTES), "0");
}
