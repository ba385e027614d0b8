//! The built-in plugins beside the reference plugins (containernetworking/plugins 1.10.0): each row of a table is a
//! configuration that both get, in twin namespaces; then answers, error codes, links, addresses, routes, rules,
//! neighbours, kernel settings, nftables and files are compared after every command. What one side made, the other checks and
//! deletes. REFERENCE_ROW=TEXT runs only the rows whose names have this text, REFERENCE_VERBOSE=1 prints every answer.

mod addressed;
mod bridge;
mod called;
mod dummy;
mod host_device;
mod host_local;
mod ipvlan;
mod loopback;
mod macvlan;
mod neighbours;
mod ptp;
mod requests;
mod row;
mod run;
mod sbr;
mod state;
mod static_addresses;
mod tuning;
mod twin;
mod vlan;
mod vrf;
