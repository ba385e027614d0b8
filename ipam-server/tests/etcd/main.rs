//! The store in etcd, on real members: the suite that every store passes, the limits of members, what members refuse, and
//! members that go away and come back. It needs `etcd` in PATH or KUBEBUILDER_ASSETS, or the program that ETCD names, and belongs to
//! the rung `replicas`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "what fails here fails a test, and its cause is shown"
)]

mod callers;
mod contract;
mod copy;
mod faults;
mod ledgers;
mod limits;
mod loading;
mod member;
mod outages;
mod refusals;
mod servers;
#[path = "../../src/store/contract.rs"]
mod suite;
mod tls;
