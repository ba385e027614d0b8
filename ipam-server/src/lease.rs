//! Requests for leases as the allocator needs them: decoded, checked, in canonical form; and what of a lease
//! is looked up by.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, DefaultHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use pbjson_types as wkt;
use proto::ipam::v1 as ipam;

use crate::error::{Error, Family};
use crate::pool::{Families, Problems, decode_families, family_of};
use crate::text;

/// What an Allocate asks for, with everything checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Pools, in the order to try.
    pub pools: Vec<String>,
    /// Who asks.
    pub owner: ipam::Owner,
    /// The IPv4 address that it must be.
    pub ipv4: Option<IpAddr>,
    /// The IPv6 address that it must be.
    pub ipv6: Option<IpAddr>,
    /// Which families, if the request says.
    pub families: Option<Families>,
    /// As the message says it.
    pub families_message: i32,
    /// Lower case with colons, or empty.
    pub mac: String,
    /// How long, if the request says.
    pub ttl: Option<Duration>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Id of the request, or empty.
    pub request_id: String,
    /// Answer as if.
    pub validate_only: bool,
}

impl Wish {
    /// Checks a request; `at` is its path in the message (`` or `requests[3].`).
    ///
    /// # Errors
    /// [`Error::InvalidAttachment`], or [`Error::InvalidFields`] with everything that is wrong.
    pub fn decode(request: ipam::AllocateRequest, at: &str) -> Result<Wish, Error> {
        let mut problems = Problems::default();
        if request.pools.is_empty() {
            problems.add(format!("{at}pools"), "name at least one pool");
        }
        if request.pools.len() > 16 {
            problems.add(format!("{at}pools"), "at most 16 are tried");
        }
        let mut owner = request.owner.unwrap_or_default();
        if owner == ipam::Owner::default() && request.request_id.is_empty() {
            problems.add(
                format!("{at}owner"),
                "say who asks: an attachment, a pod, a claim or any other field",
            );
        }
        check_owner(&owner, &format!("{at}owner"), &mut problems);
        for (name, value) in owner_fields(&owner) {
            if !text::is_plain(value) {
                let field = format!("{at}owner.{name}");
                problems.add(field, "has a character that steers a terminal");
            }
        }
        if owner.kind.is_empty() && !owner.pod.is_empty() {
            "pod".clone_into(&mut owner.kind);
        }
        let (mut ipv4, mut ipv6) = (None, None);
        for (index, text) in request.ips.iter().enumerate() {
            let field = format!("{at}ips[{index}]");
            let plain = text
                .split_once('/')
                .map_or(text.as_str(), |(address, _)| address);
            let Some(address) = problems.address(&field, plain, None) else {
                continue;
            };
            let (slot, bits) = match family_of(address) {
                Family::V4 => (&mut ipv4, 32),
                Family::V6 => (&mut ipv6, 128),
            };
            if let Some((_, prefix)) = text.split_once('/')
                && !prefix.parse::<u8>().is_ok_and(|given| given <= bits)
            {
                problems.add(
                    &field,
                    format!("{text:?} has no prefix length from 0 to {bits}"),
                );
            }
            if slot.replace(address).is_some() {
                problems.add(field, format!("is a second {} address", family_of(address)));
            }
        }
        problems.known(
            &format!("{at}families_required"),
            ipam::FamiliesRequired::try_from(request.families_required).is_ok(),
        );
        let families = ipam::FamiliesRequired::try_from(request.families_required)
            .ok()
            .and_then(decode_families);
        match families {
            Some(Families::One(Family::V4)) if ipv6.is_some() => {
                problems.add(
                    format!("{at}families_required"),
                    "V4 contradicts the IPv6 address in ips",
                );
            }
            Some(Families::One(Family::V6)) if ipv4.is_some() => {
                problems.add(
                    format!("{at}families_required"),
                    "V6 contradicts the IPv4 address in ips",
                );
            }
            _ => {}
        }
        let ttl = request
            .ttl
            .as_ref()
            .map(|ttl| problems.duration(&format!("{at}ttl"), Some(ttl)));
        problems.labels(&format!("{at}labels"), &request.labels);
        problems.plain_labels(&format!("{at}labels"), &request.labels);
        let mac = mac(&format!("{at}mac"), &request.mac, &mut problems);
        if request.request_id.len() > 128 {
            problems.add(format!("{at}request_id"), "is longer than 128 bytes");
        }
        if !text::is_plain(&request.request_id) {
            let field = format!("{at}request_id");
            problems.add(field, "has a character that steers a terminal");
        }
        problems.into_result()?;
        attachment(&owner)?;
        Ok(Wish {
            pools: request.pools,
            owner,
            ipv4,
            ipv6,
            families,
            families_message: request.families_required,
            mac,
            ttl: ttl.filter(|ttl| !ttl.is_zero()),
            labels: request.labels.into_iter().collect(),
            request_id: request.request_id,
            validate_only: request.validate_only,
        })
    }

