//! What `bench-attach` and `bench-agent` measure alike: ADD and DEL through `meta-cni`, plugins built in and executed, beside the
//! same plugins executed bare one after the other and beside the kernel's part alone, in turns within one run; a burst; and
//! the start-up beside a program that does nothing.
//!
//! An attachment is a bridge or a macvlan with host-local, IPv4 and IPv6.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::attachers::{self, Attacher, Bare, Kernel, Meta};
use super::{Better, Report, Samples};
use crate::{Node, Pod, locate};

/// Secondary networks beside the default network.
const SIZES: [usize; 3] = [0, 1, 4];
const BURST_PODS: usize = 50;
const BURST_AT_ONCE: usize = 8;
const BURST_ROUNDS: usize = 5;
/// Pods of a node that starts.
const TOGETHER: usize = 30;
const START_ROUNDS: usize = 400;
/// What the kernel still has to do after an ADD or DEL (links, addresses, namespaces) is over by then.
const SETTLE: Duration = Duration::from_millis(20);

/// What is aimed at with built-in plugins, ÷ bare.
#[derive(Clone, Copy, Debug)]
pub struct Goals {
    /// ADD, by [`SIZES`]: at most.
    add: [f64; SIZES.len()],
    /// Pods per second in the burst: at least.
    burst: f64,
}

impl Goals {
    /// With a folder as the cluster.
    pub const FOLDER: Goals = Goals {
        add: [0.5, 0.35, 0.15],
        burst: 3.0,
    };
    /// Through the agent, above a real API server.
    pub const AGENT: Goals = Goals {
        add: [0.7, 0.35, 0.2],
        burst: 2.0,
    };
}

