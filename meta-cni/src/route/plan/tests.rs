//! The steps for each state that a sandbox can be in.

use super::*;

const ETH0: u32 = 2;
const NET1: u32 = 3;
const NET2: u32 = 4;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn hop(link: u32, gateway: &str) -> Hop {
    Hop {
        link,
        gateway: Some(ip(gateway)),
    }
}

fn route(metric: u32, hops: &[Hop]) -> Route {
    let family = hops[0].gateway.unwrap().into();
    Route::over(family, metric, hops.to_vec())
}

fn asks(link: u32, gateways: &[&str]) -> Asked {
    Asked {
        link,
        gateways: gateways.iter().map(|gateway| ip(gateway)).collect(),
    }
}

#[test]
fn the_new_route_comes_first_and_alone() {
    let routes = [
        route(0, &[hop(ETH0, "10.0.0.1")]),
        route(100, &[hop(ETH0, "10.0.0.1")]),
    ];
    assert_eq!(
        steps(&routes, &[asks(NET1, &["10.1.0.1"])]),
        [Step::Set {
            gateway: ip("10.1.0.1"),
            link: NET1
        }]
    );
}

#[test]
fn the_others_of_the_family_go_once_it_is_there() {
    let routes = [
        route(0, &[hop(NET1, "10.1.0.1")]),
        route(100, &[hop(ETH0, "10.0.0.1")]),
        route(200, &[hop(NET1, "10.1.0.9")]),
        route(1024, &[hop(ETH0, "fd00::1")]),
    ];
    assert_eq!(
        steps(&routes, &[asks(NET1, &["10.1.0.1"])]),
        [
            Step::Remove { route: &routes[1] },
            Step::Remove { route: &routes[2] }
        ]
    );
}

#[test]
fn what_is_as_asked_needs_nothing_whatever_its_metric() {
    let routes = [
        route(50, &[hop(NET1, "10.1.0.1")]),
        route(1024, &[hop(NET2, "fd02::1")]),
    ];
    let asked = [asks(NET1, &["10.1.0.1"]), asks(NET2, &["fd02::1"])];
    assert_eq!(steps(&routes, &asked), []);
    assert_eq!(steps(&routes, &[]), []);
    assert_eq!(steps(&[], &[]), []);
}

#[test]
fn a_route_that_passes_by_itself_or_serves_one_tos_is_not_the_one_asked_for() {
    let mut learned = route(1024, &[hop(NET1, "fe80::1")]);
    learned.is_transient = true;
    let mut quick = route(0, &[hop(NET1, "10.1.0.1")]);
    quick.tos = 0x10;
    let routes = [learned, quick];
    let asked = [asks(NET1, &["10.1.0.1", "fe80::1"])];
    assert_eq!(
        steps(&routes, &asked),
        [
            Step::Set {
                gateway: ip("10.1.0.1"),
                link: NET1
            },
            Step::Set {
                gateway: ip("fe80::1"),
                link: NET1
            }
        ]
    );
}

#[test]
fn a_multipath_route_with_the_asked_hop_is_not_the_one_asked_for() {
    let routes = [
        route(0, &[hop(NET1, "10.1.0.1")]),
        route(100, &[hop(ETH0, "10.0.0.1"), hop(NET1, "10.1.0.1")]),
    ];
    assert_eq!(
        steps(&routes, &[asks(NET1, &["10.1.0.1"])]),
        [Step::Remove { route: &routes[1] }]
    );
}

#[test]
fn no_gateways_means_off_this_interface_only() {
    let routes = [
        route(0, &[hop(ETH0, "10.0.0.1")]),
        route(100, &[hop(NET1, "10.1.0.1")]),
        route(200, &[hop(ETH0, "10.0.0.1"), hop(NET1, "10.1.0.1")]),
        route(1024, &[hop(NET1, "fd01::1")]),
    ];
    assert_eq!(
        steps(&routes, &[asks(NET1, &[])]),
        [
            Step::Remove { route: &routes[1] },
            Step::RemoveHops {
                route: &routes[2],
                link: NET1
            },
            Step::Remove { route: &routes[3] },
        ]
    );
}

#[test]
fn a_multipath_route_over_two_interfaces_that_want_none_goes_whole_or_one_a_round() {
    let both = [route(0, &[hop(NET1, "10.1.0.1"), hop(NET2, "10.2.0.1")])];
    let asked = [asks(NET1, &[]), asks(NET2, &[])];
    assert_eq!(steps(&both, &asked), [Step::Remove { route: &both[0] }]);
    let three = [route(
        0,
        &[
            hop(ETH0, "10.0.0.1"),
            hop(NET1, "10.1.0.1"),
            hop(NET2, "10.2.0.1"),
        ],
    )];
    assert_eq!(
        steps(&three, &asked),
        [Step::RemoveHops {
            route: &three[0],
            link: NET1
        }]
    );
}

#[test]
fn router_advertisements_are_ignored_where_they_would_undo_what_is_asked() {
    let links = [("eth0", ETH0), ("net1", NET1)].map(|(name, index)| Link {
        index,
        name: name.to_owned(),
        ..Link::default()
    });
    let names = |asked: &[Asked]| without_learned_routes(&links, asked).join(" ");
    assert_eq!(names(&[asks(NET1, &["10.1.0.1"])]), "");
    assert_eq!(names(&[asks(NET1, &["fd01::1"])]), "eth0 net1");
    assert_eq!(names(&[asks(NET1, &[])]), "net1");
}
