//! What happens around the sandboxes while they come and go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::{Agent, ApiServer, IpamServer, Node, wait_until};

use crate::storm::memory::Memory;
use crate::storm::programs;

/// How long the sandboxes may take to get on.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything is restarted or replaced once its share of the `all` sandboxes has begun. Gives what the processes had of
/// memory, but for the last look at those that are still there.
pub(crate) fn make(
    begun: &AtomicUsize,
    all: usize,
    node: &Node,
    agent: &mut Agent,
    ipam: &mut IpamServer,
    api: &ApiServer,
) -> Memory {
    let mut memory = Memory::default();
    memory.look(agent, ipam);
    let after = |percent: usize| {
        let what = format!("{percent} % of the sandboxes");
        wait_until(&what, PATIENCE, || {
            (begun.load(Ordering::Relaxed) * 100 >= all * percent).then_some(())
        });
    };
    after(5);
    programs::replace(node);

    after(10);
    let mut successor = agent.successor();
    successor.restart();
    memory.look(agent, ipam);
    assert!(agent.stop().success(), "{}", agent.log());
    *agent = successor;
    memory.look(agent, ipam);

    after(18);
    memory.look(agent, ipam);
    agent.kill9();
    after(22);
    agent.restart();
    memory.look(agent, ipam);

    after(30);
    memory.look(agent, ipam);
    ipam.kill9();
    ipam.restart();
    memory.look(agent, ipam);
    programs::replace(node);

    after(45);
    api.stop();
    api.restart();

    after(70);
    programs::replace(node);
    memory.look(agent, ipam);
    assert!(ipam.stop().success(), "{}", ipam.log());
    ipam.restart();
    memory.look(agent, ipam);

    after(80);
    memory.look(agent, ipam);
    assert!(agent.stop().success(), "{}", agent.log());
    agent.restart();
    memory.look(agent, ipam);
    programs::replace(node);
    memory
}
