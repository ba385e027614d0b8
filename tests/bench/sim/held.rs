//! Which addresses are held by what the callers were answered: none may be held twice at any time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use proto::ipam::v1::Lease;

/// Addresses, each with the lease that has it.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<IpAddr, String>>);

impl Held {
    /// Notes what a lease has, once it was answered.
    ///
    /// # Panics
    /// When another lease has one of its addresses.
    pub(crate) fn take(&self, lease: &Lease) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses(lease) {
            if let Some(other) = held.insert(address, lease.id.clone()) {
                panic!("{address} was given to lease {} and to {other}", lease.id);
            }
        }
    }

    /// Forgets what a lease has, before its release is asked for.
    pub(crate) fn give_back(&self, lease: &Lease) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses(lease) {
            held.remove(&address);
        }
    }

    /// Asserts that these leases hold exactly what is noted.
    ///
    /// # Panics
    /// When an address is held by nobody's lease, or by another one.
    pub(crate) fn assert_are(&self, leases: &[Lease]) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for lease in leases {
            for address in addresses(lease) {
                let noted = held.remove(&address);
                assert_eq!(noted.as_ref(), Some(&lease.id), "{address} leaks");
            }
        }
        assert!(held.is_empty(), "{} addresses were lost", held.len());
    }
}

/// Both addresses of a pair.
///
/// # Panics
/// When it is half a pair.
fn addresses(lease: &Lease) -> [IpAddr; 2] {
    let address = |text: &str| {
        let (address, _) = text.split_once('/').expect("an address with its prefix");
        address.parse().expect("an address")
    };
    [address(&lease.ipv4), address(&lease.ipv6)]
}
