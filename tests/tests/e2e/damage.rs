//! What disks and kills do to the store of ipam-server. What was acknowledged is there, or the server refuses to serve,
//! leaves the store as it is, and `ipamctl export --offline` saves what can be read and says what cannot.
//!
//! `E2E_DAMAGE_SEED` repeats a run, `E2E_DAMAGE_ROUNDS` is the share of the rounds in percent (100).

mod full_disk;
mod kill;
mod live_copy;
mod power_cut;
mod random;
mod scene;
mod trace;
