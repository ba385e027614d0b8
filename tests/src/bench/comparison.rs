//! What `bench-attach` and `bench-agent` measure alike: ADD and DEL through `meta-cni` beside the same plugins executed
//! bare one after the other, in turns within one run; a burst; and the start-up beside a program that does nothing.
//!
//! An attachment is a bridge or a macvlan with host-local, IPv4 and IPv6.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::attachers::{self, Attacher, Bare, Meta};
use super::{Better, Report, Samples};
use crate::{Node, Pod, locate};

/// Secondary networks beside the default network.
const SIZES: [usize; 3] = [0, 1, 4];
const BURST_PODS: usize = 50;
const BURST_AT_ONCE: usize = 8;
const BURST_ROUNDS: usize = 5;
const START_ROUNDS: usize = 400;
/// What the kernel still has to do after an ADD or DEL (links, addresses, namespaces) is over by then.
const SETTLE: Duration = Duration::from_millis(20);

/// A node and its pods.
#[derive(Debug)]
pub struct Comparison<'a> {
    node: &'a Node,
    rounds: usize,
    single: [Pod; SIZES.len()],
    burst: Vec<Pod>,
}

/// The networks that the pods of a [`Comparison`] want, by name.
pub fn networks(node: &Node) -> impl Iterator<Item = (String, serde_json::Value)> {
    let network = |index| (format!("n{index}"), attachers::network(node, index));
    (1..=SIZES[2]).map(network)
}

impl Comparison<'_> {
    /// Makes the pods: `pod` makes one of a name that wants these networks. Each pair is measured `BENCH_ROUNDS` (40)
    /// times.
    ///
    /// # Panics
    /// When `BENCH_ROUNDS` is no number.
    pub fn new(node: &Node, pod: impl Fn(&str, &str) -> Pod) -> Comparison<'_> {
        let of = |name: String, size: usize| {
            let networks: Vec<String> = (1..=size).map(|index| format!("n{index}")).collect();
            pod(&name, &networks.join(","))
        };
        let rounds = std::env::var("BENCH_ROUNDS");
        Comparison {
            node,
            rounds: rounds.map_or(40, |n| n.parse().expect("BENCH_ROUNDS is a number")),
            single: SIZES.map(|size| of(format!("single-{size}"), size)),
            burst: (0..BURST_PODS)
                .map(|index| of(format!("burst-{index}"), 1))
                .collect(),
        }
    }

    /// Measures all, from the namespace that plays the host.
    ///
    /// # Panics
    /// When a call fails.
    pub fn run(&self, report: &mut Report) {
        // Threads and children of this closure stay in the namespace.
        self.node.host().run(|| {
            start(report);
            for (size, pod) in SIZES.into_iter().zip(&self.single) {
                self.pairs(size, pod, report);
            }
            self.burst(report);
        });
    }

    /// ADD and DEL of one pod with `size` secondary networks: bare, strictly in order, and with the default
    /// parallelism, in turns.
    fn pairs(&self, size: usize, pod: &Pod, report: &mut Report) {
        let bare = Bare::new(self.node, size);
        let attachers: [(&str, &dyn Attacher); 3] = [
            ("bare", &bare),
            ("serial", &Meta::new(self.node, Some(1))),
            ("default", &Meta::new(self.node, None)),
        ];
        let mut add: [Samples; 3] = Default::default();
        let mut del: [Samples; 3] = Default::default();
        for round in 0..=self.rounds {
            // Each comes first, second and third equally often: what one leaves to the kernel to do later
            // meets another one.
            for turn in 0..attachers.len() {
                let index = (round + turn) % attachers.len();
                std::thread::sleep(SETTLE);
                let added = attachers[index].1.add(pod);
                std::thread::sleep(SETTLE);
                let deleted = attachers[index].1.del(pod);
                // The first round warms the caches.
                if round > 0 {
                    add[index].push(added);
                    del[index].push(deleted);
                }
            }
        }
        let goal = if size == 4 { 1.08 } else { 1.15 };
        report.ratio(
            &format!("add_serial_over_bare_{size}"),
            add[1].over(&add[0]),
            goal,
            Better::Lower,
        );
        if size == 4 {
            report.ratio("add_over_bare_4", add[2].over(&add[0]), 0.65, Better::Lower);
            report.ratio("del_over_bare_4", del[2].over(&del[0]), 0.45, Better::Lower);
        }
        for (index, (name, _)) in attachers.iter().enumerate() {
            report.figure(&format!("ADD +{size} {name}"), "ms", &add[index]);
            report.figure(&format!("DEL +{size} {name}"), "ms", &del[index]);
        }
    }

    /// Pods per second when many come at once, each with one secondary network.
    fn burst(&self, report: &mut Report) {
        let bare = Bare::new(self.node, 1);
        let meta = Meta::new(self.node, None);
        let (mut floor, mut ours) = (Samples::default(), Samples::default());
        for _ in 0..BURST_ROUNDS {
            for (attacher, samples) in [(&bare as &dyn Attacher, &mut floor), (&meta, &mut ours)] {
                let took = at_once(&self.burst, |pod| attacher.add(pod));
                samples.push_value(BURST_PODS as f64 / took.as_secs_f64());
                at_once(&self.burst, |pod| attacher.del(pod));
            }
        }
        report.ratio("burst_over_bare", ours.over(&floor), 0.9, Better::Higher);
        report.figure("burst bare", "pods/s", &floor);
        report.figure("burst meta-cni", "pods/s", &ours);
    }
}

/// VERSION beside a program that does nothing.
fn start(report: &mut Report) {
    let (mut noop, mut version) = (Samples::default(), Samples::default());
    for _ in 0..START_ROUNDS {
        noop.push(attachers::start(&locate::executable("noop")));
        version.push(attachers::start(&locate::executable("meta-cni")));
    }
    report.ratio("start_over_noop", version.over(&noop), 1.5, Better::Lower);
    report.figure("noop", "ms", &noop);
    report.figure("meta-cni VERSION", "ms", &version);
}

fn at_once(pods: &[Pod], work: impl Fn(&Pod) -> Duration + Sync) -> Duration {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..BURST_AT_ONCE {
            scope.spawn(|| {
                while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(pod);
                }
            });
        }
    });
    started.elapsed()
}
