//! What a runtime does: each sandbox gets its interfaces, lives for a while, and loses them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Node, Outcome, Pod, wait_until};
use serde_json::json;

use crate::storm::fixture::{Bound, NAMESPACE};

/// 20 a second, as long as the machine is quick enough.
const BETWEEN: Duration = Duration::from_millis(50);
/// Calls that are made at once at most: a machine that is too slow gets no more and more of them.
const AT_ONCE: usize = 32;
/// How many others begin before a sandbox ends.
const LIFE: usize = 40;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many begin before the built-in plugins are switched off or on: a sandbox that lives for [`LIFE`] others ends under the
/// other setting.
const SWITCHED_EVERY: usize = 30;
/// Of so many sandboxes one is looked into.
const SAMPLE: usize = 10;

/// A name and its addresses, IPv4 first.
pub(crate) type Interface = (String, Vec<String>);

/// What came of the calls.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) adds: Vec<Duration>,
    pub(crate) dels: Vec<Duration>,
    pub(crate) failures: Vec<String>,
    /// From the begin of the first ADD to that of the last one.
    pub(crate) begun_within: Duration,
    /// Of some pods: the name, and their interfaces with their addresses.
    pub(crate) samples: Vec<(String, Vec<Interface>)>,
}

/// A runtime at work.
struct Runtime<'a> {
    node: &'a Node,
    pods: &'a [Bound],
    begun: &'a AtomicUsize,
    start: Instant,
    in_flight: Mutex<usize>,
    ended: Condvar,
    seen: Mutex<Seen>,
}

/// One sandbox for each pod; `begun` counts them.
pub(crate) fn come_and_go(node: &Node, pods: &[Bound], begun: &AtomicUsize) -> Seen {
    let runtime = Runtime {
        node,
        pods,
        begun,
        start: Instant::now(),
        in_flight: Mutex::default(),
        ended: Condvar::new(),
        seen: Mutex::default(),
    };
    thread::scope(|scope| {
        let mut next = Instant::now();
        for (number, pod) in pods.iter().enumerate() {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += BETWEEN;
            let runtime = &runtime;
            scope.spawn(move || runtime.sandbox(number, pod));
        }
    });
    runtime.seen.into_inner().expect("no sandbox panicked")
}

impl Runtime<'_> {
    fn sandbox(&self, number: usize, pod: &Bound) {
        let sandbox = self.node.pod(NAMESPACE, &pod.name).uid(&pod.uid);
        let sandbox = sandbox.without_manifest().create();
        let added = self.call("ADD", &sandbox);
        if number.is_multiple_of(SAMPLE) && added.status.success() {
            let found = ["eth0", "net1"].map(|name| interface(&sandbox, name));
            let sample = (pod.name.clone(), found.into());
            self.seen().samples.push(sample);
        }
        self.note(&added, |seen| &mut seen.adds);
        wait_until("the others", PATIENCE, || {
            let begun = self.begun.load(Ordering::Relaxed);
            (begun > number + LIFE || begun == self.pods.len()).then_some(())
        });
        let deleted = self.call("DEL", &sandbox);
        self.note(&deleted, |seen| &mut seen.dels);
        sandbox.netns().remove();
    }

    /// Executes meta-cni as it is in the plugin folder now.
    fn call(&self, verb: &str, sandbox: &Pod) -> Outcome {
        let in_flight = self.in_flight.lock().expect("no sandbox panicked");
        let full = |in_flight: &mut usize| *in_flight >= AT_ONCE;
        let mut in_flight = self.ended.wait_while(in_flight, full).expect("as above");
        *in_flight += 1;
        drop(in_flight);
        if verb == "ADD" {
            self.begun.fetch_add(1, Ordering::Relaxed);
            self.seen().begun_within = self.start.elapsed();
        }
        let built_in = self.built_in();
        let call = self.node.call(verb).pod(sandbox);
        let call = call.conf(json!({ "builtinPlugins": built_in }));
        let outcome = call.program(&self.node.bin_dir().join("meta-cni")).run();
        *self.in_flight.lock().expect("no sandbox panicked") -= 1;
        self.ended.notify_one();
        outcome
    }

    /// Somebody switches the built-in plugins off and on: what one kind made, the other deletes.
    fn built_in(&self) -> &'static str {
        let begun = self.begun.load(Ordering::Relaxed);
        match (begun / SWITCHED_EVERY).is_multiple_of(2) {
            true => "auto",
            false => "off",
        }
    }

    fn note(&self, outcome: &Outcome, times: fn(&mut Seen) -> &mut Vec<Duration>) {
        let mut seen = self.seen();
        times(&mut seen).push(outcome.elapsed);
        if !outcome.status.success() {
            seen.failures.push(outcome.to_string());
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no sandbox panicked")
    }
}

fn interface(sandbox: &Pod, name: &str) -> Interface {
    let addresses = [false, true].map(|v6| sandbox.address(name, v6));
    (name.to_owned(), addresses.into())
}
