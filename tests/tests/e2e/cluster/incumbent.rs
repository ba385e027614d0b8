//! Multus (thin) and whereabouts on the node of a cluster, as their manuals have it.

use std::fs;
use std::path::PathBuf;

use e2e::locate;
use serde_json::{Value, json};

use super::fixture::Site;

/// The configuration of the runtime.
const CONF: &str = "00-multus.conf";
/// Its network is the primary one.
const PRIMARY: &str = "10-primary.conflist";

/// Installed; [`Incumbent::remove`] takes the configuration away.
pub(crate) struct Incumbent {
    conf: PathBuf,
}

impl Incumbent {
    pub(crate) fn install(site: &Site) -> Incumbent {
        let tools = locate::tools();
        let node = site.cluster.node_folder();
        for (program, folder) in [
            ("multus", "multus"),
            ("whereabouts", "whereabouts"),
            ("macvlan", "cni-plugins"),
        ] {
            let to = node.join("opt/cni/bin").join(program);
            fs::copy(tools.join(folder).join(program), to).expect("copy a plugin");
        }
        site.crds();
        let crds = tools.join("whereabouts/crds");
        for file in [
            "ippools",
            "overlappingrangeipreservations",
            "nodeslicepools",
        ] {
            let path = crds.join(format!("whereabouts.cni.cncf.io_{file}.yaml"));
            let file = format!("--filename={}", path.display());
            site.cluster.kubectl(&["apply", "--server-side", &file]);
        }
        let kubeconfig = site.cluster.kubeconfig();
        network(
            site,
            "storage",
            json!({ "type": "bridge", "bridge": "br-storage" }),
            20,
        );
        network(
            site,
            "telemetry",
            json!({ "type": "macvlan", "master": "uplink" }),
            30,
        );
        let folder = node.join("etc/cni/net.d");
        let text = fs::read_to_string(folder.join(PRIMARY)).expect("read a configuration");
        let primary: Value = serde_json::from_str(&text).expect("it is JSON");
        let conf = json!({
            "cniVersion": "1.0.0", "name": "multus", "type": "multus",
            "kubeconfig": kubeconfig, "delegates": [primary],
        });
        // whereabouts does not start without a file of its own.
        let own = json!({ "datastore": "kubernetes", "kubernetes": { "kubeconfig": kubeconfig } });
        let own_folder = folder.join("whereabouts.d");
        fs::create_dir_all(&own_folder).expect("make a folder");
        fs::write(own_folder.join("whereabouts.conf"), own.to_string()).expect("write it");
        let conf_file = folder.join(CONF);
        fs::write(&conf_file, conf.to_string()).expect("write a configuration");
        Incumbent { conf: conf_file }
    }

    pub(crate) fn remove(self) {
        fs::remove_file(self.conf).expect("remove a configuration");
    }
}

fn network(site: &Site, name: &str, mut plugin: Value, number: u8) {
    let ranges = [
        json!({ "range": format!("10.{number}.0.0/16") }),
        json!({ "range": format!("fd00:{number}::/64") }),
    ];
    let kubeconfig = site.cluster.kubeconfig();
    plugin["ipam"] = json!({
        "type": "whereabouts", "ipRanges": ranges,
        "kubernetes": { "kubeconfig": kubeconfig },
    });
    let list = json!({ "cniVersion": "1.0.0", "name": name, "plugins": [plugin] });
    let nad = e2e::manifests::nad_manifest("default", name, list);
    site.cluster.apply(&nad);
}
