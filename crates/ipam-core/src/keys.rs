//! What a lease is found by, as hashes: the allocator keeps four of them for each lease.

use std::hash::{BuildHasher as _, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use crate::lease::{Lease, Owner};

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
    pub fn of(lease: &Lease) -> Keys {
        let owner = lease.owner();
        Keys {
            attachment: attachment_key(owner),
            request: text_key(&lease.requested.id),
            pod: pod_key(&owner.namespace, &owner.pod),
            mac: text_key(&lease.mac),
            namespace: namespace_key(&owner.namespace),
        }
    }
}

/// See [`Keys::attachment`].
pub fn attachment_key(owner: &Owner) -> u32 {
    let Owner {
        network,
        container_id,
        ifname,
        ..
    } = owner;
    if container_id.is_empty() {
        return 0;
    }
    hash(&(network.as_str(), container_id.as_str(), ifname.as_str()))
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
    // 32 bits are enough for a few leases to share one.
    ((hasher.finish() >> 32) as u32).max(1)
}
