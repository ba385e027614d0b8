//! Plugins that share a state between the attachments of a pod.

use super::*;

#[test]
fn bandwidth_twice_on_one_network_of_a_pod_is_refused() {
    let shaped = |limits: Value| {
        let mut bandwidth = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
        let limits = limits.as_object().unwrap().clone();
        bandwidth.as_object_mut().unwrap().extend(limits);
        json!({"plugins": [{"type": "bridge"}, bandwidth]})
    };
    let egress = json!({"egressRate": 1000, "egressBurst": 1000});
    let ingress = json!({"ingressRate": 1000, "ingressBurst": 1000});
    let asking = json!({ "bandwidth": egress });
    let none = json!({});
    for (case, first, second, refused) in [
        (
            "of the pod",
            ("shop/blue", &asking, shaped(none.clone())),
            ("shop/blue", &asking, shaped(none.clone())),
            true,
        ),
        (
            "of the configuration",
            ("shop/blue", &none, shaped(egress.clone())),
            ("shop/blue", &none, shaped(egress.clone())),
            true,
        ),
        (
            "on two networks",
            ("shop/blue", &asking, shaped(none.clone())),
            ("shop/red", &asking, shaped(none.clone())),
            false,
        ),
        (
            "on one of two",
            ("shop/blue", &asking, shaped(none.clone())),
            ("shop/blue", &none, shaped(none.clone())),
            false,
        ),
        (
            "of what the pod gets",
            ("shop/blue", &none, shaped(ingress.clone())),
            ("shop/blue", &none, shaped(ingress)),
            false,
        ),
    ] {
        let mut asked = Asked::new();
        for (nad, element, conf) in [first, second] {
            asked = asked.and_of(nad, element.clone(), conf);
        }
        match refused {
            false => assert!(asked.plan().is_ok(), "{case}"),
            true => assert!(
                asked.problems()[0]
                    .starts_with("network shop/blue: egress bandwidth on net1 and on net2: "),
                "{case}: {:?}",
                asked.problems()
            ),
        }
    }
}

#[test]
fn flannel_has_a_state_of_its_own_for_each_attachment_of_a_pod() {
    let flannel = |data_dir: Value| json!({"type": "flannel", "dataDir": data_dir});
    let usual = "/var/lib/cni/flannel";
    let none = json!(null);
    for (case, confs, expected) in [
        (
            "alone as a secondary, its state stays where it is",
            vec![json!({"type": "bridge"}), flannel(none.clone())],
            vec![none.clone(), none.clone()],
        ),
        (
            "default network and secondaries",
            vec![
                json!({"type": "flannel"}),
                flannel(json!(usual)),
                flannel(json!("")),
            ],
            vec![
                none.clone(),
                json!(format!("{usual}/net1")),
                json!(format!("{usual}/net2")),
            ],
        ),
        (
            "a folder of its own already",
            vec![flannel(none.clone()), flannel(json!("/var/lib/other"))],
            vec![none.clone(), json!("/var/lib/other")],
        ),
        (
            "a list, and keys in any case",
            vec![
                json!({"plugins": [{"type": "flannel", "DataDir": "/x"}, {"type": "portmap"}]}),
                json!({"plugins": [{"type": "flannel", "datadir": "/x"}, {"type": "portmap"}]}),
            ],
            vec![none, json!("/x/net1")],
        ),
    ] {
        let mut asked = Asked::nothing();
        for conf in confs {
            asked = asked.and_of("shop/blue", json!({}), conf);
        }
        let attachments = asked.plan().unwrap();
        for (attachment, expected) in attachments.iter().zip(expected) {
            let given = stdin(attachment, 0);
            let found = given.get("dataDir").unwrap_or(&Value::Null);
            assert_eq!(*found, expected, "{case}: {}", attachment.ifname);
        }
    }
}
