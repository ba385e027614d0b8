//! The executable under the names of plugins, called by a program of others: cnitool of containernetworking/cni.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::locate;
use netlink::netns;
use serde_json::{Value, json};

use super::state::{self, Plain, differences};
use super::twin::Twin;

/// A list of a main plugin with its IPAM plugin, and one behind it.
fn list() -> Value {
    let ranges = json!([[{"subnet": "10.40.0.0/24"}], [{"subnet": "fd40::/64"}]]);
    json!({
        "cniVersion": "1.1.0",
        "name": "called",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "called0",
                "isGateway": true,
                "ipam": {"type": "host-local", "dataDir": "{data}/leases", "ranges": ranges},
            },
            {"type": "tuning", "mtu": 1400},
        ],
    })
}

/// A folder in which the executable has the names of the plugins of the list.
fn links(folder: &Path) -> PathBuf {
    for name in ["bridge", "host-local", "tuning"] {
        symlink(locate::executable("meta-cni"), folder.join(name)).expect("make a link");
    }
    folder.to_owned()
}

/// What cnitool says to each command, and what is left after it, with plugins of this folder.
fn answers(plugins: &Path) -> Vec<Value> {
    let twin = Twin::new();
    let data = twin.data().display().to_string();
    twin.write(
        "conf/list.conflist",
        &list().to_string().replace("{data}", &data),
    );
    let mut plain = Plain::of(&twin);
    let commands = ["status", "add", "check", "del", "del", "gc"];
    let answers = commands.map(|command| {
        let output = netns::within(&twin.host(), || {
            Command::new(locate::pinned_plugins().join("cnitool"))
                .args([command, "called"])
                .arg(twin.pod())
                .env("NETCONFPATH", twin.data().join("conf"))
                .env("CNI_PATH", plugins)
                .env("CNI_IFNAME", "eth0")
                .output()
                .expect("start cnitool")
        });
        let output = output.expect("a host");
        let result = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        let seen = json!({"answer": {"result": result}, "left": state::read(&twin)});
        plain.value(&without_id(&seen))
    });
    answers.into()
}

/// The same without the ID that cnitool makes of the path of a namespace: `cnitool-` and 20 hexadecimal digits.
fn without_id(seen: &Value) -> Value {
    const ID: &str = "cnitool-";
    const DIGITS: usize = 20;

    let text = seen.to_string();
    let mut parts = text.split(ID);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("<id>");
        plain.push_str(&part[DIGITS..]);
    }
    serde_json::from_str(&plain).expect("still JSON")
}

#[test]
fn cnitool_sees_no_difference() {
    let folder = tempfile::tempdir().expect("make a folder");
    let reference = answers(&locate::pinned_plugins());
    let ours = answers(&links(folder.path()));
    let mut found = Vec::new();
    for (reference, ours) in reference.iter().zip(&ours) {
        differences(reference, ours, "", &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
    let made = &reference[1]["answer"]["result"];
    assert_eq!(made["ips"].as_array().map(Vec::len), Some(2), "{made}");
}
