//! libcni's cache on this node: which container, interface and pod a plugin was called for, and what it returned. Multus keeps
//! that of its delegates below its `cniDir`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use serde::Deserialize;

use super::objects::PodName;

/// Files of a folder that are read; the cache has one for each interface of each pod of a node.
const FILES: usize = 100_000;

/// An attachment of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cached {
    pub(super) container: String,
    pub(super) ifname: String,
    pub(super) pod: PodName,
    /// Empty: not known.
    pub(super) uid: String,
    pub(super) ips: BTreeSet<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    container_id: String,
    if_name: String,
    #[serde(default)]
    cni_args: Option<Vec<(String, String)>>,
    #[serde(default)]
    result: Option<CachedResult>,
}

#[derive(Deserialize)]
struct CachedResult {
    #[serde(default)]
    ips: Option<Vec<CachedIp>>,
}

#[derive(Deserialize)]
struct CachedIp {
    address: IpNetwork,
}

/// Reads all entries of a folder; what is no entry with a pod is left out. A folder that does not exist is empty.
///
/// # Errors
/// What the system says.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Cached>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut cached = Vec::new();
    for entry in entries.take(FILES) {
        let entry = entry?;
        // A DEL may have removed it meanwhile.
        if let Ok(bytes) = fs::read(entry.path()) {
            cached.extend(parse(&bytes));
        }
    }
    Ok(cached)
}

/// An entry, if it has a pod and addresses.
fn parse(bytes: &[u8]) -> Option<Cached> {
    let entry: Entry = serde_json::from_slice(bytes).ok()?;
    let args = entry.cni_args.unwrap_or_default();
    let arg = |name: &str| {
        let mut found = args.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.clone())
    };
    let ips = entry.result?.ips?.into_iter();
    let ips: BTreeSet<IpAddr> = ips.map(|ip| ip.address.ip()).collect();
    let pod = PodName {
        namespace: arg("K8S_POD_NAMESPACE")?,
        name: arg("K8S_POD_NAME")?,
    };
    (!ips.is_empty()).then(|| Cached {
        container: entry.container_id,
        ifname: entry.if_name,
        pod,
        uid: arg("K8S_POD_UID").unwrap_or_default(),
        ips,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_libcni_has_container_interface_pod_and_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "blue-c1-net1",
            r#"{"kind":"cniCacheV1","containerId":"c1","config":"e30=","ifName":"net1","networkName":"blue","netns":"/run/netns/a",
              "cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","ns"],["K8S_POD_NAME","web"],["K8S_POD_UID","u1"]],
              "result":{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.7/24"},{"address":"fd00:1::7/64","gateway":"fd00:1::1"}]}}"#,
        );
        write(
            "blue-c2-net1",
            r#"{"containerId":"c2","ifName":"net1","result":{"ips":[]}}"#,
        );
        write("broken", "{");
        let read = read(folder.path()).unwrap();
        let [one] = &read[..] else { panic!("{read:?}") };
        assert_eq!(
            (
                one.container.as_str(),
                one.ifname.as_str(),
                one.uid.as_str()
            ),
            ("c1", "net1", "u1")
        );
        assert_eq!(one.pod.to_string(), "ns/web");
        assert_eq!(one.ips.len(), 2);
    }

    #[test]
    fn a_folder_that_does_not_exist_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("results")).unwrap(), []);
    }
}
