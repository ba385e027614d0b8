//! What is asked of the server, from a plugin's configuration and environment alone. meta-cni and meta-ipam both ask
//! through it, so that the same attachment gives the same request.

use std::net::IpAddr;

use cni::args::Args;
use cni::key;
use cni::netconf::PluginConf;
use proto::ipam::v1::{AllocateRequest, FamiliesRequired, Owner, ReleaseAttachmentRequest};
use serde_json::{Map, Value};

use super::config::{IpamConfig, NETWORK, TYPE};
use super::failure::IpamFailure;
use crate::host::host_name;

/// One attachment as a plugin sees it.
#[derive(Clone, Copy, Debug)]
pub struct Attachment<'a> {
    /// The plugin's whole configuration.
    pub conf: &'a Map<String, Value>,
    /// CNI_CONTAINERID.
    pub container_id: &'a str,
    /// CNI_IFNAME.
    pub ifname: &'a str,
    /// CNI_ARGS.
    pub args: &'a Args,
}

impl Attachment<'_> {
    /// The network that leases are filed under, see [`network_of`].
    pub fn network(&self) -> &str {
        network_of(self.conf)
    }

    /// What ADD asks for.
    pub fn allocate(&self, config: &IpamConfig) -> AllocateRequest {
        let mut request = AllocateRequest {
            pools: config.pools.clone(),
            owner: Some(self.owner(config)),
            ips: self.ips(),
            mac: self.mac(),
            ..AllocateRequest::default()
        };
        if let Some(families) = &config.families
            && let Some(families) = FamiliesRequired::from_str_name(families)
        {
            request.set_families_required(families);
        }
        request
    }

    /// Checks that no more than one address of each family is asked for. What is no address is left to the server.
    ///
    /// # Errors
    /// [`IpamFailure::TooManyAddresses`].
    pub fn check_ips(&self) -> Result<(), IpamFailure> {
        let texts = self.ips();
        let parsed = texts.iter().filter_map(|text| {
            let address = text.split_once('/').map_or(text.as_str(), |(at, _)| at);
            address.parse::<IpAddr>().ok()
        });
        let (four, six): (Vec<_>, Vec<_>) = parsed.partition(IpAddr::is_ipv4);
        for (family, addresses) in [("IPv4", four), ("IPv6", six)] {
            if let [first, second, ..] = addresses[..] {
                return Err(IpamFailure::TooManyAddresses {
                    family,
                    count: addresses.len(),
                    first,
                    second,
                });
            }
        }
        Ok(())
    }

    /// What DEL asks for.
    pub fn release(&self) -> ReleaseAttachmentRequest {
        ReleaseAttachmentRequest {
            network: self.network().to_owned(),
            container_id: self.container_id.to_owned(),
            ifname: self.ifname.to_owned(),
        }
    }

    fn owner(&self, config: &IpamConfig) -> Owner {
        let arg = |name| self.args.get(name).unwrap_or_default().to_owned();
        let claim = key::value_of(self.conf, "args")
            .and_then(|args| args.pointer("/cni/ipam-claim-reference"));
        Owner {
            kind: "pod".to_owned(),
            cluster: String::new(),
            namespace: arg("K8S_POD_NAMESPACE"),
            pod: arg("K8S_POD_NAME"),
            pod_uid: arg("K8S_POD_UID"),
            container_id: self.container_id.to_owned(),
            ifname: self.ifname.to_owned(),
            network: self.network().to_owned(),
            node: node(config),
            claim: text(claim).to_owned(),
        }
    }

    /// `runtimeConfig.ips`, else `args.cni.ips`, else `IP=` unless there is an `args`.
    fn ips(&self) -> Vec<String> {
        let of = |value: Option<&Value>| -> Vec<String> {
            let list = value.and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let runtime = of(self.runtime_config("ips"));
        if !runtime.is_empty() {
            return runtime;
        }
        if let Some(args) = key::value_of(self.conf, "args") {
            return of(args.pointer("/cni/ips"));
        }
        let wanted = self.args.get("IP").unwrap_or_default().split(',');
        wanted
            .map(str::trim)
            .filter(|ip| !ip.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn runtime_config(&self, name: &str) -> Option<&Value> {
        key::value_of(self.conf, "runtimeConfig")?.get(name)
    }

    fn mac(&self) -> String {
        match text(self.runtime_config("mac")) {
            "" => self.args.get("MAC").unwrap_or_default().to_owned(),
            mac => mac.to_owned(),
        }
    }
}

/// The network that leases are filed under: `ipam.network`, which [`set_network`] writes, else the name of
/// the configuration.
pub fn network_of(conf: &Map<String, Value>) -> &str {
    match text(key::value_of(conf, "ipam").and_then(|ipam| ipam.get(NETWORK))) {
        "" => text(key::value_of(conf, "name")),
        network => network,
    }
}

/// Lets a plugin file its leases under `network`, if it leases by meta-ipam and names no network itself: the name of its
/// configuration may be that of networks in other namespaces too.
pub fn set_network(plugin: &mut PluginConf, network: &str) {
    if plugin.ipam_type() == Some(TYPE)
        && let Some(ipam) = plugin.object_mut("ipam")
    {
        ipam.entry(NETWORK).or_insert_with(|| Value::from(network));
    }
}

/// The node's name: the configured one, else the host's; empty if the host's is not Unicode.
pub fn node(config: &IpamConfig) -> String {
    let named = config.node.clone();
    named.or_else(host_name).unwrap_or_default()
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ips(more: Value, args: &str) -> Vec<String> {
        let mut conf =
            json!({"name": "blue", "ipam": {"type": "meta-ipam", "pool": "p", "node": "n1"}});
        conf.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let conf = conf.as_object().unwrap();
        let args = Args::parse(args).unwrap();
        let attachment = Attachment {
            conf,
            container_id: "c",
            ifname: "net1",
            args: &args,
        };
        let config = IpamConfig::of(conf).unwrap().unwrap();
        attachment.allocate(&config).ips
    }

    #[test]
    fn addresses_come_from_the_first_place_that_names_some() {
        let runtime = json!({"runtimeConfig": {"ips": ["10.0.0.1/24"]}, "args": {"cni": {"ips": ["10.0.0.2"]}}});
        assert_eq!(ips(runtime, "IP=10.0.0.3"), ["10.0.0.1/24"]);
        assert_eq!(
            ips(
                json!({"args": {"cni": {"ips": ["10.0.0.2"]}}}),
                "IP=10.0.0.3"
            ),
            ["10.0.0.2"]
        );
        assert_eq!(ips(json!({"args": {}}), "IP=10.0.0.3"), [""; 0]);
        assert_eq!(
            ips(json!({}), "IP=10.0.0.3, fd00::3"),
            ["10.0.0.3", "fd00::3"]
        );
    }

    #[test]
    fn leases_are_filed_under_the_network_of_ipam_else_under_the_name() {
        let args = Args::default();
        let network = |conf: &PluginConf| {
            let attachment = Attachment {
                conf: conf.as_map(),
                container_id: "c",
                ifname: "net1",
                args: &args,
            };
            attachment.release().network
        };
        let plugin = |ipam: Value| {
            let conf = json!({"name": "blue", "type": "bridge", "ipam": ipam});
            PluginConf::new(conf, "").unwrap()
        };
        let mut ours = plugin(json!({"type": "meta-ipam", "pool": "p"}));
        assert_eq!(network(&ours), "blue");
        set_network(&mut ours, "shop/blue");
        assert_eq!(network(&ours), "shop/blue");
        let conf = ours.as_map();
        let config = IpamConfig::of(conf).unwrap().unwrap();
        let asks = Attachment {
            conf,
            container_id: "c",
            ifname: "net1",
            args: &args,
        };
        let owner = asks.allocate(&config).owner.unwrap();
        assert_eq!(owner.network, "shop/blue");
        let mut foreign = plugin(json!({"type": "host-local"}));
        let before = foreign.clone();
        set_network(&mut foreign, "shop/blue");
        assert_eq!(foreign, before, "another plugin's object is left alone");
    }

    #[test]
    fn the_owner_is_the_attachment_and_its_pod() {
        let conf = json!({"name": "blue", "ipam": {"type": "meta-ipam", "pool": "p", "node": "n1", "families": "V6"}});
        let conf = conf.as_object().unwrap();
        let args = Args::parse("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web;K8S_POD_UID=u").unwrap();
        let attachment = Attachment {
            conf,
            container_id: "c",
            ifname: "net1",
            args: &args,
        };
        let request = attachment.allocate(&IpamConfig::of(conf).unwrap().unwrap());
        assert_eq!(request.families_required(), FamiliesRequired::V6);
        let owner = request.owner.unwrap();
        assert_eq!(
            (
                owner.network.as_str(),
                owner.container_id.as_str(),
                owner.ifname.as_str()
            ),
            ("blue", "c", "net1")
        );
        assert_eq!(
            (
                owner.namespace.as_str(),
                owner.pod.as_str(),
                owner.node.as_str()
            ),
            ("ns", "web", "n1")
        );
    }
}
