//! Leases as a table.

use proto::ipam::v1::{Lease, Owner, lease};

use crate::labels::joined;
use crate::out::Column;
use crate::time::{age, left};

/// The columns of a lease.
pub(crate) const COLUMNS: &[Column<Lease>] = &[
    Column {
        heading: "ID",
        wide: false,
        cell: |at, _| at.id.clone(),
    },
    Column {
        heading: "POOL",
        wide: false,
        cell: |at, _| at.pool.clone(),
    },
    Column {
        heading: "IPV4",
        wide: false,
        cell: |at, _| at.ipv4.clone(),
    },
    Column {
        heading: "IPV6",
        wide: false,
        cell: |at, _| at.ipv6.clone(),
    },
    Column {
        heading: "HOLDER",
        wide: false,
        cell: |at, _| holder(at.owner.as_ref()),
    },
    Column {
        heading: "INTERFACE",
        wide: false,
        cell: |at, _| owner(at, |owner| &owner.ifname),
    },
    Column {
        heading: "NODE",
        wide: false,
        cell: |at, _| owner(at, |owner| &owner.node),
    },
    Column {
        heading: "STATE",
        wide: false,
        cell: |at, _| state(at).to_owned(),
    },
    Column {
        heading: "AGE",
        wide: false,
        cell: |at, now| age(at.create_time.as_ref(), now),
    },
    Column {
        heading: "EXPIRES",
        wide: true,
        cell: |at, now| left(at.expire_time.as_ref(), now),
    },
    Column {
        heading: "FREE-IN",
        wide: true,
        cell: |at, now| left(at.quarantine_until_time.as_ref(), now),
    },
    Column {
        heading: "NETWORK",
        wide: true,
        cell: |at, _| owner(at, |owner| &owner.network),
    },
    Column {
        heading: "CONTAINER",
        wide: true,
        cell: |at, _| {
            owner(at, |owner| &owner.container_id)
                .chars()
                .take(13)
                .collect()
        },
    },
    Column {
        heading: "MAC",
        wide: true,
        cell: |at, _| at.mac.clone(),
    },
    Column {
        heading: "VRF",
        wide: true,
        cell: |at, _| at.vrf.clone(),
    },
    Column {
        heading: "GENERATION",
        wide: true,
        cell: |at, _| at.generation.to_string(),
    },
    Column {
        heading: "LABELS",
        wide: true,
        cell: |at, _| joined(&at.labels),
    },
];

/// The best name that an owner has.
pub(crate) fn holder(owner: Option<&Owner>) -> String {
    let Some(owner) = owner else {
        return String::new();
    };
    if !owner.pod.is_empty() {
        return format!("{}/{}", owner.namespace, owner.pod);
    }
    let kind = if owner.kind.is_empty() {
        "claim"
    } else {
        &owner.kind
    };
    if !owner.claim.is_empty() {
        return format!("{kind}:{}", owner.claim);
    }
    if !owner.container_id.is_empty() {
        let short: String = owner.container_id.chars().take(13).collect();
        return format!("container:{short}");
    }
    owner.kind.clone()
}

fn owner(lease: &Lease, field: fn(&Owner) -> &String) -> String {
    lease
        .owner
        .as_ref()
        .map(|owner| field(owner).clone())
        .unwrap_or_default()
}

fn state(lease: &Lease) -> &'static str {
    match lease.state() {
        lease::State::Unspecified => "",
        state => state.as_str_name(),
    }
}

/// The addresses of a lease, one or two.
pub(crate) fn addresses(lease: &Lease) -> String {
    let both = [&lease.ipv4, &lease.ipv6];
    let there: Vec<_> = both
        .into_iter()
        .filter(|address| !address.is_empty())
        .map(String::as_str)
        .collect();
    there.join(" ")
}

/// A lease in one phrase: id, addresses, holder.
pub(crate) fn phrase(lease: &Lease) -> String {
    let addresses = addresses(lease);
    match holder(lease.owner.as_ref()).as_str() {
        "" => format!("{} ({addresses})", lease.id),
        holder => format!("{} ({addresses}) of {holder}", lease.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::Format;
    use crate::out::tests::captured;

    fn lease() -> Lease {
        Lease {
            id: "l7".to_owned(),
            pool: "blue".to_owned(),
            ipv4: "10.20.0.7/24".to_owned(),
            ipv6: "fd00:20::7/64".to_owned(),
            state: lease::State::Active.into(),
            owner: Some(Owner {
                namespace: "default".to_owned(),
                pod: "web-0".to_owned(),
                ifname: "net1".to_owned(),
                ..Owner::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn a_lease_is_one_row() {
        let (mut out, captured) = captured(Format::Table, false);
        out.one(COLUMNS, &lease()).expect("written");
        assert_eq!(
            captured.text(),
            [
                "ID   POOL   IPV4           IPV6            HOLDER          INTERFACE   NODE   STATE    AGE\n",
                "l7   blue   10.20.0.7/24   fd00:20::7/64   default/web-0   net1        -      ACTIVE   -\n",
            ]
            .concat()
        );
    }

    #[test]
    fn json_is_the_form_of_protobuf() {
        let (mut out, captured) = captured(Format::Json, false);
        out.one(COLUMNS, &lease()).expect("written");
        let value: serde_json::Value = serde_json::from_str(&captured.text()).expect("JSON");
        assert_eq!(value["state"], "ACTIVE");
        assert_eq!(value["owner"]["pod"], "web-0");
    }

    #[test]
    fn a_phrase_names_what_there_is() {
        assert_eq!(
            phrase(&lease()),
            "l7 (10.20.0.7/24 fd00:20::7/64) of default/web-0"
        );
        let bare = Lease {
            ipv6: String::new(),
            owner: None,
            ..lease()
        };
        assert_eq!(phrase(&bare), "l7 (10.20.0.7/24)");
    }
}
