//! The same through meta-ipam: the CNI code of each.

use proto::ipam::v1::{CordonPoolRequest, ReleaseAttachmentRequest};
use serde_json::{Value, json};

use super::*;
use crate::ipam::plugin::{code, good, json_of, plugin};

#[tokio::test]
async fn a_plugin_turns_each_into_its_cni_code() {
    let (server, _) = scene().await;
    let wish = |ip: &str| json!({"runtimeConfig": {"ips": [ip]}});
    let of_pool = |name: &str| {
        json!({"ipam": {
            "type": "meta-ipam", "pool": name, "server": format!("unix://{}", server.socket().display()),
            "stateDir": server.folder().join("state"), "timeoutSeconds": 2
        }})
    };
    good(plugin(&server, "ADD", "c1", wish("10.0.0.4")));
    let release = ReleaseAttachmentRequest {
        network: "blue".to_owned(),
        container_id: "holder".to_owned(),
        ifname: "net1".to_owned(),
    };
    // 10.0.0.3 rests from now on.
    let released = server.lease_client().release_attachment(release).await;
    released.expect("release");
    let rows: [(&str, &str, Value, u64); 9] = [
        ("a bad address", "c2", wish("10.0.0"), 7),
        ("an unknown pool", "c2", of_pool("red"), 7),
        ("outside of the pool", "c2", wish("10.9.0.1"), 101),
        ("the gateway", "c2", wish("10.0.0.1"), 102),
        ("an address in use", "c2", wish("10.0.0.4"), 103),
        ("an address that rests", "c2", wish("10.0.0.3"), 11),
        ("the same key, another request", "c1", wish("10.0.0.5"), 105),
        ("no pool", "c2", json!({"ipam": {"type": "meta-ipam"}}), 7),
        (
            "bytes that are no configuration",
            "c2",
            json!({"ipam": 7}),
            7,
        ),
    ];
    for (what, container, more, expected) in rows {
        let failed = plugin(&server, "ADD", container, more);
        assert_eq!(code(&failed), expected, "{what}: {failed:?}");
        assert!(
            json_of(&failed)["msg"]
                .as_str()
                .is_some_and(|text| text.len() < 300),
            "{what}"
        );
    }
    for (what, name, address) in [
        ("exhausted", "tiny", "10.3.0.0/31"),
        ("cordoned", "shut", "10.4.0.0/24"),
    ] {
        server.create_pool(name, address, "").await;
        if name == "shut" {
            let cordon = CordonPoolRequest {
                name: name.to_owned(),
            };
            server
                .pool_client()
                .cordon_pool(cordon)
                .await
                .expect("cordon");
        } else {
            for n in 0..2 {
                let taken = server
                    .lease_client()
                    .allocate(request(name, &format!("t{n}")))
                    .await;
                taken.expect("allocate");
            }
        }
        let failed = plugin(&server, "ADD", "c3", of_pool(name));
        assert_eq!(code(&failed), 11, "{what}: {failed:?}");
    }
    // What is not there any more is released all the same.
    good(plugin(&server, "DEL", "c9", json!({})));
    good(plugin(&server, "DEL", "c9", of_pool("red")));
}
