//! Configurations of delegates, as tests put them into NetworkAttachmentDefinitions and `delegates`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::host::merge::merge;
use crate::node::Node;

impl Node {
    /// A node whose default network is a recording plugin, network `default`: for tests of order,
    /// standard input, environment and failures. Its calls are read by [`Node::calls`].
    ///
    /// # Panics
    /// As [`Node::new`].
    pub fn recorder(name: &str) -> Node {
        Node::new(name).default_network(|node| node.recording("default", json!({})))
    }

    /// Makes this the default network, and the only one of `delegates`.
    pub fn default_network(self, network: impl FnOnce(&Node) -> Value) -> Node {
        let network = network(&self);
        self.conf(json!({ "delegates": [network] }))
    }

    /// Writes NetworkAttachmentDefinitions `default/<name>` of recording plugins that do nothing else.
    pub fn recording_nads(&self, names: &[&str]) {
        for name in names {
            self.nad("default", name, self.recording(name, json!({})));
        }
    }

    /// Writes a configuration into `confDir`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn conf_file(&self, path: &str, config: &Value) {
        let path = self.conf_dir().join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("make its folder");
        fs::write(&path, config.to_string()).expect("write a configuration");
    }

    /// Writes the node's own settings of meta-ipam: `ipam.yaml` below `confDir`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn ipam_file(&self, settings: &Value) {
        let folder = self.conf_dir().join("meta-cni.d");
        let private = fs::Permissions::from_mode;
        fs::create_dir_all(&folder).expect("make its folder");
        fs::set_permissions(&folder, private(0o700)).expect("close its folder");
        let path = folder.join("ipam.yaml");
        let text = process::yaml::write(settings).expect("JSON is YAML");
        fs::write(&path, text).expect("write ipam.yaml");
        fs::set_permissions(&path, private(0o600)).expect("close ipam.yaml");
    }

    /// Lets the networks of this node lease from the server at `address`; `more` are other settings of `ipam.yaml`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn leases_from(&self, address: &str, more: Value) {
        let mut settings = json!({ "servers": { "here": { "address": address } } });
        merge(&mut settings, &more);
        self.ipam_file(&settings);
    }

    /// A `host-local` section for `ipam` with one range a subnet and a default route for each
    /// family; its leases are kept in the folder of this node.
    pub fn host_local(&self, subnets: &[&str]) -> Value {
        let ranges: Vec<Value> = subnets
            .iter()
            .map(|subnet| json!([{ "subnet": subnet }]))
            .collect();
        let routes: Vec<Value> = [("0.0.0.0/0", false), ("::/0", true)]
            .iter()
            .filter(|(_, v6)| subnets.iter().any(|subnet| subnet.contains(':') == *v6))
            .map(|(route, _)| json!({ "dst": route }))
            .collect();
        json!({
            "type": "host-local",
            "dataDir": self.folder().join("host-local"),
            "ranges": ranges,
            "routes": routes,
        })
    }

    /// A `bridge` network with addresses from `subnets`; the bridge holds the gateways' addresses, so
    /// that pods ping each other and the host.
    pub fn bridge(&self, bridge: &str, subnets: &[&str]) -> Value {
        json!({
            "cniVersion": self.delegate_version(),
            "name": bridge,
            "type": "bridge",
            "bridge": bridge,
            "isGateway": true,
            "ipam": self.host_local(subnets),
        })
    }

    /// [`Node::bridge`] without default routes, as secondary networks mostly are.
    pub fn side_bridge(&self, bridge: &str, subnets: &[&str]) -> Value {
        let mut conf = self.bridge(bridge, subnets);
        conf["ipam"]["routes"] = json!([]);
        conf
    }

    /// A `macvlan` network (mode bridge) over `master`, see [`Node::master`], with addresses from
    /// `subnets` and no routes.
    pub fn macvlan(&self, master: &str, subnets: &[&str]) -> Value {
        let mut ipam = self.host_local(subnets);
        ipam["routes"] = json!([]);
        json!({
            "cniVersion": self.delegate_version(),
            "name": format!("macvlan-{master}"),
            "type": "macvlan",
            "master": master,
            "mode": "bridge",
            "ipam": ipam,
        })
    }

    /// A network of the recording plugin: `record` says how it behaves (see
    /// `src/bin/recording-plugin.rs`); its calls are read by [`Node::calls`].
    pub fn recording(&self, name: &str, record: Value) -> Value {
        let mut record = record;
        record["log"] = json!(self.call_log());
        json!({
            "cniVersion": "1.1.0",
            "name": name,
            "type": "recording-plugin",
            "record": record,
        })
    }

    /// A list of plugins that are chained: each gets the result of the one before as `prevResult`.
    /// Name and version are those of the first.
    ///
    /// # Panics
    /// When `plugins` is empty.
    pub fn list(&self, plugins: &[Value]) -> Value {
        json!({
            "cniVersion": plugins[0]["cniVersion"],
            "name": plugins[0]["name"],
            "plugins": plugins,
        })
    }
}
