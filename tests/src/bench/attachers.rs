//! The two ways of attaching a pod that are compared: the plugins bare, and through `meta-cni`.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::host::merge::merge;
use crate::{Node, Pod, locate};

/// A way of attaching a pod.
pub(super) trait Attacher: Sync {
    /// ADD of all interfaces; how long it took.
    fn add(&self, pod: &Pod) -> Duration;
    /// DEL of all interfaces; how long it took.
    fn del(&self, pod: &Pod) -> Duration;
}

/// The secondary network of an index: bridges and macvlans in turns.
pub(super) fn network(node: &Node, index: usize) -> Value {
    let subnets = [
        format!("10.{}.0.0/16", 10 + index),
        format!("fd00:{index}::/64"),
    ];
    let subnets = [subnets[0].as_str(), subnets[1].as_str()];
    let mut conf = match index % 2 {
        1 => node.bridge(&format!("br{index}"), &subnets),
        _ => node.macvlan("mv0", &subnets),
    };
    conf["name"] = json!(format!("n{index}"));
    conf
}

/// The time of one execution of a program that needs no configuration.
pub(super) fn start(program: &Path) -> Duration {
    let started = Instant::now();
    let status = Command::new(program)
        .env("CNI_COMMAND", "VERSION")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("start a program");
    let took = started.elapsed();
    assert!(status.success());
    took
}

/// Executes each plugin by hand, one after the other, as little around it as possible.
pub(super) struct Bare {
    networks: Vec<(String, PathBuf, Value)>,
    path: String,
    results: Mutex<HashMap<(String, String), Value>>,
}

impl Bare {
    pub(super) fn new(node: &Node, size: usize) -> Bare {
        let default = node.configuration()["delegates"][0].clone();
        let confs = std::iter::once(default).chain((1..=size).map(|index| network(node, index)));
        let networks = confs.enumerate().map(|(index, conf)| {
            let ifname = if index == 0 {
                "eth0".to_owned()
            } else {
                format!("net{index}")
            };
            let plugin = conf["type"].as_str().expect("a plugin has a type");
            (ifname, node.bin_dir().join(plugin), conf)
        });
        Bare {
            networks: networks.collect(),
            path: node.bin_dir().display().to_string(),
            results: Mutex::default(),
        }
    }
}

impl Attacher for Bare {
    fn add(&self, pod: &Pod) -> Duration {
        let mut results = Vec::new();
        let started = Instant::now();
        for (ifname, plugin, conf) in &self.networks {
            results.push((
                ifname.clone(),
                execute(plugin, "ADD", pod, ifname, &self.path, conf),
            ));
        }
        let took = started.elapsed();
        let mut kept = self.results.lock().expect("no thread panicked");
        for (ifname, stdout) in results {
            let result = serde_json::from_slice(&stdout).expect("a plugin prints JSON");
            kept.insert((pod.container_id.clone(), ifname), result);
        }
        took
    }

    fn del(&self, pod: &Pod) -> Duration {
        let with_result = |(ifname, plugin, conf): &(String, PathBuf, Value)| {
            let kept = self.results.lock().expect("no thread panicked");
            let mut conf = conf.clone();
            conf["prevResult"] = kept[&(pod.container_id.clone(), ifname.clone())].clone();
            (ifname.clone(), plugin.clone(), conf)
        };
        let calls: Vec<_> = self.networks.iter().rev().map(with_result).collect();
        let started = Instant::now();
        for (ifname, plugin, conf) in &calls {
            execute(plugin, "DEL", pod, ifname, &self.path, conf);
        }
        started.elapsed()
    }
}

/// Executes a program that makes the same links and addresses, and nothing else.
pub(super) struct Kernel {
    program: PathBuf,
    wanted: Vec<(String, String)>,
}

impl Kernel {
    /// Beside the bridges and the master of `node`, which exist once a pod was made.
    pub(super) fn new(node: &Node, size: usize) -> Kernel {
        let default = node.configuration()["delegates"][0].clone();
        let confs = std::iter::once(default).chain((1..=size).map(|index| network(node, index)));
        let wanted = confs.enumerate().map(|(index, conf)| {
            let kind = conf["type"].as_str().expect("a plugin has a type");
            let under = conf["bridge"].as_str().or(conf["master"].as_str());
            let under = under.expect("a bridge or a master");
            let ifname = match index {
                0 => "eth0".to_owned(),
                index => format!("net{index}"),
            };
            let addresses = format!("10.{0}.255.7/16,fd00:{0}::ffff:7/64", 200 + index);
            let wanted = format!("{ifname}={kind},{under},{addresses}");
            (ifname, wanted)
        });
        Kernel {
            program: locate::executable("bare-netlink"),
            wanted: wanted.collect(),
        }
    }

    fn run<'a>(&self, pod: &Pod, interfaces: impl Iterator<Item = &'a String>) -> Duration {
        let mut program = Command::new(&self.program);
        program.arg(pod.netns().path()).args(interfaces);
        let started = Instant::now();
        let status = program.status().expect("start a program");
        let took = started.elapsed();
        assert!(status.success());
        took
    }
}

impl Attacher for Kernel {
    fn add(&self, pod: &Pod) -> Duration {
        self.run(pod, self.wanted.iter().map(|(_, wanted)| wanted))
    }

    fn del(&self, pod: &Pod) -> Duration {
        self.run(pod, self.wanted.iter().map(|(ifname, _)| ifname))
    }
}

/// Executes `meta-cni` once.
pub(super) struct Meta {
    program: PathBuf,
    path: String,
    conf: Value,
}

impl Meta {
    /// With other keys of its configuration.
    pub(super) fn new(node: &Node, more: &Value) -> Meta {
        let mut conf = node.configuration().clone();
        merge(&mut conf, more);
        Meta {
            program: locate::executable("meta-cni"),
            path: node.bin_dir().display().to_string(),
            conf,
        }
    }

    fn run(&self, verb: &str, pod: &Pod) -> Duration {
        let started = Instant::now();
        execute(&self.program, verb, pod, "eth0", &self.path, &self.conf);
        started.elapsed()
    }
}

impl Attacher for Meta {
    fn add(&self, pod: &Pod) -> Duration {
        self.run("ADD", pod)
    }

    fn del(&self, pod: &Pod) -> Duration {
        self.run("DEL", pod)
    }
}

fn execute(
    program: &Path,
    verb: &str,
    pod: &Pod,
    ifname: &str,
    path: &str,
    conf: &Value,
) -> Vec<u8> {
    let mut child = Command::new(program)
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", &pod.container_id)
        .env("CNI_NETNS", pod.netns().path())
        .env("CNI_IFNAME", ifname)
        .env("CNI_PATH", path)
        .env("CNI_ARGS", pod.cni_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start a plugin");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin
        .write_all(conf.to_string().as_bytes())
        .expect("write a configuration");
    drop(stdin);
    let output = child.wait_with_output().expect("wait for a plugin");
    assert!(
        output.status.success(),
        "{verb} by {}: {}",
        program.display(),
        String::from_utf8_lossy(&output.stdout)
    );
    output.stdout
}
