//! What interfaces of a pod learn from IPv6 router advertisements (RFC 4861 §6.3.4), set by the kernel's
//! `net.ipv6.conf` (Documentation/networking/ip-sysctl.rst).

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::Deserialize;

/// What secondary interfaces accept that did not ask for a default route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    /// Addresses and routes, but no default route.
    #[default]
    Addresses,
    /// What the kernel accepts by itself.
    All,
    /// Nothing.
    None,
}

impl Accept {
    /// The setting that is 0 for it.
    fn setting(self) -> Option<&'static str> {
        match self {
            Accept::Addresses => Some(DEFAULT_ROUTES),
            Accept::All => None,
            Accept::None => Some("accept_ra"),
        }
    }
}

/// Whether default routes are learned.
const DEFAULT_ROUTES: &str = "accept_ra_defrtr";

/// As long as this value lives, interfaces that appear in a namespace learn no more than they may; afterwards what
/// appears learns what it did before. Interfaces keep what they appeared with, so no advertisement comes before the
/// setting.
#[derive(Debug, Default)]
pub struct Guard {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    setting: &'static str,
    /// The setting for interfaces that appear, of its namespace from whichever thread it is used.
    default: File,
    /// What it was.
    was: String,
}

impl Guard {
    /// Begins to hold the interfaces that appear in the thread's namespace to `accept`. A kernel without IPv6 has
    /// nothing to hold. Where it cannot be set (a read-only /proc/sys), that is logged.
    pub fn hold(accept: Accept) -> Guard {
        let held = accept.setting().map(hold).transpose();
        Guard {
            held: logged(held).flatten().flatten(),
        }
    }

    /// Lets these interfaces of the thread's namespace learn what they did not when they appeared. What a plugin has
    /// set to another value than the one they appeared with stays.
    pub fn release(&self, ifnames: &[&str]) {
        if let Some(held) = &self.held {
            for ifname in ifnames {
                logged(change(ifname, held.setting, &held.was, |now| now == "0"));
            }
        }
    }

    /// Whether anything is held.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            logged(held.default.write_all_at(held.was.as_bytes(), 0));
        }
    }
}

/// Makes these interfaces of the thread's namespace learn no default routes any more. Those that they
/// have stay, and so do addresses and other routes.
///
/// A kernel without IPv6 has nothing to turn off. Where it cannot be turned off (a read-only /proc/sys),
/// that is logged: the routes are right for now.
pub(crate) fn ignore_default_routes(ifnames: &[&str]) {
    for ifname in ifnames {
        logged(change(ifname, DEFAULT_ROUTES, "0", |now| now != "0"));
    }
}

fn hold(setting: &'static str) -> io::Result<Option<Held>> {
    let path = path("default", setting);
    let mut default = File::options().read(true).write(true).open(path)?;
    let mut was = String::new();
    default.read_to_string(&mut was)?;
    if was.trim() == "0" {
        return Ok(None);
    }
    default.write_all_at(b"0", 0)?;
    Ok(Some(Held {
        setting,
        default,
        was,
    }))
}

/// Changes a setting of an interface to `value` if what it is now is to be changed.
fn change(
    ifname: &str,
    setting: &str,
    value: &str,
    is_to_change: impl Fn(&str) -> bool,
) -> io::Result<()> {
    let path = path(ifname, setting);
    if is_to_change(fs::read_to_string(&path)?.trim()) {
        fs::write(&path, value)?;
    }
    Ok(())
}

fn path(ifname: &str, setting: &str) -> PathBuf {
    // Of the thread that opens it, not of the process.
    ["/proc/sys/net/ipv6/conf", ifname, setting]
        .iter()
        .collect()
}

/// What was done, if it was done; why not, for people. Without IPv6, or without the interface, there is nothing to do.
fn logged<T>(done: io::Result<T>) -> Option<T> {
    match done {
        Ok(done) => return Some(done),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot set what a router advertisement may bring: it may bring a default route"
        ),
    }
    None
}

#[cfg(test)]
mod tests;
