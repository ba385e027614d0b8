//! A router of a test, which sends IPv6 router advertisements as long as it lives (RFC 4861 §4.2).

use std::net::Ipv6Addr;
use std::process::{Child, Command, Stdio};

use crate::host::netns::Netns;

/// Sends a message to all nodes of a link, so often that an interface is met whenever it appears, and with the hop limit
/// of what comes from the link itself. What cannot be sent yet (no address that is ready, no carrier) is tried again.
const SENDER: &str = "
import socket, sys, time
sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
to = ('ff02::1', 0, 0, socket.if_nametoindex(sys.argv[1]))
while True:
    try:
        sender.sendto(bytes.fromhex(sys.argv[2]), to)
    except OSError:
        pass
    time.sleep(0.005)
";

/// A router on a link. Dropping it stops it.
#[derive(Debug)]
pub struct Router {
    sender: Child,
}

impl Router {
    /// Advertises itself as default router, and `prefix`/64 for addresses, over `ifname` of `netns`.
    ///
    /// # Panics
    /// When Python is not there.
    pub fn start(netns: &Netns, ifname: &str, prefix: &str) -> Router {
        let message = advertisement(prefix.parse().expect("a prefix is an address"));
        let message: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
        let sender = netns.run(|| {
            Command::new("python3")
                .args(["-c", SENDER, ifname, &message])
                .stdin(Stdio::null())
                .spawn()
        });
        Router {
            sender: sender.expect("start python3"),
        }
    }
}

fn advertisement(prefix: Ipv6Addr) -> Vec<u8> {
    let seconds = 1800_u32.to_be_bytes();
    // Type, code, the checksum that the kernel fills in; hop limit, flags, lifetime of the router.
    let mut message = vec![134, 0, 0, 0, 64, 0, seconds[2], seconds[3]];
    // Reachable time and retransmission timer: not specified.
    message.extend([0; 8]);
    // Prefix information: on link, for addresses that hosts make themselves; valid and preferred for so long.
    message.extend([3, 4, 64, 0xc0]);
    message.extend(seconds);
    message.extend(seconds);
    message.extend([0; 4]);
    message.extend(prefix.octets());
    message
}

impl Drop for Router {
    fn drop(&mut self) {
        let _gone_already = self.sender.kill();
        let _gone_already = self.sender.wait();
    }
}
