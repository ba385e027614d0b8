//! The history by time.

use super::fixture::{Bench, ask, caller, dual};
use super::*;

fn at(seconds: i64) -> pbjson_types::Timestamp {
    pbjson_types::Timestamp {
        seconds: 1_800_000_000 + seconds,
        nanos: 0,
    }
}

fn millis(seconds: i64) -> i64 {
    time::millis(Some(&at(seconds)))
}

#[tokio::test]
async fn a_time_is_found_by_halves() {
    let bench = Bench::new();
    assert_eq!(bench.ledger.revision_before(millis(0)).await.unwrap(), 0);
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    for n in 0..20 {
        bench.clock.advance(10);
        bench.give(ask("blue", 2 * n)).await.unwrap();
        bench.give(ask("blue", 2 * n + 1)).await.unwrap();
    }
    for (seconds, expected) in [
        (-1, 0),
        (0, 0),
        (1, 1),
        (10, 1),
        (11, 3),
        (20, 3),
        (155, 31),
        (200, 39),
        (201, 41),
        (9999, 41),
    ] {
        let found = bench.ledger.revision_before(millis(seconds)).await.unwrap();
        assert_eq!(found, expected, "{seconds}");
    }
}

#[tokio::test]
async fn who_had_an_address_is_found_for_every_kind_of_question() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "fd00::/64")).await;
    let mut wish = ask("blue", 1);
    wish.mac = "02:00:00:00:00:09".into();
    bench.clock.advance(10);
    let lease = bench.give(wish).await.unwrap();
    bench.clock.advance(10);
    bench.end(&lease).await.unwrap();
    bench.clock.advance(10);
    bench.give(ask("blue", 2)).await.unwrap();
    let owner = |owner: ipam::Owner| ipam::LookupRequest {
        owner: Some(owner),
        ..Default::default()
    };
    let questions = [
        ipam::LookupRequest {
            address: plain(&lease.ipv6).into(),
            ..Default::default()
        },
        ipam::LookupRequest {
            mac: "02:00:00:00:00:09".into(),
            ..Default::default()
        },
        owner(ipam::Owner {
            namespace: "ns".into(),
            pod: "pod-1".into(),
            ..Default::default()
        }),
        owner(ipam::Owner {
            node: "n1".into(),
            ..Default::default()
        }),
    ];
    for question in questions {
        for (seconds, there) in [(5, false), (10, true), (19, true), (20, false), (40, false)] {
            let request = ipam::LookupRequest {
                at_time: Some(at(seconds)),
                ..question.clone()
            };
            let held = bench.api.lookup(&caller(), request).await.unwrap();
            let ids: Vec<_> = held.iter().map(|lease| lease.id.as_str()).collect();
            let expected = if there {
                vec![lease.id.as_str()]
            } else {
                vec![]
            };
            assert_eq!(ids, expected, "{question:?} at {seconds}");
        }
    }
}

#[tokio::test]
async fn the_history_is_bounded_and_says_where_it_begins() {
    let bench = Bench::with(Limits {
        history_events: 100,
        ..Limits::default()
    });
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    for _ in 0..700 {
        let lease = bench.give(ask("blue", 1)).await.unwrap();
        bench.end(&lease).await.unwrap();
    }
    assert!(matches!(
        bench.events(0, 10).await,
        Err(Error::Compacted { .. })
    ));
    let oldest = bench.ledger.oldest_revision();
    assert!(oldest > 1 && bench.events(oldest - 1, 10).await.unwrap().len() == 10);
}
