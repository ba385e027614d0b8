//! What the servers around the sandboxes have of memory, but for their executables: each process when it begins to serve, and before
//! its end.

use e2e::bench::anonymous_bytes;
use e2e::{Agent, IpamServer};

/// What an agent may have more before its end than when it began to serve: mostly what waits while the API server is away.
const AGENT_GROWTH: u64 = 12 << 20;
/// The same for ipam-server, whose store takes its cache (8 MiB), and what gathers for sled.
const IPAM_GROWTH: u64 = 12 << 20;

/// A process, with the bytes that it had when it was first and when it was last looked at.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pid: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// How much more `last` may be.
    growth: u64,
}

impl Process {
    /// Whether it has kept no more than it may.
    pub(crate) fn is_flat(&self) -> bool {
        self.last <= self.first + self.growth
    }
}

/// Every process of the agent and of ipam-server, in the order of their starts.
#[derive(Debug, Default)]
pub(crate) struct Memory(pub(crate) Vec<Process>);

impl Memory {
    /// Looks at both. To be called once a process serves, and before it is stopped.
    pub(crate) fn look(&mut self, agent: &Agent, ipam: &IpamServer) {
        self.note("agent", agent.pid(), AGENT_GROWTH);
        self.note("ipam-server", ipam.pid(), IPAM_GROWTH);
    }

    fn note(&mut self, name: &'static str, pid: u32, growth: u64) {
        let bytes = anonymous_bytes(pid);
        match self.0.iter_mut().find(|process| process.pid == pid) {
            Some(process) => process.last = bytes,
            None => self.0.push(Process {
                name,
                pid,
                first: bytes,
                last: bytes,
                growth,
            }),
        }
    }
}
