use super::*;
use crate::test_netns::TestNetns;

#[test]
fn links_are_listed_with_name_mac_and_mtu() {
    let netns = TestNetns::new();
    netns.ip("link add net1 type veth peer name peer1");
    netns.ip("link set net1 address 02:00:00:00:00:0a mtu 1400");
    let links = inspect(&netns.path()).unwrap().links;
    let net1 = links.iter().find(|link| link.name == "net1").unwrap();
    assert_eq!((net1.mac.as_str(), net1.mtu), ("02:00:00:00:00:0a", 1400));
    assert!(links.iter().any(|link| link.name == "lo"));
}

#[test]
fn a_sandbox_that_is_gone_is_an_error() {
    let error = inspect(Path::new("/run/netns/metacni-none")).unwrap_err();
    assert!(matches!(error, SnapshotError::Netns { .. }));
}
