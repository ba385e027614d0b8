//! A cluster with two networks that lease from two pools, and Deployments on them, each of whose containers counts its interfaces
//! when it starts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{Cluster, locate, wait_until};
use serde_json::{Value, json};

/// How long anything in the cluster may take, with every core of the machine at work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// The same, as kubectl and Helm take it.
pub(crate) const TIMEOUT: &str = "--timeout=10m";

/// What stays of a sandbox while it is connected: its record.
const RECORDS: &str = "var/lib/meta-cni/attachments";
/// Where containers write what they counted.
pub(crate) const EVIDENCE: &str = "var/lib/evidence";

/// Written by a container when it starts: whether it has all that its pod asked for.
const COUNT: &str = r#"
interfaces="$0"; wanted="$1"; is=short
have=$(for name in $interfaces; do ip -o address show dev "$name" scope global; done | busybox wc -l)
[ "$have" != "$wanted" ] || is=whole
: >"/evidence/$is-$(cat /etc/hostname)"
exec tail -f /dev/null"#;

/// The chart's pools: larger than all pods of a test that come one after the other.
const POOLS: &str = r#"ipamServer.pools=[
    {"name": "storage", "ipv4": {"cidr": "10.20.0.0/16"}, "ipv6": {"cidr": "fd00:20::/64"}},
    {"name": "telemetry", "ipv4": {"cidr": "10.30.0.0/16"}, "ipv6": {"cidr": "fd00:30::/64"}}]"#;

/// What a pod asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Networks {
    /// The primary network alone.
    Primary,
    /// Two more: a bridge and a macvlan.
    Three,
}

impl Networks {
    fn annotations(self) -> Value {
        match self {
            Networks::Primary => json!({}),
            Networks::Three => json!({ e2e::manifests::NETWORKS: "storage,telemetry" }),
        }
    }

    /// The interfaces, and how many addresses they have.
    fn expected(self) -> [&'static str; 2] {
        match self {
            Networks::Primary => ["eth0", "2"],
            Networks::Three => ["eth0 net1 net2", "6"],
        }
    }
}

/// A cluster with the image on its node.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
}

impl Site {
    /// Without meta-cni.
    pub(crate) fn start() -> Site {
        let cluster = Cluster::start();
        let archive = locate::target().join("image/meta-cni.tar");
        assert!(archive.is_file(), "{}: make image", archive.display());
        cluster.import(&archive);
        cluster.kubectl(&["apply", "--filename=tests/cluster/volume.yaml"]);
        Site { cluster }
    }

    /// The objects of networks and devices, which Multus has as well.
    pub(crate) fn crds(&self) {
        let all = "--filename=crds/yaml";
        self.cluster.kubectl(&["apply", "--server-side", all]);
        let served = ["wait", "--for=condition=Established", all];
        self.cluster.kubectl(&served);
    }

    /// Installs it by the two commands of the book, with more arguments for the second.
    pub(crate) fn install_chart(&self, more: &[&str]) {
        self.crds();
        let install = ["install", "meta-cni", "deploy/chart", "--wait", TIMEOUT];
        self.cluster.helm(&[&install[..], more].concat());
    }

    /// Changes values of the chart that is installed.
    #[track_caller]
    pub(crate) fn upgrade(&self, change: &[&str]) {
        let upgrade = ["upgrade", "meta-cni", "deploy/chart", "--reuse-values"];
        let wait = ["--wait", TIMEOUT];
        self.cluster.helm(&[&upgrade[..], change, &wait].concat());
    }

    /// Removes it from the node, and then from the cluster.
    pub(crate) fn uninstall(&self) {
        self.upgrade(&["--set=install.uninstall=true"]);
        let uninstall = ["uninstall", "meta-cni", "--wait", TIMEOUT];
        self.cluster.helm(&uninstall);
    }

    /// Installs it with pools; then makes the networks.
    pub(crate) fn install(&self, more: &[&str]) {
        self.install_chart(&[&["--set-json", POOLS], more].concat());
        self.network(
            "storage",
            json!({ "type": "bridge", "bridge": "br-storage" }),
        );
        self.network(
            "telemetry",
            json!({ "type": "macvlan", "master": "uplink" }),
        );
    }

