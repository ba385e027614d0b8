use ipam_core::error::Error;
use proptest::prelude::*;

use super::*;

/// Spoils a pool.
type Change = fn(&mut ipam::Pool);

fn subnet(cidr: &str) -> ipam::Subnet {
    ipam::Subnet {
        cidr: cidr.into(),
        ..Default::default()
    }
}

fn pool(ipv4: Option<ipam::Subnet>, ipv6: Option<ipam::Subnet>) -> Result<Pool, Error> {
    decode(ipam::Pool {
        name: "blue".into(),
        ipv4,
        ipv6,
        ..Default::default()
    })
}

fn leasable(cidr: &str) -> u128 {
    let pool = if cidr.contains(':') {
        pool(None, Some(subnet(cidr)))
    } else {
        pool(Some(subnet(cidr)), None)
    };
    let pool = pool.unwrap();
    pool.ipv4.or(pool.ipv6).unwrap().leasable.count()
}

#[test]
fn small_prefixes_give_what_they_have() {
    for (cidr, expected) in [
        ("10.0.0.0/24", 254),
        ("10.0.0.0/30", 2),
        ("10.0.0.0/31", 2),
        ("10.0.0.7/32", 1),
        ("255.255.255.254/31", 2),
        ("255.255.255.0/24", 254),
        ("fd00::/126", 3),
        ("fd00::/127", 2),
        ("fd00::1/128", 1),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", 2),
        ("fd00::/32", (1 << 96) - 1),
        ("8000::/1", (1 << 127) - 1),
    ] {
        assert_eq!(leasable(cidr), expected, "{cidr}");
    }
}

#[test]
fn what_is_wrong_is_named_by_field_all_at_once() {
    let wrong = |change: fn(&mut ipam::Pool)| {
        let mut message = ipam::Pool {
            name: "blue".into(),
            ipv4: Some(subnet("10.0.0.0/24")),
            ipv6: Some(subnet("fd00::/64")),
            ..Default::default()
        };
        change(&mut message);
        match decode(message) {
            Err(Error::InvalidFields(problems)) => problems
                .into_iter()
                .map(|at| at.field)
                .collect::<Vec<_>>()
                .join(" "),
            other => format!("{other:?}"),
        }
    };
    let cases: [(&str, Change); 16] = [
        ("pool.name", |pool| pool.name = "Blue".into()),
        ("pool.ipv4", |pool| (pool.ipv4, pool.ipv6) = (None, None)),
        ("pool.ipv4.cidr", |pool| {
            pool.ipv4 = Some(subnet("10.0.0.1/24"))
        }),
        ("pool.ipv4.cidr", |pool| {
            pool.ipv4 = Some(subnet("10.0.00.0/24"))
        }),
        ("pool.ipv4.cidr", |pool| {
            pool.ipv4 = Some(subnet("fd00:1::/64"))
        }),
        ("pool.ipv4.cidr", |pool| {
            pool.ipv4 = Some(subnet("10.0.0.0/33"))
        }),
        ("pool.ipv6.cidr", |pool| {
            pool.ipv6 = Some(subnet("::ffff:10.0.0.0/120"))
        }),
        ("pool.ipv6.cidr", |pool| pool.ipv6 = Some(subnet("::/0"))),
        ("pool.ipv4.ranges[0]", |pool| {
            pool.ipv4.as_mut().unwrap().ranges = vec!["10.0.0.9-10.0.0.8".into()];
        }),
        ("pool.ipv4.ranges[0]", |pool| {
            pool.ipv4.as_mut().unwrap().ranges =
                vec!["10.0.1.1-10.0.1.8".into(), "10.0.0.0/28".into()];
        }),
        ("pool.ipv4.ranges[1]", |pool| {
            pool.ipv4.as_mut().unwrap().ranges =
                vec!["10.0.0.1-10.0.0.8".into(), "10.0.0.8".into()];
        }),
        ("pool.ipv4.gateway", |pool| {
            pool.ipv4.as_mut().unwrap().gateway = "10.0.1.1".into()
        }),
        ("pool.ipv6.gateway", |pool| {
            pool.ipv6.as_mut().unwrap().gateway = "10.0.0.1".into()
        }),
        ("pool.pairing", |pool| (pool.pairing, pool.ipv6) = (2, None)),
        ("pool.families_required", |pool| {
            (pool.families_required, pool.ipv4) = (2, None)
        }),
        ("pool.name pool.ipv4.cidr pool.ipv6.cidr", |pool| {
            pool.name = String::new();
            pool.ipv4 = Some(subnet("x"));
            pool.ipv6 = Some(subnet(""));
        }),
    ];
    for (expected, change) in cases {
        assert_eq!(wrong(change), expected);
    }
}

