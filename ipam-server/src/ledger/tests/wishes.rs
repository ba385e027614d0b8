//! What is asked for and cannot be: the error names which address or field is in the way.

use super::*;

async fn aligned(quarantine: i64) -> Bench {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/24", "fd00::/64");
    pool.set_pairing(ipam::Pairing::Aligned);
    pool.quarantine = seconds(quarantine);
    pool.ipv6.as_mut().unwrap().excludes = vec!["fd00::9".into()];
    bench.pool(pool).await;
    bench
}

fn wish(n: usize, ips: &[&str]) -> ipam::AllocateRequest {
    ipam::AllocateRequest {
        ips: ips.iter().map(|&ip| ip.into()).collect(),
        ..ask("blue", n)
    }
}

#[tokio::test]
async fn two_addresses_at_different_offsets_are_no_pair_of_an_aligned_pool() {
    let bench = aligned(0).await;
    let refused = bench.give(wish(1, &["10.0.0.5", "fd00::7"])).await;
    let Err(Error::Refused(Refusal::InvalidFields(fields))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(fields[0].field, "ips");
    for word in ["10.0.0.5", "fd00::7", "ALIGNED"] {
        assert!(fields[0].problem.contains(word), "{fields:?}");
    }
    let lease = bench.give(wish(1, &["10.0.0.5", "fd00::5"])).await.unwrap();
    assert_eq!(lease.ipv6, "fd00::5/64");
    bench.assert_consistent().await;
}

#[tokio::test]
async fn the_partner_that_is_in_the_way_is_named() {
    let bench = aligned(600).await;
    let six = |n, ip: &str| ipam::AllocateRequest {
        families_required: ipam::FamiliesRequired::V6.into(),
        ..wish(n, &[ip])
    };
    bench.give(six(1, "fd00::5")).await.unwrap();
    let refused = bench.give(wish(2, &["10.0.0.5"])).await;
    match &refused {
        Err(Error::Refused(Refusal::AddressInUse {
            address, holder, ..
        })) => {
            assert_eq!(address.to_string(), "fd00::5");
            assert!(holder.contains("pod ns/pod-1"), "{holder}");
            assert!(holder.contains("partner of 10.0.0.5"), "{holder}");
        }
        other => panic!("{other:?}"),
    }
    let rests = bench.give(six(3, "fd00::7")).await.unwrap();
    bench.end(&rests).await.unwrap();
    match bench.give(wish(4, &["10.0.0.7"])).await {
        Err(Error::Refused(Refusal::AddressQuarantined { address, .. })) => {
            assert_eq!(address.to_string(), "fd00::7");
        }
        other => panic!("{other:?}"),
    }
    match bench.give(wish(5, &["10.0.0.9"])).await {
        Err(Error::Refused(Refusal::AddressReserved { address, why, .. })) => {
            assert_eq!(address.to_string(), "fd00::9");
            assert!(why.contains("partner of 10.0.0.9"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mask_that_names_a_family_that_the_pool_lacks_is_refused() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let update = |mask: &[&str]| ipam::UpdatePoolRequest {
        pool: Some(ipam::Pool {
            labels: [("a".to_owned(), "b".to_owned())].into(),
            ..dual("blue", "10.0.0.0/24", "")
        }),
        update_mask: mask.iter().map(|&field| field.into()).collect(),
        validate_only: false,
    };
    for mask in [&["ipv6.gateway"][..], &["labels", "ipv6.ranges"]] {
        let refused = bench.api.update_pool(&caller(), update(mask)).await;
        let Err(Error::Refused(Refusal::InvalidFields(fields))) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(fields[0].field, "update_mask");
        assert!(fields[0].problem.contains("ipv6."), "{fields:?}");
    }
    assert!(bench.get_pool("blue").await.labels.is_empty());
    let whole = bench.api.update_pool(&caller(), update(&[])).await;
    assert_eq!(whole.unwrap().labels.len(), 1);
}

#[tokio::test]
async fn a_list_of_attachments_with_one_that_has_no_name_ends_nothing() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    bench.give(ask("blue", 1)).await.unwrap();
    for (container_id, ifname) in [("", "net1"), ("c2", ""), ("", "")] {
        let request = ipam::ReleaseUnlistedRequest {
            network: "blue".into(),
            node: "n1".into(),
            attachments: vec![ipam::Attachment {
                container_id: container_id.into(),
                ifname: ifname.into(),
            }],
            validate_only: false,
        };
        let refused = bench.api.release_unlisted(&caller(), request).await;
        assert!(
            matches!(refused, Err(Error::Refused(Refusal::InvalidFields(_)))),
            "{refused:?}"
        );
    }
    assert_eq!(bench.leases().await.len(), 1);
}
