//! CNI_ARGS of a delegate, the runtime's capabilities, and the device info file.

use super::*;

fn pod_ref(uid: Option<&str>) -> PodRef {
    PodRef {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        uid: uid.map(str::to_owned),
    }
}

fn pod(uid: &str) -> Pod {
    Pod {
        node: String::new(),
        devices: None,
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        uid: uid.to_owned(),
        annotations: BTreeMap::new(),
        resources: Vec::new(),
    }
}

/// CNI_ARGS of the second network of a pod.
fn args(runtime: &str, pod_ref: Option<PodRef>, pod: Option<Pod>, element: Value) -> String {
    let mut asked = Asked::new().and("shop/blue", element);
    asked.args = Args::parse(runtime).unwrap();
    asked.pod_ref = pod_ref;
    asked.pod = pod;
    asked.plan().unwrap().remove(1).args
}

#[test]
fn the_pod_comes_first_then_the_rest_as_it_came_then_what_the_pod_asks_for() {
    let runtime = "FOO=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop;K8S_POD_INFRA_CONTAINER_ID=c1;\
                   K8S_POD_UID=u1;IgnoreUnknown=1;BAR=";
    let all = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;\
               K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1;FOO=1;BAR=";
    let cases = [
        ("nothing asked for", json!({}), all.to_owned()),
        (
            "addresses",
            json!({"ips": ["10.0.0.9/24", "fd00::9"]}),
            format!("{all};IP=10.0.0.9/24,fd00::9"),
        ),
        (
            "a hardware address",
            json!({"mac": "02:00:00:00:00:09"}),
            format!("{all};MAC=02:00:00:00:00:09"),
        ),
        (
            "both",
            json!({"mac": "02:00:00:00:00:09", "ips": ["10.0.0.9"]}),
            format!("{all};IP=10.0.0.9;MAC=02:00:00:00:00:09"),
        ),
    ];
    for (name, element, expected) in cases {
        let given = args(runtime, Some(pod_ref(Some("u1"))), None, element);
        assert_eq!(given, expected, "{name}");
    }
}

#[test]
fn what_the_runtime_leaves_out_is_filled_in() {
    let runtime = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web";
    let known = "IgnoreUnknown=true;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;\
                 K8S_POD_INFRA_CONTAINER_ID=c1";
    let cases = [
        ("no UID anywhere", None, None, known.to_owned()),
        ("a pod without a UID", None, Some(pod("")), known.to_owned()),
        (
            "the UID of the API",
            None,
            Some(pod("u2")),
            format!("{known};K8S_POD_UID=u2"),
        ),
        (
            "the runtime's UID before that of the API",
            Some("u1"),
            Some(pod("u2")),
            format!("{known};K8S_POD_UID=u1"),
        ),
    ];
    for (name, uid, pod, expected) in cases {
        let given = args(runtime, Some(pod_ref(uid)), pod, json!({}));
        assert_eq!(given, expected, "{name}");
    }
}

#[test]
fn without_a_pod_the_arguments_are_those_of_the_runtime() {
    assert_eq!(args("", None, None, json!({})), "");
    assert_eq!(args("B=1;A=2", None, None, json!({})), "B=1;A=2");
    assert_eq!(
        args("IP=10.0.0.1;A=2", None, None, json!({"ips": ["10.0.0.9"]})),
        "IP=10.0.0.9;A=2",
        "what the pod asks for wins"
    );
}

#[test]
fn asked_addresses_go_to_cni_args_whether_or_not_a_plugin_declares_the_capability() {
    let one = json!({"ips": ["10.0.0.9"]});
    let pair = json!({"ips": ["10.0.0.9", "fd00::9"]});
    let ipam = json!({"type": "whereabouts"});
    let plain = json!({"plugins": [{"type": "bridge", "ipam": ipam}, {"type": "tuning"}]});
    let declaring = json!({"plugins": [
        {"type": "bridge", "capabilities": {"ips": true}, "ipam": ipam}, {"type": "tuning"},
    ]});
    let cases = [
        ("one", &one, &plain, "IP=10.0.0.9"),
        ("one, by capability too", &one, &declaring, "IP=10.0.0.9"),
        ("a pair", &pair, &plain, "IP=10.0.0.9,fd00::9"),
        (
            "a pair, by capability too",
            &pair,
            &declaring,
            "IP=10.0.0.9,fd00::9",
        ),
    ];
    for (name, element, conf, expected) in cases {
        let asked = Asked::new().and_of("shop/blue", element.clone(), conf.clone());
        let blue = asked.plan().unwrap().remove(1);
        assert_eq!(blue.args, expected, "{name}");
        let runtime = stdin(&blue, 0).get("runtimeConfig").cloned();
        let declares = conf == &declaring;
        assert_eq!(runtime, declares.then(|| element.clone()), "{name}");
    }
}

