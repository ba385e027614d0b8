//! A node that a real Multus serves before the switch: thin, or thick with its daemon in what its container sees.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::{ApiServer, Call, Daemon, Node, Outcome, Pod, locate, wait_until};
use serde_json::{Value, json};

/// How long the daemon may take until it has written its configuration.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The ServiceAccount of `deployments/multus-daemonset-thick.yml` of Multus 4.2.2, as namespace and name.
const ACCOUNT: (&str, &str) = ("kube-system", "multus");

/// The rights of the same file.
const RIGHTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: multus}
rules:
- {apiGroups: [k8s.cni.cncf.io], resources: ["*"], verbs: ["*"]}
- {apiGroups: [""], resources: [pods, pods/status], verbs: [get, list, update, watch]}
- {apiGroups: ["", events.k8s.io], resources: [events], verbs: [create, patch, update]}
"#;

/// Gives a program the fixed paths of a node that tests must not share: devices, device information, and with
/// them `/run` and `/var`; of `/run` the network namespaces stay.
const ON_THE_NODE: &str = r#"
set -e
mount --rbind /run/netns "$0/netns"
mount -t tmpfs none /run
mount -t tmpfs none /var
mkdir -p /run/netns /run/k8s.cni.cncf.io /var/lib/kubelet
ln -s /run /var/run
mount --rbind "$0/netns" /run/netns
mount --bind "$0/k8s.cni.cncf.io" /run/k8s.cni.cncf.io
mount --bind "$0/kubelet" /var/lib/kubelet
exec "$@"
"#;

