use super::*;
use crate::netns::within;
use crate::test_netns::TestNetns;

#[test]
fn rules_of_both_families_are_added_listed_and_removed() {
    let netns = TestNetns::new();
    let sources: [IpAddr; 2] = ["10.5.0.2", "fd00:5::2"].map(|one| one.parse().unwrap());
    within(&netns.path(), || {
        let mut netlink = Netlink::open().unwrap();
        for source in sources {
            for table in [100, 1000] {
                netlink.add_rule(source, table).unwrap();
            }
        }
    })
    .unwrap();
    assert!(
        netns
            .ip("rule")
            .contains("32764:\tfrom 10.5.0.2 lookup 1000")
    );
    assert!(netns.ip("-6 rule").contains("from fd00:5::2 lookup 100"));
    within(&netns.path(), || {
        let mut netlink = Netlink::open().unwrap();
        let ours = netlink.rules().unwrap();
        let ours = ours.iter().filter(|rule| rule.source.is_some());
        let ours: Vec<_> = ours.collect();
        assert_eq!(ours.len(), 4);
        netlink.remove_rule_from(sources[0], 100).unwrap();
        for rule in ours {
            netlink.remove_rule(rule).unwrap();
        }
    })
    .unwrap();
    assert_eq!(netns.ip("rule show from 10.5.0.2"), "");
    assert_eq!(netns.ip("-6 rule show from fd00:5::2"), "");
}