#[test]
fn several_addresses_that_would_not_reach_host_local_are_refused() {
    let one = json!({"ips": ["10.0.0.9"]});
    let pair = json!({"ips": ["10.0.0.9", "fd00::9"]});
    let plain = json!({"type": "bridge", "ipam": {"type": "host-local"}});
    let mut declaring = plain.clone();
    declaring["capabilities"] = json!({"ips": true});
    let asked = |element: &Value, conf: &Value| {
        Asked::new().and_of("shop/blue", element.clone(), conf.clone())
    };
    assert!(asked(&one, &plain).plan().is_ok());
    assert!(asked(&pair, &declaring).plan().is_ok());
    let problems = asked(&pair, &plain).problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let start = "network shop/blue: several addresses (ips) cannot be asked of plugin \"bridge\"";
    assert!(problems[0].starts_with(start), "{problems:?}");
}

#[test]
fn what_one_network_is_asked_does_not_reach_another() {
    let asked = Asked::new()
        .and("shop/blue", json!({"ips": ["10.0.0.9"]}))
        .and("shop/green", json!({}));
    let attachments = asked.plan().unwrap();
    let args: Vec<_> = attachments.iter().map(|one| one.args.as_str()).collect();
    assert_eq!(args, ["", "IP=10.0.0.9", ""]);
}

#[test]
fn the_runtimes_capabilities_reach_the_default_network_only() {
    let conf = json!({"type": "bridge", "capabilities": {"portMappings": true, "bandwidth": true}});
    let mut asked = Asked::nothing()
        .and_of("kube-system/calico", json!({}), conf.clone())
        .and_of("shop/blue", json!({}), conf.clone())
        .and_of(
            "shop/green",
            json!({"portMappings": [{"hostPort": 81}]}),
            conf,
        );
    let runtime = json!({"portMappings": [{"hostPort": 80}], "dns": {"servers": []}});
    asked.config.runtime_config = runtime.as_object().unwrap().clone();
    let attachments = asked.plan().unwrap();
    let configs: Vec<_> = attachments
        .iter()
        .map(|one| stdin(one, 0).get("runtimeConfig").cloned())
        .collect();
    assert_eq!(
        configs,
        [
            Some(json!({"portMappings": [{"hostPort": 80}]})),
            None,
            Some(json!({"portMappings": [{"hostPort": 81}]})),
        ]
    );
}

#[test]
fn a_device_info_file_is_planned_where_a_plugin_declares_it() {
    let wants = json!({"plugins": [
        {"type": "bridge"},
        {"type": "sriov", "capabilities": {"CNIDeviceInfoFile": true}},
    ]});
    let mut asked = Asked::new()
        .and_of("shop/blue", json!({}), wants)
        .and("shop/green", json!({}));
    asked.config.device_info_dir = "/run/devinfo".into();
    let attachments = asked.plan().unwrap();
    let file = attachments[1].device_info_file.clone().unwrap();
    assert_eq!(file.parent().unwrap().to_str(), Some("/run/devinfo/cni"));
    assert_eq!(
        stdin(&attachments[1], 1)["runtimeConfig"],
        json!({"CNIDeviceInfoFile": file})
    );
    assert_eq!(stdin(&attachments[1], 0).get("runtimeConfig"), None);
    assert_eq!(attachments[0].device_info_file, None);
    assert_eq!(attachments[2].device_info_file, None);
}

#[test]
fn a_device_info_file_is_planned_for_every_attachment_that_has_a_device() {
    let device = |id: &str| Device {
        resource: Some("intel.com/vf".to_owned()),
        id: id.to_owned(),
    };
    let long = format!("shop/{}", "n".repeat(253));
    let mut asked = Asked::new()
        .and_of("shop/blue", json!({}), json!({"type": "sriov"}))
        .and_of(&long, json!({}), json!({"type": "sriov"}));
    asked.config.device_info_dir = "/run/devinfo".into();
    asked.devices[1] = Some(device("0000:03:02.1"));
    asked.devices[2] = Some(device("0000:03:02.2"));
    let attachments = asked.plan().unwrap();
    let file = attachments[1].device_info_file.clone().unwrap();
    assert_eq!(
        file.to_str(),
        Some("/run/devinfo/cni/shop-blue-c1_net1"),
        "as Multus names it"
    );
    assert_eq!(
        stdin(&attachments[1], 0).get("runtimeConfig"),
        None,
        "a plugin that does not declare the capability does not get it"
    );
    assert_eq!(
        attachments[2].device_info_file, None,
        "a name that is too long keeps no pod from starting"
    );
    let wants = json!({"type": "sriov", "capabilities": {"CNIDeviceInfoFile": true}});
    let asked = Asked::new().and_of(&long, json!({}), wants);
    assert!(asked.problems()[0].contains("device info file"));
}
