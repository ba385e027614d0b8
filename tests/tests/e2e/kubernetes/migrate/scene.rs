//! A node that thin Multus serves, with two networks that lease by a real whereabouts, and an ipam-server.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};
use std::sync::Once;

use e2e::{ApiServer, IpamServer, Node, Pod, locate};
use serde_json::{Value, json};

use crate::kubernetes::switch::site::{Form, Site};

/// Where whereabouts keeps its objects.
const IPPOOLS: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools";

pub(super) struct Scene {
    pub(super) site: Site,
    server: IpamServer,
    namespace: String,
}

impl Scene {
    pub(super) fn new(name: &str) -> Scene {
        let site = Site::new(name, Form::Thin, |node| {
            node.list(&[node.bridge("br-first", &["10.40.0.0/24"])])
        });
        let folder = locate::tools().join("whereabouts");
        let program = folder.join("whereabouts");
        assert!(
            program.is_file(),
            "{} is not there: run `tests/tools/install.sh whereabouts`, or set E2E_TOOLS_DIR",
            program.display(),
        );
        site.node.install(&program);
        static CRDS: Once = Once::new();
        CRDS.call_once(|| {
            for file in fs::read_dir(folder.join("crds")).expect("list the CRDs") {
                let path = file.expect("list the CRDs").path();
                let crd = fs::read_to_string(path).expect("read a CRD");
                ApiServer::shared().apply(&crd);
            }
        });
        let namespace = networks(&site.node);
        let server = IpamServer::start();
        site.node
            .leases_from(&server.address(), json!({ "node": site.node.name() }));
        Scene {
            site,
            server,
            namespace,
        }
    }

    /// A pod with an interface of each network.
    pub(super) fn pod(&self, name: &str) -> Pod {
        let pod = self.site.node.pod(&self.namespace, name);
        pod.networks("pair,lone").create_in(ApiServer::shared())
    }

    pub(super) fn delete(&self, pod: &Pod) {
        ApiServer::shared().delete_pod(&pod.namespace, &pod.name);
    }

    /// What a pod's secondary interfaces carry, without prefix lengths.
    pub(super) fn addresses(pod: &Pod) -> BTreeSet<String> {
        let all = ["net1", "net2"].map(|ifname| pod.netns().addresses(ifname));
        let plain = |address: &String| {
            let (plain, _) = address.split_once('/').expect("a prefix length");
            plain.to_owned()
        };
        all.iter().flatten().map(plain).collect()
    }

    /// whereabouts keeps an address of a pod that was never deleted.
    pub(super) fn add_entry_of_a_pod_that_is_gone(&self) {
        let path = format!("{IPPOOLS}/10.43.0.0-24");
        let gone = json!({ "id": "gone", "podref": "gone/gone", "ifname": "net1" });
        let patch = json!({ "spec": { "allocations": { "200": gone } } });
        let (status, answer) = ApiServer::shared().admin().patch(&path, &patch);
        assert_eq!(status, 200, "{answer}");
    }

