//! What a drop-in for Multus must do, row by row: one named test for each row of the reference
//! (`meta-plugin.md`), on a folder of manifests as the cluster. Rows that need an API server are in
//! `kubernetes`.

mod annotations;
mod default_route;
mod errors;
mod explain;
mod explain_faults;
mod keys;
mod multus;
mod nameless;
mod network_status;
mod situations;
mod verbs;
mod versions;
