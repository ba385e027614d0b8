//! What happens around the sandboxes while they come and go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::{Agent, ApiServer, IpamServer, Node, wait_until};

use crate::programs;

/// How long the sandboxes may take to get on.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything is restarted or replaced once its share of the `all` sandboxes has begun.
pub(crate) fn make(
    begun: &AtomicUsize,
    all: usize,
    node: &Node,
    agent: &mut Agent,
    ipam: &mut IpamServer,
    api: &ApiServer,
) {
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
    assert!(agent.stop().success(), "{}", agent.log());
    *agent = successor;

    after(18);
    agent.kill9();
    after(22);
    agent.restart();

    after(30);
    ipam.kill9();
    ipam.restart();
    programs::replace(node);

    after(45);
    api.stop();
    api.restart();

    after(70);
    programs::replace(node);
    assert!(ipam.stop().success(), "{}", ipam.log());
    ipam.restart();

    after(80);
    assert!(agent.stop().success(), "{}", agent.log());
    agent.restart();
    programs::replace(node);
}
