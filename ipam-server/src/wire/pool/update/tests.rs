//! What an update changes, and what it must not.

use super::super::contract;
use super::*;

#[test]
fn an_update_changes_the_mutable_fields_only() {
    let full = contract::full();
    let mut pool = contract::empty();
    let mask: Vec<_> = paths(Kind::Mutable).map(str::to_owned).collect();
    update(&mut pool, &full, &mask).expect("mutable");
    for field in FIELDS {
        let kept = (field.keeps)(&pool, &full);
        assert_eq!(kept, field.kind == Kind::Mutable, "{}", field.path);
    }
    for path in paths(Kind::Immutable)
        .chain(paths(Kind::Output))
        .chain(["ipv4", "x"])
    {
        let error = update(&mut pool, &full, &[path.to_owned()]).expect_err(path);
        assert!(matches!(error, Error::InvalidFields(_)), "{error}");
    }
}

#[test]
fn a_whole_pool_may_leave_out_vrf_and_pairing_and_no_other_immutable_field() {
    let present = contract::full();
    let unset: Vec<_> = FIELDS
        .iter()
        .filter(|field| field.kind == Kind::Immutable)
        .filter(|field| {
            let mut wanted = present.clone();
            (field.take)(&mut wanted, &contract::empty());
            changed_immutable(&present, &wanted).is_none()
        })
        .map(|field| field.path)
        .collect();
    assert_eq!(unset, ["vrf", "pairing"]);
    assert_eq!(changed_immutable(&present, &present), None);
    let cleared = configuration(&present);
    assert_eq!(changed_immutable(&present, &cleared), None);
    assert_eq!(cleared.etag, "");
}