/// A node and its pods.
#[derive(Debug)]
pub struct Comparison<'a> {
    node: &'a Node,
    goals: Goals,
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
    pub fn new(node: &Node, goals: Goals, pod: impl Fn(&str, &str) -> Pod) -> Comparison<'_> {
        let of = |name: String, size: usize| {
            let networks: Vec<String> = (1..=size).map(|index| format!("n{index}")).collect();
            pod(&name, &networks.join(","))
        };
        let rounds = std::env::var("BENCH_ROUNDS");
        Comparison {
            node,
            goals,
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
            for ((size, pod), goal) in SIZES.into_iter().zip(&self.single).zip(self.goals.add) {
                self.pairs(size, pod, goal, report);
            }
            self.burst(report);
            self.together(report);
        });
    }

    /// ADD and DEL of one pod with `size` secondary networks, in turns: bare, by the built-in plugins, by executed ones, by
    /// executed ones strictly in order, and the kernel's part alone.
    fn pairs(&self, size: usize, pod: &Pod, of_add: f64, report: &mut Report) {
        let bare = Bare::new(self.node, size);
        let built_in = Meta::new(self.node, &json!({}));
        let executed = Meta::new(self.node, &executed());
        let serial = json!({"builtinPlugins": "off", "maxParallelDelegates": 1});
        let serial = Meta::new(self.node, &serial);
        let kernel = Kernel::new(self.node, size);
        let attachers: [(&str, &dyn Attacher); 5] = [
            ("bare", &bare),
            ("built in", &built_in),
            ("executed", &executed),
            ("executed in order", &serial),
            ("kernel", &kernel),
        ];
        let mut add: [Samples; 5] = Default::default();
        let mut del: [Samples; 5] = Default::default();
        for round in 0..=self.rounds {
            // Each comes at every place equally often: what one leaves to the kernel to do later meets another one.
            for turn in 0..attachers.len() {
                // The first round warms the caches, and makes the bridges for the kernel's part alone.
                let index = if round == 0 {
                    turn
                } else {
                    (round + turn) % attachers.len()
                };
                std::thread::sleep(SETTLE);
                let added = attachers[index].1.add(pod);
                std::thread::sleep(SETTLE);
                let deleted = attachers[index].1.del(pod);
                if round > 0 {
                    add[index].push(added);
                    del[index].push(deleted);
                }
            }
        }
        let mut ratio = |name: &str, value: f64, goal: f64| {
            report.ratio(&format!("{name}_{size}"), value, goal, Better::Lower);
        };
        let of_del = match size {
            0 => 1.0,
            1 => 0.5,
            _ => 0.25,
        };
        ratio("add_over_bare", add[1].over(&add[0]), of_add);
        ratio("del_over_bare", del[1].over(&del[0]), of_del);
        let of_serial = if size == 4 { 1.08 } else { 1.15 };
        ratio("add_serial_over_bare", add[3].over(&add[0]), of_serial);
        if size == 4 {
            ratio("add_over_kernel", add[1].over(&add[4]), 4.0);
            ratio("exec_add_over_bare", add[2].over(&add[0]), 0.65);
            ratio("exec_del_over_bare", del[2].over(&del[0]), 0.5);
        }
        for (index, (name, _)) in attachers.iter().enumerate() {
            report.figure(&format!("ADD +{size} {name}"), "ms", &add[index]);
            report.figure(&format!("DEL +{size} {name}"), "ms", &del[index]);
        }
    }

    /// Pods per second when many come at once, each with one secondary network.
    fn burst(&self, report: &mut Report) {
        let bare = Bare::new(self.node, 1);
        let built_in = Meta::new(self.node, &json!({}));
        let executed = Meta::new(self.node, &executed());
        let attachers: [&dyn Attacher; 3] = [&bare, &built_in, &executed];
        let mut rates: [Samples; 3] = Default::default();
        for _ in 0..BURST_ROUNDS {
            for (attacher, samples) in attachers.iter().zip(&mut rates) {
                let took = at_once(BURST_AT_ONCE, &self.burst, |pod| attacher.add(pod));
                samples.push_value(BURST_PODS as f64 / took.as_secs_f64());
                at_once(BURST_AT_ONCE, &self.burst, |pod| attacher.del(pod));
            }
        }
        let [bare, built_in, executed] = &rates;
        let higher = Better::Higher;
        report.ratio(
            "burst_over_bare",
            built_in.over(bare),
            self.goals.burst,
            higher,
        );
        report.ratio("exec_burst_over_bare", executed.over(bare), 0.9, higher);
        report.figure("burst bare", "pods/s", bare);
        report.figure("burst built in", "pods/s", built_in);
        report.figure("burst executed", "pods/s", executed);
    }

    /// How long one of many takes that come together, each with one secondary network, beside one alone.
    fn together(&self, report: &mut Report) {
        let built_in = Meta::new(self.node, &json!({}));
        let (mut alone, together) = (Samples::default(), Mutex::new(Samples::default()));
        let pods = &self.burst[..TOGETHER];
        for _ in 0..BURST_ROUNDS {
            for pod in pods.iter().take(BURST_ROUNDS) {
                std::thread::sleep(SETTLE);
                alone.push(built_in.add(pod));
                built_in.del(pod);
            }
            at_once(TOGETHER, pods, |pod| {
                let took = built_in.add(pod);
                together.lock().expect("no thread panicked").push(took);
            });
            at_once(TOGETHER, pods, |pod| built_in.del(pod));
        }
        let together = together.into_inner().expect("no thread panicked");
        // The work of all on two processors.
        let goal = TOGETHER as f64 / 2.0;
        report.ratio(
            "add_30_together_over_alone",
            together.over(&alone),
            goal,
            Better::Lower,
        );
        report.figure("ADD of 30 together", "ms", &together);
        report.figure("ADD alone", "ms", &alone);
    }
}

/// The same without built-in plugins.
fn executed() -> Value {
    json!({ "builtinPlugins": "off" })
}

/// VERSION beside a program that does nothing.
fn start(report: &mut Report) {
    let (mut noop, mut version) = (Samples::default(), Samples::default());
    for _ in 0..START_ROUNDS {
        noop.push(attachers::start(&locate::executable("noop")));
        version.push(attachers::start(&locate::executable("meta-cni")));
    }
    report.ratio("start_over_noop", version.over(&noop), 1.3, Better::Lower);
    report.figure("noop", "ms", &noop);
    report.figure("meta-cni VERSION", "ms", &version);
}

/// Does `work` for each pod, so many at once; how long all took.
fn at_once<T>(threads: usize, pods: &[Pod], work: impl Fn(&Pod) -> T + Sync) -> Duration {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(pod);
                }
            });
        }
    });
    started.elapsed()
}
