use super::*;
use crate::netns::within;
use crate::test_netns::TestNetns;

/// RT_TABLE_MAIN, linux/rtnetlink.h.
const MAIN: u32 = 254;

fn lines(shown: &str) -> Vec<&str> {
    shown.lines().map(str::trim).collect()
}

#[test]
fn the_routes_of_a_link_are_copied_with_all_that_they_say_and_put_back() {
    let netns = TestNetns::new();
    netns.ip("link add one type veth peer name other");
    netns.ip("link set other up");
    netns.ip("link set one up");
    netns.ip("address add 10.5.0.2/24 dev one");
    netns.ip("-6 address add fd00:5::2/64 dev one nodad");
    netns.ip("address add 10.6.0.2/24 dev other");
    netns.ip("route add default via 10.5.0.1 dev one metric 50 mtu 1300");
    netns.ip("-6 route add default via fd00:5::1 dev one");
    let before = (netns.ip("route"), netns.ip("-6 route"));
    let routes = within(&netns.path(), || {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link("one").unwrap().unwrap().index;
        let routes = netlink.link_routes(link).unwrap();
        for route in &routes {
            netlink.copy_route(route, 1000, Beside::Replaced).unwrap();
            netlink.remove_link_route(route, MAIN).unwrap();
            let again = netlink.remove_link_route(route, MAIN).unwrap_err();
            assert_eq!(again.errno(), Some(nix::libc::ESRCH));
        }
        routes
    })
    .unwrap();
    let of_link: Vec<_> = routes.iter().map(|route| route.is_of_link).collect();
    assert!(of_link.contains(&true) && of_link.contains(&false));
    let gateway = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    for expected in ["10.5.0.1", "fd00:5::1"] {
        assert!(
            routes
                .iter()
                .any(|route| route.gateway == gateway(expected))
        );
    }
    let copied = netns.ip("route show table 1000");
    assert_eq!(
        lines(&copied),
        [
            "default via 10.5.0.1 dev one metric 50 mtu 1300",
            "10.5.0.0/24 dev one proto kernel scope link src 10.5.0.2"
        ]
    );
    assert!(
        netns
            .ip("-6 route show table 1000")
            .contains("default via fd00:5::1")
    );
    assert_eq!(
        lines(&netns.ip("route")),
        ["10.6.0.0/24 dev other proto kernel scope link src 10.6.0.2"]
    );
    within(&netns.path(), || {
        let mut netlink = Netlink::open().unwrap();
        // What a gateway is reached over comes first.
        let (behind, on_link): (Vec<_>, Vec<_>) =
            routes.iter().partition(|route| route.gateway.is_some());
        for route in on_link.into_iter().chain(behind) {
            netlink.copy_route(route, MAIN, Beside::Others).unwrap();
        }
    })
    .unwrap();
    assert_eq!(lines(&netns.ip("route")), lines(&before.0));
    let mut after: Vec<_> = netns.ip("-6 route").lines().map(str::to_owned).collect();
    let mut before: Vec<_> = before.1.lines().map(str::to_owned).collect();
    after.sort();
    before.sort();
    assert_eq!(after, before);
}
