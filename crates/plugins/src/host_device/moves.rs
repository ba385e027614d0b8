//! Moving a device between the host and a sandbox. One request moves it, renames it and keeps its name of the host as its
//! alias, so that it has no other name anywhere meanwhile that a manager of the host's network would take up.

use std::os::fd::AsFd as _;
use std::path::Path;

use netlink::netns::Namespace;
use netlink::{Link, LinkChange, Netlink};

use crate::failure::Failure;
use crate::sandbox;

/// The namespace of the calling thread, proc(5).
const OWN: &str = "/proc/thread-self/ns/net";

/// The host: the namespace that the thread was in when this was opened.
pub(super) struct Host {
    netlink: Netlink,
    namespace: Namespace,
}

impl Host {
    pub(super) fn open() -> Result<Host, Failure> {
        Ok(Host {
            netlink: Netlink::open()?,
            namespace: Namespace::open(Path::new(OWN))?,
        })
    }

    /// Moves a device into the sandbox under this name, and sets it up. It stays as it is if the name is in use there.
    pub(super) fn move_in(
        &mut self,
        device: &Link,
        namespace: &Namespace,
        ifname: &str,
    ) -> Result<(), Failure> {
        let host = &mut self.netlink;
        namespace.within(|| {
            if Netlink::open()?.link(ifname)?.is_some() {
                return Err(sandbox::name_in_use(ifname));
            }
            let change = LinkChange {
                name: Some(ifname),
                alias: Some(&device.name),
                namespace: Some(namespace.as_fd()),
                is_up: Some(true),
                ..LinkChange::default()
            };
            let doing = format!("move {} into the sandbox as {ifname}", device.name);
            Ok(host.change(&doing, device.index, &change)?)
        })?
    }

    /// Moves the device of this name back to the host, where it gets its former name and stays down. That it does not exist
    /// is no error.
    pub(super) fn move_out(&mut self, namespace: &Namespace, ifname: &str) -> Result<(), Failure> {
        let (host, own) = (&mut self.netlink, &self.namespace);
        namespace.within(|| {
            let mut inside = Netlink::open()?;
            let Some(link) = inside.link(ifname)? else {
                return Ok(());
            };
            if link.alias.is_empty() {
                return Err(Failure::NoFormerName { name: link.name });
            }
            // Else the device would be on the host with a wrong name.
            if host.link(&link.alias)?.is_some() {
                return Err(Failure::NameInUse {
                    name: link.alias,
                    place: "the host",
                });
            }
            let change = LinkChange {
                name: Some(&link.alias),
                alias: Some(""),
                namespace: Some(own.as_fd()),
                ..LinkChange::default()
            };
            let doing = format!("move {ifname} back to the host as {}", link.alias);
            Ok(inside.change(&doing, link.index, &change)?)
        })?
    }

    /// Moves a device of an ADD that failed back, as it was; what is left, DEL does.
    pub(super) fn undo(&mut self, device: &Link, namespace: &Namespace, ifname: &str) {
        let undone = self
            .move_out(namespace, ifname)
            .and_then(|()| self.restore(device));
        if let Err(error) = undone {
            tracing::warn!(device = device.name, %error, "a device of an ADD that failed is left to DEL");
        }
    }

    /// Sets a device up again that was up, and gives it the alias that it had.
    fn restore(&mut self, device: &Link) -> Result<(), Failure> {
        let Some(back) = self.netlink.link(&device.name)? else {
            return Ok(());
        };
        let change = LinkChange {
            alias: (!device.alias.is_empty()).then_some(device.alias.as_str()),
            is_up: device.is_up.then_some(true),
            ..LinkChange::default()
        };
        let doing = format!("set {} up again", device.name);
        Ok(self.netlink.change(&doing, back.index, &change)?)
    }
}
