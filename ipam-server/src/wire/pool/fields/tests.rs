//! The table holds every field of the contract once, and each row acts on the field that it names.

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};
use serde_json::Value;

use super::*;

/// The name of a message whose fields are rows of their own.
const SUBNET: &str = ".ipam.v1.Subnet";

fn message(files: &FileDescriptorSet, name: &str) -> DescriptorProto {
    let mut messages = files.file.iter().flat_map(|file| &file.message_type);
    let found = messages.find(|message| message.name() == name);
    found.expect("in the contract").clone()
}

/// Every path of the contract, as update masks and as JSON name it.
fn contract() -> Vec<(String, String)> {
    let files = FileDescriptorSet::decode(proto::IPAM_DESCRIPTORS).expect("descriptors");
    let subnet = message(&files, "Subnet");
    let mut paths = Vec::new();
    for field in message(&files, "Pool").field {
        let (name, json) = (field.name().to_owned(), field.json_name().to_owned());
        match field.type_name() {
            SUBNET => paths.extend(subnet.field.iter().map(|of| {
                (
                    format!("{name}.{}", of.name()),
                    format!("/{json}/{}", of.json_name()),
                )
            })),
            _ => paths.push((name, format!("/{json}"))),
        }
    }
    paths
}

/// A pool in which every field is set.
fn full() -> ipam::Pool {
    let subnet = serde_json::json!({
        "cidr": "x", "ranges": ["x"], "excludes": ["x"], "gateway": "x", "routes": [{"dst": "x"}],
    });
    let usage = serde_json::json!({ "free": "1" });
    let pool = serde_json::json!({
        "name": "x", "vrf": "x", "ipv4": subnet, "ipv6": subnet, "dns": {"search": ["x"]}, "pairing": "ALIGNED",
        "familiesRequired": "ANY", "strategy": "RANDOM", "quarantine": "1s", "defaultTtl": "1s", "maxTtl": "1s",
        "state": "CORDONED", "labels": {"x": "x"}, "etag": "x", "createTime": "2026-01-01T00:00:00Z",
        "updateTime": "2026-01-01T00:00:00Z", "ipv4Usage": usage, "ipv6Usage": usage, "allowedNamespaces": ["x"],
        "requestedAddresses": "DENY", "namespaceQuota": 1,
    });
    serde_json::from_value(pool).expect("a pool")
}

fn halves() -> ipam::Pool {
    ipam::Pool {
        ipv4: Some(ipam::Subnet::default()),
        ipv6: Some(ipam::Subnet::default()),
        ..ipam::Pool::default()
    }
}

#[test]
fn every_field_of_the_contract_is_in_the_table_once() {
    let mut table: Vec<_> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
    let mut contract: Vec<_> = contract().into_iter().map(|(path, _)| path).collect();
    table.sort();
    contract.sort();
    assert_eq!(table, contract);
}

#[test]
fn each_row_takes_and_compares_the_field_that_it_names() {
    let full = full();
    let json = serde_json::to_value(&full).expect("JSON");
    let contract = contract();
    for field in &FIELDS {
        let (_, pointer) = contract
            .iter()
            .find(|(path, _)| path == field.path)
            .expect("in the contract");
        let mut pool = halves();
        assert!(!(field.keeps)(&pool, &full), "{}", field.path);
        (field.take)(&mut pool, &full);
        assert!((field.keeps)(&pool, &full), "{}", field.path);
        let taken = serde_json::to_value(&pool).expect("JSON");
        let set: Vec<_> = contract
            .iter()
            .filter(|(_, pointer)| {
                taken
                    .pointer(pointer)
                    .is_some_and(|value| *value != Value::Null)
            })
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(set, [field.path]);
        assert_eq!(taken.pointer(pointer), json.pointer(pointer), "{pointer}");
    }
}

#[test]
fn an_update_changes_the_mutable_fields_only() {
    let full = full();
    let mut pool = halves();
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
    let present = full();
    let unset: Vec<_> = FIELDS
        .iter()
        .filter(|field| field.kind == Kind::Immutable)
        .filter(|field| {
            let mut wanted = present.clone();
            (field.take)(&mut wanted, &halves());
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