/// What the daemon's container sees: the node below `/host` and `/hostroot`, and the files of its ServiceAccount.
const IN_THE_CONTAINER: &str = r#"
set -e
root="$0/root"
mount -t tmpfs none "$root"
for entry in /*; do
    case $entry in /run | /var) continue ;; esac
    if [ -L "$entry" ]; then
        cp -P "$entry" "$root$entry"
    elif [ -d "$entry" ]; then
        mkdir "$root$entry"
        mount --rbind "$entry" "$root$entry"
    fi
done
mkdir -p "$root/host" "$root/hostroot" "$root/run/netns" "$root/run/k8s.cni.cncf.io" \
    "$root/run/secrets/kubernetes.io/serviceaccount" "$root/var/lib/kubelet"
ln -s /run "$root/var/run"
mount --rbind / "$root/host"
mount --rbind / "$root/hostroot"
mount --rbind /run/netns "$root/run/netns"
mount --bind "$0/k8s.cni.cncf.io" "$root/run/k8s.cni.cncf.io"
mount --bind "$0/kubelet" "$root/var/lib/kubelet"
mount --bind "$0/serviceaccount" "$root/run/secrets/kubernetes.io/serviceaccount"
exec chroot "$root" "$@"
"#;

/// The two ways to run Multus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// One executable, with a kubeconfig.
    Thin,
    /// A shim, and a daemon that writes the configuration.
    Thick,
}

impl Form {
    pub(crate) const BOTH: [Form; 2] = [Form::Thin, Form::Thick];
}

/// A node with a Multus.
pub(crate) struct Site {
    pub(crate) node: Node,
    /// The configuration of the runtime, as Multus has it.
    conf: Value,
    form: Form,
    daemon: Option<Daemon>,
}

impl Site {
    /// A node whose default network is `list`, a file in the runtime's folder of configurations.
    pub(crate) fn new(name: &str, form: Form, list: impl FnOnce(&Node) -> Value) -> Site {
        let node = crate::kubernetes::fixture::node(name);
        let folders = ["net.d", "netns", "kubelet/device-plugins", "root"];
        let devices = ["k8s.cni.cncf.io/devinfo/dp", "k8s.cni.cncf.io/devinfo/cni"];
        for folder in folders.iter().chain(&devices) {
            fs::create_dir_all(node.folder().join(folder)).expect("make a folder");
        }
        let first = node.folder().join("net.d/10-first.conflist");
        fs::write(first, list(&node).to_string()).expect("write a configuration");
        rights();
        let (conf, daemon) = match form {
            Form::Thin => (thin(&node), None),
            Form::Thick => {
                let (conf, daemon) = thick(&node);
                (conf, Some(daemon))
            }
        };
        Site {
            node,
            conf,
            form,
            daemon,
        }
    }

    /// Multus is taken off the node: its daemon holds namespaces of pods open that are gone already.
    pub(crate) fn remove_multus(&mut self) {
        self.daemon = None;
    }

    /// What the runtime calls as long as Multus serves the node.
    pub(crate) fn multus(&self, verb: &str, pod: &Pod) -> Outcome {
        let program = match self.form {
            Form::Thin => "multus",
            Form::Thick => "multus-shim",
        };
        let call = self.node.call(verb).pod(pod).program(&tool(program));
        self.on_the_node(call.whole_conf(self.conf.clone())).run()
    }

    /// The same after the switch: meta-cni, with the configuration of Multus but for its type.
    pub(crate) fn ours(&self, verb: &str, pod: &Pod) -> Outcome {
        let call = self.node.call(verb).pod(pod);
        self.on_the_node(call.whole_conf(self.switched())).run()
    }

    /// GC by meta-cni, with `eth0` of these pods as the valid attachments.
    pub(crate) fn ours_gc(&self, valid: &[&Pod]) -> Outcome {
        let valid: Vec<Value> = valid
            .iter()
            .map(|pod| json!({ "containerID": pod.container_id, "ifname": "eth0" }))
            .collect();
        let call = self.node.call("GC").whole_conf(self.switched());
        let conf = json!({ "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid });
        self.on_the_node(call.conf(conf)).run()
    }

    /// A folder with the configuration of Multus, as the runtime finds it.
    pub(crate) fn runtime_folder(&self) -> PathBuf {
        let folder = self.node.folder().join("runtime");
        fs::create_dir_all(&folder).expect("make a folder");
        let mut conf = self.conf.clone();
        if let Some(keys) = conf.as_object_mut() {
            keys.remove("runtimeConfig");
        }
        fs::write(folder.join("00-multus.conf"), conf.to_string()).expect("write a configuration");
        folder
    }

    /// The files with device information that Multus copied for its delegates.
    pub(crate) fn device_files(&self) -> Vec<PathBuf> {
        let folder = self.node.folder().join("k8s.cni.cncf.io/devinfo/cni");
        let entries = fs::read_dir(folder).expect("read a folder");
        entries
            .map(|entry| entry.expect("read a folder").path())
            .collect()
    }

    /// The configuration with meta-cni's type, and what keeps its files out of `/var/lib`. The daemon's file
    /// names no kubeconfig: it has its own.
    fn switched(&self) -> Value {
        let mut conf = self.conf.clone();
        let ours = json!({
            "type": "meta-cni",
            "stateDir": self.node.state_dir(),
            "agentSocket": self.node.agent_socket(),
            "kubeconfig": ApiServer::shared().plugin_kubeconfig(),
        });
        e2e::merge::merge(&mut conf, &ours);
        conf
    }

    fn on_the_node<'n>(&self, call: Call<'n>) -> Call<'n> {
        let folder = self.node.folder().display().to_string();
        call.under(["unshare", "-m", "sh", "-c", ON_THE_NODE, &folder])
    }
}

fn tool(name: &str) -> PathBuf {
    let path = locate::tools().join("multus").join(name);
    assert!(
        path.is_file(),
        "{} is not there: run `tests/tools/install.sh multus`, or set E2E_TOOLS_DIR",
        path.display(),
    );
    path
}

fn rights() {
    let api = ApiServer::shared();
    api.install_nad_crd();
    api.service_account(ACCOUNT.0, ACCOUNT.1);
    api.apply(RIGHTS);
    api.bind(ACCOUNT.0, ACCOUNT.1, "multus");
    let user = format!("system:serviceaccount:{}:{}", ACCOUNT.0, ACCOUNT.1);
    wait_until("the rights of Multus", START_PATIENCE, || {
        api.may(&user, "update", "", "pods/status").then_some(())
    });
}

/// The input of both forms: the runtime passes port mappings, and the files are the node's own.
fn shared(node: &Node) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "cniDir": node.cni_dir(),
        "binDir": node.bin_dir(),
        "confDir": node.conf_dir(),
        "logLevel": "verbose",
        "logToStderr": true,
    })
}

fn with_ports(mut conf: Value) -> Value {
    conf["runtimeConfig"] = json!({
        "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }],
    });
    conf
}

fn thin(node: &Node) -> Value {
    let mut conf = shared(node);
    let own = json!({
        "name": "multus-cni-network",
        "type": "multus",
        "capabilities": { "portMappings": true },
        "kubeconfig": ApiServer::shared().kubeconfig_for(ACCOUNT.0, ACCOUNT.1),
        "clusterNetwork": node.folder().join("net.d/10-first.conflist"),
    });
    e2e::merge::merge(&mut conf, &own);
    with_ports(conf)
}

/// Starts the daemon, and reads the configuration that it writes.
fn thick(node: &Node) -> (Value, Daemon) {
    let folder = node.folder().display().to_string();
    crate::kubernetes::fixture::write_service_account(node, ACCOUNT);
    let mut conf = shared(node);
    let own = json!({
        "chrootDir": "/hostroot",
        "multusConfigFile": "auto",
        "cniConfigDir": format!("/host{folder}/net.d"),
        "multusAutoconfigDir": format!("/host{folder}/net.d"),
        "socketDir": format!("/host{folder}/multus"),
        "daemonSocketDir": format!("{folder}/multus"),
    });
    e2e::merge::merge(&mut conf, &own);
    let path = node.folder().join("daemon-config.json");
    fs::write(&path, conf.to_string()).expect("write a configuration");

    let address = ApiServer::shared().address();
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", node.host().path().display()))
        // Namespaces that are made later are seen too.
        .args(["unshare", "--mount", "--propagation", "slave"])
        .args(["sh", "-c", IN_THE_CONTAINER, &folder])
        .arg(tool("multus-daemon"))
        .arg("--config")
        .arg(&path)
        .env("MULTUS_NODE_NAME", node.name())
        .env("KUBERNETES_SERVICE_HOST", address.ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", address.port().to_string())
        .env("CNI_PATH", node.bin_dir());
    let log = node.folder().join("multus-daemon.log");
    let mut daemon = Daemon::start(command, &log);

    let written = node.folder().join("net.d/00-multus.conf");
    let conf = wait_until("a configuration of multus-daemon", START_PATIENCE, || {
        if let Some(status) = daemon.ended() {
            panic!("multus-daemon ended with {status}:\n{}", daemon.log());
        }
        let text = fs::read_to_string(&written).ok()?;
        serde_json::from_str(&text).ok()
    });
    (with_ports(conf), daemon)
}
