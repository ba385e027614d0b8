//! Pairs of links: one end in the sandbox, the other on the host, each made where it stays.

use std::os::fd::AsFd as _;

use netlink::netns::Namespace;
use netlink::{Link, Netlink, NewKind, NewLink};

use crate::failure::Failure;
use crate::{hardware, sandbox};

/// How many random names are tried.
const NAMES: u32 = 10;

/// What a pair is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The name of the end that is not a port.
    pub(crate) container: &'a str,
    /// The MTU of both ends in bytes.
    pub(crate) mtu: Option<u32>,
    /// The hardware address of the container's end.
    pub(crate) mac: Option<&'a [u8]>,
    /// The bridge that the host's end is a port of.
    pub(crate) controller: Option<u32>,
}

/// A pair that was made.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The name of the host's end.
    pub(crate) host: String,
    /// Its index.
    pub(crate) host_index: u32,
    /// Its hardware address as text.
    pub(crate) host_mac: String,
    /// The name of the container's end.
    pub(crate) container: String,
    /// Its hardware address as text.
    pub(crate) container_mac: String,
}

impl Pair {
    /// Makes a pair between the thread's namespace and that of the container, its host end up.
    ///
    /// # Errors
    /// [`Failure::Netlink`] with EEXIST if the container has an interface of the name.
    pub(crate) fn make(
        host: &mut Netlink,
        namespace: &Namespace,
        wanted: &Wanted<'_>,
    ) -> Result<Pair, Failure> {
        // One that is chosen here needs no question about it afterwards.
        let chosen = match wanted.mac {
            Some(mac) => mac.to_vec(),
            None => hardware::random().to_vec(),
        };
        let peer = NewLink {
            mac: Some(&chosen),
            mtu: wanted.mtu,
            namespace: Some(namespace.as_fd()),
            ..NewLink::new(wanted.container, NewKind::Peer)
        };
        let name = make_with_random_name(host, &peer, wanted, || {
            let inside = namespace.within(|| Netlink::open()?.link(wanted.container));
            Ok(inside??.is_some())
        })?;
        let made = sandbox::link(host, &name, "somebody removed it; try again")?;
        Ok(Pair {
            host: name,
            host_index: made.index,
            host_mac: made.mac,
            container: wanted.container.to_owned(),
            container_mac: cni::hardware::text(&chosen),
        })
    }

    /// Removes the pair after a failure; what is left goes with the namespace.
    pub(crate) fn remove(&self, host: &mut Netlink) {
        if let Err(error) = host.delete_link(self.host_index) {
            tracing::warn!(link = self.host, %error, "a link of an ADD that failed is left to DEL");
        }
    }
}

/// Makes a pair whose both ends are in the thread's namespace; returns the index of the port.
///
/// # Errors
/// [`Failure::Netlink`].
pub(crate) fn make_on_host(host: &mut Netlink, wanted: &Wanted<'_>) -> Result<u32, Failure> {
    let peer = NewLink {
        mtu: wanted.mtu,
        ..NewLink::new(wanted.container, NewKind::Peer)
    };
    let name = make_with_random_name(host, &peer, wanted, || Ok(true))?;
    Ok(sandbox::link(host, &name, "somebody removed it; try again")?.index)
}

/// Makes a pair whose port gets a random name; another one while the name is in use, and the container's is not.
fn make_with_random_name(
    host: &mut Netlink,
    peer: &NewLink<'_>,
    wanted: &Wanted<'_>,
    is_peer_there: impl Fn() -> Result<bool, Failure>,
) -> Result<String, Failure> {
    let mut left = NAMES;
    loop {
        left -= 1;
        let [a, b, c, d, ..] = hardware::random_bytes();
        let name = format!("veth{a:02x}{b:02x}{c:02x}{d:02x}");
        let port = NewLink {
            mtu: wanted.mtu,
            // As the reference plugins make it (the other end of their request).
            tx_queue: Some(0),
            controller: wanted.controller,
            is_up: true,
            ..NewLink::new(&name, NewKind::Veth { peer })
        };
        match host.make(&port) {
            Ok(()) => return Ok(name),
            Err(error) if error.errno() == Some(nix::libc::EEXIST) && left > 0 => {
                if is_peer_there()? {
                    return Err(sandbox::name_in_use(wanted.container));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// CHECK of the container's end: it exists, is one of a pair, and has the hardware address.
///
/// # Errors
/// [`Failure::Changed`].
pub(crate) fn check_inside(
    namespace: &Namespace,
    ifname: &str,
    mac: Option<&str>,
) -> Result<Link, Failure> {
    let found = namespace.within(|| Netlink::open()?.link(ifname))??;
    let missing = || Failure::changed(format!("the interface {ifname} of the pod does not exist"));
    let link = found
        .filter(|link| link.kind == "veth")
        .ok_or_else(missing)?;
    if mac.is_some_and(|mac| mac != link.mac) {
        let what = format!("the hardware address of {ifname} is {}", link.mac);
        return Err(Failure::changed(what));
    }
    Ok(link)
}
