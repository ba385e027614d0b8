//! What a plan is made of, and everything for which there is none.

mod arguments;
mod properties;
mod shared;

use std::collections::BTreeMap;

use cni::error::Code;
use cni::netconf::NetConfList;
use serde_json::json;

use super::*;
use crate::cluster::NadName;
use crate::selection::{self, Element};
use crate::wanted::Source;

/// What a plan is made from, owned.
#[derive(Debug)]
struct Asked {
    config: Config,
    args: Args,
    pod_ref: Option<PodRef>,
    pod: Option<Pod>,
    wanted: Vec<Wanted>,
    found: Vec<Result<Found, Problem>>,
    devices: Vec<Option<Device>>,
}

impl Asked {
    /// No network at all.
    fn nothing() -> Asked {
        Asked {
            config: Config::default(),
            args: Args::default(),
            pod_ref: None,
            pod: None,
            wanted: Vec::new(),
            found: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// The default network only, which is called `calico`.
    fn new() -> Asked {
        Asked::nothing().and("kube-system/calico", json!({}))
    }

    /// One network more, of the plugin `bridge`.
    fn and(self, nad: &str, element: Value) -> Asked {
        self.and_of(nad, element, json!({"type": "bridge"}))
    }

    /// One network more.
    fn and_of(mut self, nad: &str, element: Value, conf: Value) -> Asked {
        let (namespace, name) = nad.split_once('/').unwrap();
        let mut list = NetConfList::from_value(conf).unwrap();
        list.name = name.to_owned();
        self.wanted.push(Wanted {
            source: Source::Nad(NadName {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            element: self::element(element),
        });
        self.found.push(Ok(Found {
            network: nad.to_owned(),
            ..Found::of(list).unwrap()
        }));
        self.devices.push(None);
        self
    }

    fn plan(&self) -> Result<Vec<Attachment>, Problems> {
        plan(Inputs {
            config: &self.config,
            container_id: "c1",
            ifname: "eth0",
            args: &self.args,
            pod_ref: self.pod_ref.as_ref(),
            pod: self.pod.as_ref(),
            wanted: &self.wanted,
            found: &self.found,
            devices: &self.devices,
        })
    }

    fn names(&self) -> Vec<String> {
        let attachments = self.plan().unwrap();
        attachments.into_iter().map(|one| one.ifname).collect()
    }

    fn problems(&self) -> Vec<String> {
        let problems = self.plan().unwrap_err();
        let text = |problem: &Problem| format!("{}: {}", problem.subject, problem.what);
        problems.0.iter().map(text).collect()
    }
}

/// The selection element with these fields.
fn element(mut fields: Value) -> Element {
    fields["name"] = json!("x");
    selection::parse(&json!([fields]).to_string())
        .unwrap()
        .remove(0)
}

fn on(interface: &str) -> Value {
    json!({"interface": interface})
}

/// The configuration of the plugin at `index` of an attachment, as it reads it.
fn stdin(attachment: &Attachment, index: usize) -> Value {
    let bytes = attachment.list.plugins[index].stdin_with([]);
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn interfaces_are_called_as_asked_or_by_their_place_in_the_whole_list() {
    let none = json!({});
    let cases = [
        ("the default network", vec![], vec!["eth0"]),
        (
            "places",
            vec![none.clone(), none.clone()],
            vec!["eth0", "net1", "net2"],
        ),
        (
            "a name uses up its place",
            vec![on("blue"), none.clone()],
            vec!["eth0", "blue", "net2"],
        ),
        (
            "a name of a place that is not used",
            vec![on("net2"), on("net1"), none.clone()],
            vec!["eth0", "net2", "net1", "net3"],
        ),
        (
            "the older spelling",
            vec![json!({"interfaceRequest": "old"})],
            vec!["eth0", "old"],
        ),
    ];
    for (name, elements, expected) in cases {
        let asked = elements.into_iter().fold(Asked::new(), |asked, element| {
            asked.and("shop/blue", element)
        });
        assert_eq!(asked.names(), expected, "{name}");
    }
}

#[test]
fn the_default_network_has_the_runtimes_interface_whatever_its_element_says() {
    let mut asked = Asked::new();
    asked.wanted[0].element.interface = Some("other".to_owned());
    assert_eq!(asked.names(), ["eth0"]);
}

#[test]
fn names_that_clash_or_cannot_be_are_refused() {
    let cases = [
        (
            "two of a name",
            vec![on("blue"), on("blue")],
            "network shop/n2: interface blue is also that of network shop/n1",
        ),
        (
            "the runtime's",
            vec![on("eth0")],
            "network shop/n1: interface eth0 is also that of network kube-system/calico",
        ),
        (
            "the name of a later place",
            vec![on("net2"), json!({})],
            "network shop/n2: interface net2 is also that of network shop/n1",
        ),
        (
            "loopback",
            vec![on("lo")],
            "network shop/n1: interface lo is the pod's loopback",
        ),
    ];
    for (name, elements, expected) in cases {
        let mut asked = Asked::new();
        for (index, element) in elements.into_iter().enumerate() {
            asked = asked.and(&format!("shop/n{}", index + 1), element);
        }
        let problems = asked.problems();
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{name}: {problems:?}");
    }
}

#[test]
fn a_name_that_the_kernel_does_not_take_is_refused() {
    for bad in ["", ".", "a/b", "1234567890123456"] {
        let mut asked = Asked::new().and("shop/blue", json!({}));
        asked.wanted[1].element.interface = Some(bad.to_owned());
        let problems = asked.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let start = format!("network shop/blue: interface {bad:?}: ");
        assert!(problems[0].starts_with(&start), "{problems:?}");
    }
}

#[test]
fn one_attachment_for_each_family_may_ask_for_the_default_route() {
    let route = |gateways: &[&str]| json!({"default-route": gateways});
    let v4 = route(&["10.0.0.1"]);
    let v6 = route(&["fd00::1"]);
    let both = route(&["10.0.0.1", "fd00::1"]);
    let clash4 = "default-route: net1, net2 all ask for the IPv4 default route; \
                  leave default-route on one of them";
    let clash6 = "default-route: net1, net2 all ask for the IPv6 default route; \
                  leave default-route on one of them";
    let cases = [
        ("one", vec![v4.clone()], vec![]),
        ("both families on one", vec![both.clone()], vec![]),
        ("a family each", vec![v4.clone(), v6.clone()], vec![]),
        (
            "none asked for beside one",
            vec![v4.clone(), route(&[]), route(&[])],
            vec![],
        ),
        ("two of IPv4", vec![v4.clone(), v4.clone()], vec![clash4]),
        ("two of IPv6", vec![both.clone(), v6], vec![clash6]),
        (
            "two of both",
            vec![both.clone(), both],
            vec![clash4, clash6],
        ),
    ];
    for (name, elements, expected) in cases {
        let asked = elements.into_iter().fold(Asked::new(), |asked, element| {
            asked.and("shop/blue", element)
        });
        match expected.as_slice() {
            [] => assert!(asked.plan().is_ok(), "{name}"),
            expected => assert_eq!(asked.problems(), expected, "{name}"),
        }
    }
}

#[test]
fn the_default_network_counts_among_those_that_ask_for_the_default_route() {
    let mut asked = Asked::new().and("shop/blue", json!({"default-route": ["10.0.0.1"]}));
    asked.wanted[0].element = element(json!({"default-route": ["10.1.0.1"]}));
    assert!(asked.problems()[0].contains("eth0, net1"));
}

#[test]
fn only_allowed_plugins_are_run() {
    let chain = json!({"plugins": [{"type": "bridge"}, {"type": "tuning"}]});
    let mut asked = Asked::new().and_of("shop/blue", json!({}), chain);
    assert!(asked.plan().is_ok(), "any plugin, if none are named");
    asked.config.allowed_plugins = Some(vec!["bridge".to_owned(), "tuning".to_owned()].into());
    assert!(asked.plan().is_ok());
    asked.config.allowed_plugins = Some(vec!["bridge".to_owned()].into());
    assert_eq!(
        asked.problems(),
        [
            "network shop/blue: plugin \"tuning\" is not in allowedPlugins; add it there, or use another"
        ]
    );
    asked.config.allowed_plugins = Some(Vec::new().into());
    assert_eq!(asked.problems().len(), 3, "an empty list allows none");
}

#[test]
fn a_network_that_is_run_by_this_plugin_again_is_refused() {
    for kind in ["meta-cni", "multus"] {
        let mut asked = Asked::new().and_of("shop/blue", json!({}), json!({"type": kind}));
        asked.config.kind = "multus".to_owned();
        let problems = asked.problems();
        assert!(problems[0].contains("would call itself"), "{problems:?}");
    }
}

#[test]
fn all_problems_are_reported_at_once_and_a_permanent_one_decides_the_code() {
    let mut asked = Asked::new()
        .and("shop/gone", on("lo"))
        .and("shop/late", json!({"default-route": ["10.0.0.1"]}))
        .and_of(
            "shop/evil",
            json!({"default-route": ["10.0.0.2"]}),
            json!({"type": "evil"}),
        );
    asked.config.allowed_plugins = Some(vec!["bridge".to_owned()].into());
    asked.found[1] = Err(Problem::permanent("network shop/gone", "is not there"));
    asked.found[2] = Err(Problem::transient("network shop/late", "no answer"));
    let problems = asked.plan().unwrap_err();
    let subjects: Vec<_> = problems.0.iter().map(|one| one.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "network shop/gone",
            "default-route",
            "network shop/gone",
            "network shop/late",
            "network shop/evil"
        ]
    );
    assert_eq!(problems.code(), Code::INVALID_NETWORK_CONFIG);
    let transient = Problems(vec![problems.0[3].clone()]);
    assert_eq!(transient.code(), Code::TRY_AGAIN_LATER);
}

#[test]
fn what_stands_on_a_later_network_is_refused() {
    let over = |master: &str| json!({"type": "macvlan", "linkInContainer": true, "master": master});
    let asked = Asked::new()
        .and_of("shop/top", json!({}), over("net2"))
        .and("shop/low", json!({}));
    let problems = asked.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let start = "network shop/top: its master net2 is the interface of network shop/low";
    assert!(problems[0].starts_with(start), "{problems:?}");
    let asked = Asked::new()
        .and("shop/low", json!({}))
        .and_of("shop/top", json!({}), over("net1"));
    assert_eq!(asked.names(), ["eth0", "net1", "net2"]);
}

#[test]
fn an_attachment_keeps_what_is_needed_later() {
    let mut asked = Asked::new().and_of(
        "shop/blue",
        json!({"default-route": []}),
        json!({"cniVersion": "0.4.0", "plugins": [{"type": "bridge"}, {"type": "tuning"}]}),
    );
    asked.devices[1] = Some(Device {
        resource: Some("intel.com/vf".to_owned()),
        id: "0000:03:02.1".to_owned(),
    });
    let attachments = asked.plan().unwrap();
    assert_eq!(attachments[0].default_route, None);
    assert_eq!(attachments[0].device, None);
    let blue = &attachments[1];
    assert_eq!(blue.network, "shop/blue");
    assert_eq!(blue.default_route, Some(Vec::new()));
    assert_eq!(blue.device, asked.devices[1]);
    for (index, plugin) in ["bridge", "tuning"].iter().enumerate() {
        let stdin = stdin(blue, index);
        assert_eq!(stdin["type"], *plugin);
        assert_eq!(stdin["name"], "blue", "the list's name goes to each plugin");
        assert_eq!(stdin["cniVersion"], "0.4.0");
    }
}