    /// Makes or changes a network that leases from the pool of its name.
    pub(crate) fn network(&self, name: &str, mut plugin: Value) {
        plugin["ipam"] = json!({ "type": "meta-ipam", "pool": name });
        let list = json!({ "cniVersion": "1.0.0", "plugins": [plugin] });
        let nad = e2e::manifests::nad_manifest("default", name, list);
        self.cluster.apply(&nad);
    }

    /// Makes a Deployment without pods.
    pub(crate) fn deployment(&self, name: &str, networks: Networks) {
        let [interfaces, addresses] = networks.expected();
        let labels = json!({ "app": name });
        self.cluster.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "namespace": "default" },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels, "annotations": networks.annotations() },
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{
                            "name": "counts",
                            "image": "cluster.invalid/busybox:1",
                            "command": ["sh", "-c", COUNT, interfaces, addresses],
                            "volumeMounts": [{ "name": "evidence", "mountPath": "/evidence" }],
                        }],
                        "volumes": [{
                            "name": "evidence",
                            "hostPath": { "path": format!("/{EVIDENCE}"), "type": "DirectoryOrCreate" },
                        }],
                    },
                },
            },
        }));
    }

    /// Scales a Deployment, and waits until that many of its pods run, and no other pod of it exists.
    #[track_caller]
    pub(crate) fn scale(&self, name: &str, pods: usize) {
        let (deployment, replicas) = (format!("deployment/{name}"), format!("--replicas={pods}"));
        self.cluster.kubectl(&["scale", &deployment, &replicas]);
        self.rolled_out(name, pods);
    }

    /// Waits until a Deployment is what it is to be, and its old pods are gone.
    #[track_caller]
    pub(crate) fn rolled_out(&self, name: &str, pods: usize) {
        let deployment = format!("deployment/{name}");
        self.cluster
            .kubectl(&["rollout", "status", &deployment, TIMEOUT]);
        // A Deployment does not count what is being deleted, nor what its ReplicaSet is about to delete.
        wait_until("no other pod exists", PATIENCE, || {
            if let Some(one) = self.going(name).first() {
                let gone = ["wait", "--for=delete", one, TIMEOUT];
                self.cluster.kubectl(&gone);
            }
            (self.pods(name).len() == pods).then_some(())
        });
    }

    /// The pods of a Deployment that are being deleted, as kubectl names them.
    fn going(&self, deployment: &str) -> Vec<String> {
        let pods = self.pods(deployment).into_iter();
        let going = pods.filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
        going
            .filter_map(|pod| Some(format!("pod/{}", pod["metadata"]["name"].as_str()?)))
            .collect()
    }

    /// The pods of a Deployment.
    pub(crate) fn pods(&self, deployment: &str) -> Vec<Value> {
        let label = format!("--selector=app={deployment}");
        self.cluster.list(&["pods", &label])
    }

    /// The keys of the taints of the node.
    pub(crate) fn taints(&self) -> Vec<String> {
        let path = "--output=jsonpath={.items[*].spec.taints[*].key}";
        let keys = self.cluster.kubectl(&["get", "nodes", path]);
        keys.split_whitespace().map(str::to_owned).collect()
    }

    /// How many containers had all their interfaces when they started, and the names of those that had not.
    pub(crate) fn counted(&self) -> (usize, Vec<String>) {
        let mut names = file_names(&self.cluster.node_folder().join(EVIDENCE));
        let all = names.len();
        names.retain(|name| !name.starts_with("whole-"));
        (all - names.len(), names)
    }

    /// Runs ipamctl on the node, as the operator that the chart makes; gives what it writes as JSON.
    #[track_caller]
    pub(crate) fn ipamctl(&self, arguments: &[&str]) -> Value {
        self.as_operator(&[&["ipamctl", "--tls-ca=/run/ca.crt"], arguments].concat())
    }

    /// Runs one of our executables on the node, with ipam-server as the operator that the chart makes; gives what it writes as
    /// JSON. The server's authority is in /run/ca.crt.
    #[track_caller]
    pub(crate) fn as_operator(&self, command: &[&str]) -> Value {
        let system = "--namespace=kube-system";
        let audience = "--audience=ipam.meta-cni.io";
        let token = ["create", "token", "ipam-operator", system, audience];
        let data = "--output=jsonpath={.data.ca\\.crt}";
        let authority = ["get", "configmap", "ipam-server-ca", system, data];
        let folder = self.cluster.node_folder().join("run");
        fs::write(folder.join("token"), self.cluster.kubectl(&token)).expect("write a token");
        fs::write(folder.join("ca.crt"), self.cluster.kubectl(&authority)).expect("write it");
        let (program, arguments) = command.split_first().expect("a program");
        let program = locate::executable(program).display().to_string();
        let to = [
            "--server=https://ipam-server.kube-system.svc.cluster.local:7443",
            "--token-file=/run/token",
            "--output=json",
        ];
        let text = self.cluster.run(&[&[&*program], arguments, &to].concat());
        serde_json::from_str(&text).expect("it writes JSON")
    }

    /// All leases.
    pub(crate) fn leases(&self) -> Vec<Value> {
        let answer = self.ipamctl(&["lease", "list"]);
        answer["leases"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until nothing of a pod with [`Networks::Three`] is left on the node and in ipam-server.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let mut left = Vec::new();
        let clean = std::panic::AssertUnwindSafe(|| {
            wait_until("nothing is left", PATIENCE, || {
                left = self.left();
                left.is_empty().then_some(())
            });
        });
        let is_clean = std::panic::catch_unwind(clean).is_ok();
        assert!(is_clean, "left behind:\n{}", left.join("\n"));
    }

    /// Records, leases, and ports of the bridge, whose pods are gone.
    fn left(&self) -> Vec<String> {
        let records = self.cluster.node_folder().join(RECORDS);
        let of = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
        let files = file_names(&records)
            .into_iter()
            .map(|name| records.join(name));
        let mut left: Vec<String> = files
            .filter(|path| of(path).contains("default/storage"))
            .map(|path| path.display().to_string())
            .collect();
        left.extend(self.leases().iter().map(Value::to_string));
        let ports = ["ip", "-o", "link", "show", "master", "br-storage"];
        let ports = self.cluster.run(&ports);
        left.extend(ports.lines().map(str::to_owned));
        left
    }

    /// Events of failures whose text names meta-cni.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = "--field-selector=reason=FailedCreatePodSandBox";
        let events = self.cluster.list(&["events", "--all-namespaces", failed]);
        let notes = events.iter().filter_map(|event| event["message"].as_str());
        let ours = notes.filter(|note| note.contains("meta-cni"));
        ours.map(str::to_owned).collect()
    }

    /// The files of `/etc/cni` and `/opt/cni` of the node, with their content as a hash.
    pub(crate) fn node_files(&self) -> BTreeMap<String, String> {
        let list = "find /etc/cni /opt/cni -type f -exec sha256sum {} +";
        let lines = self.cluster.run(&["sh", "-c", list]);
        let pairs = lines.lines().filter_map(|line| line.split_once("  "));
        pairs
            .map(|(hash, path)| (path.to_owned(), hash.to_owned()))
            .collect()
    }
}

/// Another image, under this tag: the same executables with one more byte each.
pub(crate) fn another_image(folder: &Path, tag: &str) -> PathBuf {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).expect("make a folder");
    for name in [
        "meta-cni",
        "meta-ipam",
        "meta-cnid",
        "ipam-server",
        "ipamctl",
    ] {
        let mut bytes = fs::read(locate::executable(name)).expect("read an executable");
        bytes.push(b'\n');
        let path = programs.join(name);
        fs::write(&path, bytes).expect("write an executable");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).expect("make it executable");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/image/build.sh");
    let built = Command::new(script)
        .arg(folder)
        .env("META_CNI_BIN_DIR", &programs)
        .env("IMAGE_TAG", tag)
        .output()
        .expect("run deploy/image/build.sh");
    assert!(built.status.success(), "{built:?}");
    folder.join("meta-cni.tar")
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
