//! Stored messages come through the domain byte for byte, with all their fields.

mod messages;

use pbjson_types as wkt;
use proptest::prelude::*;
use prost::Message;
use prost_types::FileDescriptorSet;
use proto::ipam::v1::{self as ipam, subject::Subject};
use serde_json::Value;

use super::{Malformed, event, lease, pool, reservation};
use messages::{events, leases, pools, reservations};

/// A message after it went through its bytes, the domain and its bytes again.
fn through<M: Message + Default, D>(
    message: &M,
    decode: fn(M) -> Result<D, Malformed>,
    encode: fn(D) -> M,
) -> M {
    let read = M::decode(message.encode_to_vec().as_slice()).expect("a message");
    let bytes = encode(decode(read).expect("of this version")).encode_to_vec();
    M::decode(bytes.as_slice()).expect("a message")
}

proptest! {
    #[test]
    fn leases_come_through(message in leases()) {
        prop_assert_eq!(&through(&message, lease::decode, lease::encode), &message);
    }

    #[test]
    fn pools_come_through(message in pools()) {
        prop_assert_eq!(&through(&message, pool::decode_stored, pool::encode), &message);
    }

    #[test]
    fn reservations_come_through(message in reservations()) {
        prop_assert_eq!(&through(&message, reservation::decode, reservation::encode), &message);
    }

    #[test]
    fn events_come_through(message in events()) {
        prop_assert_eq!(&through(&message, event::decode, event::encode), &message);
    }
}

/// The JSON names of a message's fields.
fn fields(name: &str) -> Vec<String> {
    let files = FileDescriptorSet::decode(proto::IPAM_DESCRIPTORS).expect("descriptors");
    let mut messages = files.file.iter().flat_map(|file| &file.message_type);
    let message = messages.find(|message| message.name() == name);
    let message = message.expect("in the contract");
    let names = message
        .field
        .iter()
        .map(|field| field.json_name().to_owned());
    names.collect()
}

/// The fields of a message that a JSON value lacks.
fn lacks(name: &str, value: &Value) -> Vec<String> {
    let missing = |field: &String| value.get(field).is_none_or(Value::is_null);
    fields(name).into_iter().filter(missing).collect()
}

#[test]
fn no_field_of_the_contract_is_left_out() {
    let owner = serde_json::json!({
        "kind": "pod", "cluster": "c", "namespace": "ns", "pod": "p", "podUid": "u", "containerId": "c1", "ifname": "net1",
        "network": "blue", "node": "n1", "claim": "x",
    });
    let time = "2026-01-02T03:04:05.000000006Z";
    let full_lease = serde_json::json!({
        "id": "l7", "pool": "blue", "vrf": "v", "ipv4": "10.0.0.7/24", "ipv6": "fd00::7/64", "owner": owner,
        "mac": "02:00:00:00:00:09", "state": "QUARANTINED", "generation": "3", "createTime": time, "renewTime": time,
        "expireTime": time, "quarantineUntilTime": time, "labels": {"a": "b"}, "requestId": "r",
        "requestedIps": ["10.0.0.7"], "requestedPools": ["blue"], "requestedFamilies": "V4",
    });
    let subnet = |base: &str| {
        let one = format!("{base}9");
        let dst = match base.contains(':') {
            true => format!("{base}/120"),
            false => format!("{base}0/24"),
        };
        serde_json::json!({
            "cidr": dst, "ranges": [one], "excludes": [one], "gateway": one,
            "routes": [{"dst": dst, "gw": one, "mtu": 9}],
        })
    };
    let full_pool = serde_json::json!({
        "name": "blue", "vrf": "v", "ipv4": subnet("10.0.0."), "ipv6": subnet("fd00::"), "dns": {
            "nameservers": ["10.0.0.53"], "domain": "d", "search": ["s"], "options": ["o"],
        },
        "pairing": "ALIGNED", "familiesRequired": "ANY", "strategy": "RANDOM", "quarantine": "1s", "defaultTtl": "1s",
        "maxTtl": "1.000000001s", "state": "CORDONED", "labels": {"a": "b"}, "etag": "7", "createTime": time,
        "updateTime": time, "allowedNamespaces": ["ns"], "requestedAddresses": "DENY", "namespaceQuota": 1,
    });
    let full_reservation = serde_json::json!({
        "name": "db-0", "pool": "blue", "ipv4": "10.0.0.7", "ipv6": "fd00::7", "identity": {
            "cluster": "c", "namespace": "ns", "pod": "p", "claim": "x", "mac": "m", "network": "blue", "ifname": "net1",
        },
        "labels": {"a": "b"}, "createTime": time,
    });
    let usage = ["ipv4Usage", "ipv6Usage"];
    for (name, value, unstored) in [
        ("Owner", &full_lease["owner"], &[][..]),
        ("Lease", &full_lease, &[]),
        ("Route", &full_pool["ipv4"]["routes"][0], &[]),
        ("Subnet", &full_pool["ipv4"], &[]),
        ("Dns", &full_pool["dns"], &[]),
        ("Pool", &full_pool, &usage),
        ("Identity", &full_reservation["identity"], &[]),
        ("Reservation", &full_reservation, &[]),
    ] {
        assert_eq!(lacks(name, value), unstored, "{name}");
    }
    let message: ipam::Lease = serde_json::from_value(full_lease).expect("a lease");
    assert_eq!(through(&message, lease::decode, lease::encode), message);
    let message: ipam::Pool = serde_json::from_value(full_pool).expect("a pool");
    assert_eq!(
        through(&message, pool::decode_stored, pool::encode),
        message
    );
    let message: ipam::Reservation =
        serde_json::from_value(full_reservation).expect("a reservation");
    assert_eq!(
        through(&message, reservation::decode, reservation::encode),
        message
    );
}

#[test]
fn what_no_version_writes_is_malformed() {
    let whole = ipam::Lease {
        id: "l7".into(),
        state: 1,
        ..ipam::Lease::default()
    };
    assert!(lease::decode(whole.clone()).is_ok());
    let spoils: [fn(&mut ipam::Lease); 7] = [
        |lease| lease.id = "7".into(),
        |lease| lease.state = 0,
        |lease| lease.state = 3,
        |lease| lease.ipv4 = "10.0.0.300/24".into(),
        |lease| lease.ipv6 = "10.0.0.1/24".into(),
        |lease| lease.requested_families = 9,
        |lease| {
            lease.expire_time = Some(wkt::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            });
        },
    ];
    for (index, spoil) in spoils.into_iter().enumerate() {
        let mut message = whole.clone();
        spoil(&mut message);
        assert!(lease::decode(message).is_err(), "{index}");
    }
    let mixed = ipam::Event {
        r#type: 1,
        before: Some(ipam::Subject {
            subject: Some(Subject::Lease(whole)),
        }),
        after: Some(ipam::Subject {
            subject: Some(Subject::Reservation(ipam::Reservation::default())),
        }),
        ..ipam::Event::default()
    };
    assert!(event::decode(mixed).is_err());
}
