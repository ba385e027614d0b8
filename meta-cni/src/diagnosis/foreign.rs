//! What to do about errors of the crates below this one, and about failures of the reference plugins whose message does not
//! say it.

use cni::chain::{ChainError, PluginFailure};
use cni::key;
use cni::plugins::PluginError;
use netlink::NetlinkError;
use netlink::netns::NetnsError;
use serde_json::{Map, Value};

use super::Explain;

/// What to do about a plugin that was stopped at its deadline.
const MORE_TIME: &str = "see why it hangs, or raise delegateTimeoutSeconds (one plugin) or verbTimeoutSeconds (the whole call)";
/// What to do about a plugin that was not called because the time of the call was over.
const MORE_TIME_OF_CALL: &str = "see which plugin took long, or raise verbTimeoutSeconds";

impl Explain for PluginError {
    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            PluginError::TimedOut { .. } => Some(MORE_TIME),
            PluginError::NoTimeLeft { .. } => Some(MORE_TIME_OF_CALL),
            PluginError::Failed { plugin, object } => known_remedy(plugin, &object.to_string()),
            error => PluginError::remedy(error),
        };
        remedy.map(str::to_owned)
    }
}

impl Explain for ChainError {
    fn remedy(&self) -> Option<String> {
        match self {
            ChainError::Plugin { source, .. } => Explain::remedy(source.as_ref()),
            _ => None,
        }
    }
}

impl Explain for PluginFailure {
    fn remedy(&self) -> Option<String> {
        self.error.remedy()
    }
}

impl Explain for NetnsError {
    fn remedy(&self) -> Option<String> {
        None
    }
}

impl Explain for NetlinkError {
    fn remedy(&self) -> Option<String> {
        None
    }
}

/// The interface of the node that a plugin was to use and did not find, with the key that names it, where the message of the
/// plugin leaves that out: netlink has no name in ENODEV, which the library of plugins in Go and the kernel put into words.
pub(crate) fn missing_link(stdin: &[u8], error: &PluginError) -> Option<String> {
    let PluginError::Failed { object, .. } = error else {
        return None;
    };
    let message = object.to_string();
    let lower = message.to_ascii_lowercase();
    let is_missing = ["link not found", "no such device"]
        .iter()
        .any(|words| lower.contains(words));
    if !is_missing {
        return None;
    }
    let conf: Map<String, Value> = serde_json::from_slice(stdin).ok()?;
    let of_key = |name| Some((name, key::value_of(&conf, name)?.as_str()?));
    let (key, name) = of_key("master").or_else(|| of_key("device"))?;
    (!message.contains(name)).then(|| format!("{key} {name}"))
}

/// What to do about the failure of `plugin` with this message of its own, if it is a known one.
fn known_remedy(plugin: &str, message: &str) -> Option<&'static str> {
    let says = |part: &str| message.contains(part);
    let is_default_route = ["{0.0.0.0 ", "'0.0.0.0/0", "{:: ", "'::/0"]
        .into_iter()
        .any(says);
    match plugin {
        // It takes a default route of its IPAM for the one that it is to add only if that one has a gateway.
        "bridge" if says("failed to add route") && says("file exists") && is_default_route => Some(
            "with isDefaultGateway, the default route of ipam needs its `gw`: add it, or remove the route",
        ),
        // Before 1.10, on a bridge that a failed ADD has left.
        "bridge" if says("could not set bridge's mac") => Some(
            "plugins before 1.10 fail so after a failed ADD on a new bridge: the next tries succeed; install 1.10",
        ),
        // It searches a file of its own even if its configuration says everything.
        _ if says("config file not found") && (plugin == "whereabouts" || says("whereabouts")) => {
            Some(
                "whereabouts needs /etc/cni/net.d/whereabouts.d/whereabouts.conf, which may hold {}: write it, or name a file in \
             `configuration_path` of ipam",
            )
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delegates::recording::failed;

    #[test]
    fn an_interface_that_a_plugin_does_not_find_is_named() {
        let stdin = br#"{"type": "macvlan", "master": "eth7"}"#;
        let missing = |message: &str| missing_link(stdin, &failed("macvlan", 999, message));
        assert_eq!(missing("Link not found").as_deref(), Some("master eth7"));
        assert_eq!(missing("eth7: no such device"), None);
        assert_eq!(missing("busy"), None);
    }

    #[test]
    fn a_known_failure_has_its_remedy_and_no_other_one_has() {
        let v4 = "failed to add route '{0.0.0.0 00000000} via 10.1.0.1 dev eth0 metric 0 (Scope: universe, Table: 0)': file exists";
        let v6 = "failed to add route '{:: 00000000000000000000000000000000} via fd00:1::1 dev eth0': file exists";
        let other = "failed to add route '{10.9.0.0 ffff0000} via 10.1.0.1 dev eth0': file exists";
        let unreachable = "failed to add route '{0.0.0.0 00000000} via 10.1.0.1 dev eth0': network is unreachable";
        let mac = "could not set bridge's mac: invalid argument";
        for (plugin, message, word) in [
            ("bridge", v4, Some("`gw`")),
            ("bridge", v6, Some("`gw`")),
            ("bridge", mac, Some("1.10")),
            ("bridge", other, None),
            ("bridge", unreachable, None),
            ("macvlan", v4, None),
            (
                "whereabouts",
                "config file not found",
                Some("whereabouts.conf"),
            ),
            (
                "bridge",
                "plugin type=\"whereabouts\" failed (add): config file not found",
                Some("whereabouts.conf"),
            ),
            ("bridge", "config file not found", None),
            ("ptp", mac, None),
        ] {
            let found = known_remedy(plugin, message);
            assert_eq!(found.is_some(), word.is_some(), "{plugin}: {message}");
            assert!(
                word.is_none_or(|word| found.is_some_and(|text| text.contains(word))),
                "{plugin}: {message}: {found:?}"
            );
        }
    }
}
