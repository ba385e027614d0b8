//! A node with a real container runtime: containerd and runc, called over CRI as a kubelet calls them.
//!
//! ```no_run
//! use e2e::runtime::Release;
//! use e2e::{Node, Runtime};
//! let runtime = Runtime::start(Node::new("web"), Release::Pinned);
//! let kubelet = runtime.kubelet();
//! let sandbox = kubelet.run_pod("default", "web", "uid-of-web").expect("a sandbox");
//! assert_eq!(runtime.netns(&sandbox).links(), ["lo", "eth0"]);
//! kubelet.delete_pod(&sandbox.id);
//! runtime.assert_clean();
//! ```
//!
//! Everything runs on a [`Machine`], which has processes, mounts and system folders of its own, so that it
//! can be switched off, and nothing of it stays.

mod containerd;
mod image;
mod kubelet;
mod leftovers;
mod machine;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::host::locate;
use crate::host::netns::Netns;
use crate::host::wait::wait_until;
use crate::node::Node;

use containerd::Containerd;

pub use containerd::Release;
pub use kubelet::{Kubelet, Sandbox};
pub use machine::Machine;

/// How long containerd may take to serve, with every core of the machine at work.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A node, a machine on its network, and containerd on that. Dropping it stops and removes all of it.
#[derive(Debug)]
pub struct Runtime {
    // Dropped in this order.
    containerd: Containerd,
    machine: Machine,
    node: Node,
    kubelet: Kubelet,
}

impl Runtime {
    /// Switches a machine on and starts containerd on it, whose CNI configuration is that of the node, as a
    /// list of meta-cni alone.
    ///
    /// # Panics
    /// When a program is not there, or containerd does not serve; with its log.
    pub fn start(node: Node, release: Release) -> Runtime {
        for program in ["meta-cni", "meta-ipam"] {
            node.install(&locate::executable(program));
        }
        let machine = Machine::new(&node);
        let containerd = Containerd::new(release, &node);
        let mut runtime = Runtime {
            containerd,
            kubelet: Kubelet::new(&machine),
            machine,
            node,
        };
        runtime.write_conflist();
        runtime.boot();
        runtime
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The machine that containerd runs on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Asks containerd as a kubelet does.
    pub fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }

    /// The network namespace of a sandbox.
    ///
    /// # Panics
    /// When containerd does not know it.
    #[track_caller]
    pub fn netns(&self, sandbox: &Sandbox) -> Netns {
        self.machine.netns(&self.kubelet.netns_path(sandbox))
    }

    /// Ends containerd by a signal, and leaves the sandboxes alone.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop_containerd(&mut self, signal: Signal) {
        self.containerd.stop(signal);
    }

    /// Starts containerd once it was ended, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come to serve, with its log.
    pub fn start_containerd(&mut self) {
        let (machine, node) = (&self.machine, &self.node);
        let containerd = &mut self.containerd;
        node.host().run(|| containerd.start(machine));
        wait_until("containerd", START_PATIENCE, || {
            self.containerd.assert_alive();
            self.kubelet.is_served().then_some(())
        });
    }

    /// Takes the power away: no process, no mount, no network namespace, no interface of the machine is
    /// left, and `/run` is empty. `/var/lib` and the folder of the node stay.
    pub fn power_off(&mut self) {
        self.machine.power_off();
        self.containerd.is_dead();
        self.node.unplug();
    }

    /// Switches the machine on again after [`Runtime::power_off`], starts containerd, and sees to it that it
    /// has its image.
    ///
    /// # Panics
    /// As [`Runtime::start_containerd`].
    pub fn boot(&mut self) {
        let (machine, node) = (&mut self.machine, &self.node);
        node.host().run(|| machine.boot());
        self.start_containerd();
        self.containerd.import_image(&self.machine);
    }

    /// What containerd wrote to its log so far, and with it the plugins that it ran.
    pub fn log(&self) -> String {
        self.containerd.log()
    }

    /// The folder of CNI configurations that containerd reads.
    pub fn cni_conf_dir(&self) -> PathBuf {
        containerd::cni_conf_dir(&self.node)
    }

    fn write_conflist(&self) {
        let mut plugin = self.node.configuration().clone();
        let keys = plugin
            .as_object_mut()
            .expect("a configuration is an object");
        let (_, name) = (keys.remove("cniVersion"), keys.remove("name"));
        let conflist = json!({
            "cniVersion": self.containerd.release().cni_version(),
            "name": name.unwrap_or(Value::Null),
            "plugins": [plugin],
        });
        let folder = self.cni_conf_dir();
        fs::create_dir_all(&folder).expect("make a folder");
        fs::write(
            folder.join("00-meta-cni.conflist"),
            format!("{conflist:#}\n"),
        )
        .expect("write the CNI configuration");
    }
}