#[test]
fn a_router_outside_of_the_network_is_taken_where_the_network_cannot_have_it() {
    for (cidr, gateway, leasable) in [
        ("10.0.0.0/24", "169.254.1.1", 254),
        ("fd00::/120", "fe80::1", 255),
        ("10.0.0.7/32", "10.9.0.1", 1),
        ("fd00::7/128", "fd09::1", 1),
    ] {
        let half = ipam::Subnet {
            gateway: gateway.into(),
            ..subnet(cidr)
        };
        let is_ipv4 = cidr.contains('.');
        let message = ipam::Pool {
            name: "blue".into(),
            ipv4: Some(half.clone()).filter(|_| is_ipv4),
            ipv6: Some(half).filter(|_| !is_ipv4),
            ..Default::default()
        };
        let pool = decode(message).unwrap();
        let half = pool.ipv4.as_ref().or(pool.ipv6.as_ref()).unwrap();
        assert_eq!(
            half.gateway.map(|at| half.address(at)),
            gateway.parse().ok()
        );
        assert_eq!(half.leasable.count(), leasable, "{cidr}");
    }
}

#[test]
fn gateway_excludes_and_ends_are_kept_back() {
    let pool = pool(
        Some(ipam::Subnet {
            cidr: "10.0.0.0/29".into(),
            excludes: vec!["10.0.0.2-10.0.0.3".into()],
            gateway: "10.0.0.1".into(),
            ..Default::default()
        }),
        None,
    )
    .unwrap();
    let four = pool.ipv4.unwrap();
    let base = *four.all.start();
    assert_eq!(
        four.leasable.intervals().collect::<Vec<_>>(),
        [base + 4..=base + 6]
    );
    for kept in [0, 1, 2, 3, 7] {
        assert!(four.withheld(base + kept).is_some(), "{kept}");
    }
    assert_eq!(four.withheld(base + 4), None);
}

proptest! {
    #[test]
    fn reading_never_panics(cidr in "\\PC{0,40}", range in "\\PC{0,40}", gateway in "\\PC{0,20}") {
        let subnet = ipam::Subnet { cidr, ranges: vec![range], gateway, ..Default::default() };
        let _ = pool(Some(subnet.clone()), Some(subnet));
    }

    #[test]
    fn what_can_be_leased_is_what_a_naive_count_says(
        prefix in 24_u8..=32,
        bits in any::<u32>(),
        gateway in any::<u8>(),
        exclude in any::<(u8, u8)>(),
    ) {
        let size = 1_u32 << (32 - prefix);
        let base = bits & !(size - 1);
        let at = |offset: u8| base + u32::from(offset) % size;
        let show = |number: u32| std::net::Ipv4Addr::from(number).to_string();
        let (low, high) = (at(exclude.0).min(at(exclude.1)), at(exclude.0).max(at(exclude.1)));
        let subnet = ipam::Subnet {
            cidr: format!("{}/{prefix}", show(base)),
            excludes: vec![format!("{}-{}", show(low), show(high))],
            gateway: show(at(gateway)),
            ..Default::default()
        };
        let last = base + (size - 1);
        let naive: Vec<u128> = (base..=last)
            .filter(|&n| prefix > 30 || (n != base && n != last))
            .filter(|&n| !(low..=high).contains(&n) && n != at(gateway))
            .map(u128::from)
            .collect();
        match pool(Some(subnet), None) {
            Ok(pool) => {
                let four = pool.ipv4.unwrap();
                prop_assert_eq!(four.leasable.intervals().flatten().collect::<Vec<_>>(), naive);
            }
            Err(_) => prop_assert!(naive.is_empty()),
        }
    }
}

#[test]
fn aligned_halves_without_a_common_offset_are_refused() {
    let aligned = |four: &str, six: &str| {
        let half = |cidr: &str, range: &str| ipam::Subnet {
            ranges: vec![range.into()],
            ..subnet(cidr)
        };
        decode(ipam::Pool {
            name: "blue".into(),
            ipv4: Some(half("10.0.0.0/24", four)),
            ipv6: Some(half("fd00::/64", six)),
            pairing: ipam::Pairing::Aligned.into(),
            ..Default::default()
        })
    };
    aligned("10.0.0.16-10.0.0.31", "fd00::1f-fd00::ffff").unwrap();
    let refused = aligned("10.0.0.16-10.0.0.31", "fd00::20-fd00::ffff").unwrap_err();
    assert!(refused.to_string().contains("pool.pairing"), "{refused}");
}