    /// The address that it must be, of one family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }

    /// The addresses as a lease keeps them.
    pub fn requested_ips(&self) -> Vec<String> {
        [self.ipv4, self.ipv6]
            .into_iter()
            .flatten()
            .map(|ip| ip.to_string())
            .collect()
    }

    /// What of a lease that is there is not as this request asks; empty: nothing.
    pub fn differences(&self, lease: &ipam::Lease) -> String {
        let differs = [
            ("pools", lease.requested_pools != self.pools),
            ("ips", lease.requested_ips != self.requested_ips()),
            (
                "families_required",
                lease.requested_families != self.families_message,
            ),
            ("mac", !self.mac.is_empty() && lease.mac != self.mac),
        ];
        let names: Vec<_> = differs
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| *name)
            .collect();
        names.join(", ")
    }
}

/// Checks what a lease of an import says beside its pool and addresses, and writes its MAC as this server does.
///
/// # Errors
/// [`Error::InvalidFields`] with each field of `lease`.
pub fn check_imported(lease: &mut ipam::Lease) -> Result<(), Error> {
    let mut problems = Problems::default();
    if let Some(owner) = &lease.owner {
        check_owner(owner, "lease.owner", &mut problems);
    }
    lease.mac = mac("lease.mac", &lease.mac, &mut problems);
    problems.labels("lease.labels", &lease.labels);
    problems.known(
        "lease.state",
        ipam::lease::State::try_from(lease.state).is_ok(),
    );
    problems.known(
        "lease.requested_families",
        ipam::FamiliesRequired::try_from(lease.requested_families).is_ok(),
    );
    for (field, time) in [
        ("create_time", &lease.create_time),
        ("renew_time", &lease.renew_time),
        ("expire_time", &lease.expire_time),
        ("quarantine_until_time", &lease.quarantine_until_time),
    ] {
        let is_time = |time: &wkt::Timestamp| Timestamp::new(time.seconds, time.nanos).is_ok();
        if !time.as_ref().is_none_or(is_time) {
            problems.add(
                format!("lease.{field}"),
                "must be a time of the years 1 to 9999, with 0 to 999999999 nanoseconds",
            );
        }
    }
    if lease.request_id.len() > 128 {
        problems.add("lease.request_id", "is longer than 128 bytes");
    }
    problems.into_result()
}

fn check_owner(owner: &ipam::Owner, at: &str, problems: &mut Problems) {
    for (name, value) in owner_fields(owner) {
        if value.len() > 253 {
            problems.add(format!("{at}.{name}"), "is longer than 253 bytes");
        }
    }
}

/// Whether a lease is of a node; without a node, every lease is.
pub fn is_of_node(lease: &ipam::Lease, node: Option<&str>) -> bool {
    let own = |node: &str| {
        let owner = lease.owner.as_ref();
        !node.is_empty() && owner.is_some_and(|owner| owner.node.eq_ignore_ascii_case(node))
    };
    node.is_none_or(own)
}

