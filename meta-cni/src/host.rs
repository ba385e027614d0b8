//! How this machine is called.

use std::ffi::OsString;

/// This machine's name, in small letters: the kubelet takes it as the node's name by default. None if it is not Unicode.
pub fn host_name() -> Option<String> {
    node_name(nix::unistd::gethostname().ok()?)
}

/// The name that a kubelet gives to the node of a host (kubernetes, pkg/util/node, `GetHostname`).
fn node_name(host: OsString) -> Option<String> {
    let name = host.into_string().ok()?;
    Some(name.trim().to_lowercase()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_node_is_called_as_its_host_in_small_letters() {
        for (host, node) in [
            (&b"worker-1"[..], Some("worker-1")),
            (b"Worker-1.Example.ORG", Some("worker-1.example.org")),
            (b"", None),
            (b"worker-\xff", None),
        ] {
            let found = node_name(OsString::from_vec(host.to_vec()));
            assert_eq!(found.as_deref(), node, "{host:?}");
        }
    }
}