    /// Runs `meta-cni migrate`; the report. What stays with whereabouts is not success.
    #[track_caller]
    pub(super) fn migrate(&self, more: &[&str]) -> Value {
        let output = self.run(more);
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{more:?}: {output:?}"
        );
        serde_json::from_slice(&output.stdout).expect("a report")
    }

    /// Runs it in vain; what it wrote to standard error.
    #[track_caller]
    pub(super) fn migrate_fails(&self, more: &[&str]) -> String {
        let output = self.run(more);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    fn run(&self, more: &[&str]) -> Output {
        let node = &self.site.node;
        let flag = |name: &str, path: std::path::PathBuf| format!("--{name}={}", path.display());
        Command::new(locate::executable("meta-cni"))
            .args(["migrate", "--output=json"])
            .arg(flag(
                "kubeconfig",
                ApiServer::shared().kubeconfig().to_owned(),
            ))
            .arg(format!("--server={}", self.server.address()))
            .arg(flag("conf-dir", self.site.runtime_folder()))
            .arg(flag("state-dir", node.state_dir()))
            .arg(flag(
                "ipam-file",
                node.conf_dir().join("meta-cni.d/ipam.yaml"),
            ))
            .args(more)
            .output()
            .expect("run meta-cni")
    }

    /// Why something of this scene is not carried over; other tests have networks of their own.
    pub(super) fn not_carried_over(&self, report: &Value) -> Vec<String> {
        let all = report["plan"]["notCarriedOver"].as_array().expect("a list");
        let is_ours = |one: &&Value| {
            let what = one["what"].as_str().unwrap_or_default();
            what.contains("10.43.") || what.contains("10.44.") || what.contains(&self.namespace)
        };
        let reason = |one: &Value| one["reason"].as_str().unwrap_or_default().to_owned();
        all.iter().filter(is_ours).map(reason).collect()
    }

    /// The networks of this scene that the closed policy refuses.
    pub(super) fn refused_by_policy(&self, report: &Value) -> Vec<Value> {
        let all = report["plan"]["refusedByPolicy"]
            .as_array()
            .expect("a list");
        let is_ours = |one: &&Value| {
            let what = one["what"].as_str().unwrap_or_default();
            what.contains(&self.namespace)
        };
        all.iter().filter(is_ours).cloned().collect()
    }

    /// All leased addresses, without prefix lengths; each once.
    #[track_caller]
    pub(super) fn held(&self) -> BTreeSet<String> {
        let listed = self
            .server
            .ipamctl_json(&["lease", "list", "--state=active"]);
        let mut held = BTreeSet::new();
        for lease in listed["leases"].as_array().into_iter().flatten() {
            let owner = &lease["owner"];
            assert_eq!(owner["namespace"], json!(self.namespace), "{lease}");
            assert_eq!(owner["node"], json!(self.site.node.name()), "{lease}");
            for family in ["ipv4", "ipv6"] {
                if let Some((plain, _)) =
                    lease[family].as_str().and_then(|text| text.split_once('/'))
                {
                    assert!(held.insert(plain.to_owned()), "{plain} is leased twice");
                }
            }
        }
        held
    }

    /// How many pools there are.
    pub(super) fn pools(&self) -> usize {
        let listed = self.server.ipamctl_json(&["pool", "list"]);
        listed["pools"].as_array().map_or(0, Vec::len)
    }

    /// How many addresses whereabouts has allocated, but for the one of the pod that is gone.
    pub(super) fn allocated(&self) -> usize {
        let (status, list) = ApiServer::shared().admin().get(IPPOOLS);
        assert_eq!(status, 200, "{list}");
        let pools = list["items"].as_array().expect("a list").iter();
        let allocations = pools.filter_map(|pool| pool["spec"]["allocations"].as_object());
        let holders = allocations.flat_map(|all| all.values());
        holders.filter(|holder| holder["id"] != "gone").count()
    }

    /// The text of each network.
    pub(super) fn configs(&self) -> Vec<String> {
        ["pair", "lone"].map(|name| self.config(name)).into()
    }

    fn config(&self, name: &str) -> String {
        let path = format!(
            "/apis/k8s.cni.cncf.io/v1/namespaces/{}/network-attachment-definitions/{name}",
            self.namespace
        );
        let (status, nad) = ApiServer::shared().admin().get(&path);
        assert_eq!(status, 200, "{nad}");
        nad["spec"]["config"].as_str().expect("a text").to_owned()
    }
}

/// Makes the networks in a namespace of this node's own, and gives the namespace: a pair of both families, and a chain with IPv4 only.
fn networks(node: &Node) -> String {
    let (api, namespace) = (ApiServer::shared(), node.name().to_owned());
    let kubernetes = json!({ "kubeconfig": api.kubeconfig() });
    // whereabouts does not start without a file of its own, even if it says nothing new.
    let own = node.conf_dir().join("whereabouts.conf");
    let text = json!({ "datastore": "kubernetes", "kubernetes": kubernetes });
    fs::write(&own, text.to_string()).expect("write whereabouts' file");
    let mut pair = node.side_bridge("br-pair", &[]);
    pair["isGateway"] = json!(false);
    pair["ipam"] = json!({
        "type": "whereabouts", "kubernetes": kubernetes, "configuration_path": own,
        "ipRanges": [{ "range": "10.43.0.0/24" }, { "range": "fd00:43::/64" }],
    });
    api.nad(&namespace, "pair", pair);
    let mut lone = node.side_bridge("br-lone", &[]);
    lone["isGateway"] = json!(false);
    lone["ipam"] = json!({
        "type": "whereabouts", "kubernetes": kubernetes, "configuration_path": own, "range": "10.44.0.0/24",
        "range_start": "10.44.0.10", "range_end": "10.44.0.99", "exclude": ["10.44.0.12/30"],
    });
    let tuning = json!({ "type": "tuning" });
    api.nad(&namespace, "lone", node.list(&[lone, tuning]));
    namespace
}