/// The fields of an owner by name.
pub fn owner_fields(owner: &ipam::Owner) -> [(&'static str, &str); 10] {
    [
        ("kind", &owner.kind),
        ("cluster", &owner.cluster),
        ("namespace", &owner.namespace),
        ("pod", &owner.pod),
        ("pod_uid", &owner.pod_uid),
        ("container_id", &owner.container_id),
        ("ifname", &owner.ifname),
        ("network", &owner.network),
        ("node", &owner.node),
        ("claim", &owner.claim),
    ]
}

/// Whether `owner` is an attachment: all three names, or none.
///
/// # Errors
/// [`Error::InvalidAttachment`] if some are missing. A network by itself is no attachment.
pub fn attachment(owner: &ipam::Owner) -> Result<bool, Error> {
    if owner.container_id.is_empty() && owner.ifname.is_empty() {
        return Ok(false);
    }
    let missing: Vec<_> = [
        ("network", &owner.network),
        ("container_id", &owner.container_id),
        ("ifname", &owner.ifname),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_empty())
    .map(|(name, _)| name)
    .collect();
    if missing.is_empty() {
        Ok(true)
    } else {
        Err(Error::InvalidAttachment {
            missing: missing.join(", "),
        })
    }
}

/// A MAC in lower case with colons.
pub(crate) fn mac(field: &str, text: &str, problems: &mut Problems) -> String {
    if text.is_empty() {
        return String::new();
    }
    let parts: Vec<_> = text.split([':', '-']).collect();
    let hex = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !matches!(parts.len(), 6 | 8 | 20) || !parts.iter().all(hex) {
        problems.add(
            field,
            format!("{text:?} is not a MAC such as 02:00:00:00:00:09"),
        );
    }
    parts.join(":").to_ascii_lowercase()
}

/// The keys that a lease is found by, as hashes; 0: it has none. Equal keys have equal hashes; whoever finds by
/// one compares the lease itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Network, container and interface.
    pub attachment: u32,
    /// Request id.
    pub request: u32,
    /// Namespace and pod.
    pub pod: u32,
    /// MAC.
    pub mac: u32,
    /// Namespace: leases are counted by it, and not compared.
    pub namespace: u64,
}

impl Keys {
    /// Those of a lease.
    pub fn of(lease: &ipam::Lease) -> Keys {
        let none = ipam::Owner::default();
        let owner = lease.owner.as_ref().unwrap_or(&none);
        Keys {
            attachment: attachment_key(&owner.network, &owner.container_id, &owner.ifname),
            request: text_key(&lease.request_id),
            pod: pod_key(&owner.namespace, &owner.pod),
            mac: text_key(&lease.mac),
            namespace: namespace_key(&owner.namespace),
        }
    }
}

/// See [`Keys::attachment`].
pub fn attachment_key(network: &str, container_id: &str, ifname: &str) -> u32 {
    if container_id.is_empty() {
        return 0;
    }
    hash(&(network, container_id, ifname))
}

/// See [`Keys::pod`].
pub fn pod_key(namespace: &str, pod: &str) -> u32 {
    if pod.is_empty() {
        return 0;
    }
    hash(&(namespace, pod))
}

/// See [`Keys::namespace`]. The hash has a key of this process, so that nobody can choose two namespaces that share one.
pub fn namespace_key(namespace: &str) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(namespace)
}

/// A key of one text.
pub fn text_key(text: &str) -> u32 {
    if text.is_empty() { 0 } else { hash(&text) }
}

fn hash(key: &impl Hash) -> u32 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    // 32 bits are enough for a few leases to share one, and four of them are kept for each lease.
    ((hasher.finish() >> 32) as u32).max(1)
}

/// A time as messages have it.
pub fn timestamp(time: jiff::Timestamp) -> wkt::Timestamp {
    wkt::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// Milliseconds since 1970 of a message's time; 0 if it is not there.
pub fn millis(time: Option<&wkt::Timestamp>) -> i64 {
    time.map_or(0, |time| {
        time.seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(time.nanos) / 1_000_000)
    })
}
