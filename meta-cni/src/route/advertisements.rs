//! Default routes from IPv6 router advertisements (RFC 4861 §6.3.4), turned off interface by interface
//! with `accept_ra_defrtr` (Documentation/networking/ip-sysctl.rst). Addresses and other routes are
//! still learned.

use std::fs;
use std::io;

/// Makes these interfaces of the thread's namespace learn no default routes any more. Those that they
/// have stay.
///
/// A kernel without IPv6 has nothing to turn off. Where it cannot be turned off (a read-only /proc/sys),
/// that is logged: the routes are right for now.
pub(super) fn ignore(ifnames: &[&str]) {
    for ifname in ifnames {
        match turn_off(ifname) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(
                ifname,
                error = &error as &dyn std::error::Error,
                "cannot turn off accept_ra_defrtr: a router advertisement may bring a default route back"
            ),
            _ => {}
        }
    }
}

fn turn_off(ifname: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{ifname}/accept_ra_defrtr");
    if fs::read_to_string(&path)?.trim() == "0" {
        return Ok(());
    }
    fs::write(&path, "0")
}
