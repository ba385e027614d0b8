//! Failures of the reference plugins whose message does not say what to do, known by their text: for errors, and for
//! `explain`.

/// What to do about the failure of `plugin` with this message, if it is a known one.
pub(crate) fn remedy(plugin: &str, message: &str) -> Option<&'static str> {
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
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("ptp", mac, None),
        ] {
            let found = remedy(plugin, message);
            assert_eq!(found.is_some(), word.is_some(), "{plugin}: {message}");
            assert!(
                word.is_none_or(|word| found.is_some_and(|text| text.contains(word))),
                "{plugin}: {message}: {found:?}"
            );
        }
    }
}
