//! What a command left behind: of the kernel, as `ip` and `nft` show it, and of files; without what differs between any two
//! runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use netlink::netns::{self, Namespace};
use serde_json::{Map, Value, json};

use super::twin::Twin;

/// Fields that differ between any two runs, or that the kernel sets a moment later.
const FLEETING: &[&str] = &[
    "ifindex",
    "link_index",
    "link_netnsid",
    "operstate",
    "linkmode",
    "bridge_id",
    "root_id",
    "designated_bridge",
    "designated_root",
    "port_id",
    "no",
    "designated_port",
    "topology_change_timer",
    "hello_timer",
    "tcn_timer",
    "gc_timer",
    "message_age_timer",
    "forward_delay_timer",
    "hold_timer",
    "state",
    "tentative",
    "inet6_addr_gen_mode",
    "handle",
    "stable-privacy",
];

/// Everything that is compared after a step.
pub(crate) fn read(twin: &Twin) -> Value {
    let mut files = BTreeMap::new();
    read_files(twin.data(), twin.data(), &mut files);
    let host = kernel(&twin.host());
    // A reference plugin leaves a file in the place of a namespace that is gone.
    let pod = match Namespace::open(&twin.pod()) {
        Ok(_) => kernel(&twin.pod()),
        Err(_) => json!("gone"),
    };
    let nft = netns::within(&twin.host(), || {
        output(Command::new("nft").args(["-j", "list", "ruleset"]))
    });
    json!({"host": host, "pod": pod, "nft": nft.unwrap(), "files": files, "leases": null})
}

/// The state of one namespace. One `ip` for all but the rules of IPv6: starting programs is what the suite does most.
fn kernel(namespace: &Path) -> Value {
    let lists = "address show\nroute show table all\nrule show\nneighbour show nud permanent\n";
    netns::within(namespace, || {
        let mut batch = Command::new("ip");
        batch.args(["-d", "-j", "-batch", "-"]);
        let lists = several(&mut batch, lists);
        let [links, routes, rules, neighbours] = <[Value; 4]>::try_from(lists).unwrap();
        let rules_v6 = output(Command::new("ip").args(["-6", "-j", "rule", "show"]));
        json!({
            "links": only_lasting(links),
            "routes": only_own(routes),
            "rules": [rules, rules_v6],
            "neighbours": neighbours,
            "settings": settings(),
        })
    })
    .unwrap()
}

/// What a program writes as JSON; nothing is an empty list.
fn output(command: &mut Command) -> Value {
    several(command, "").pop().unwrap_or(json!([]))
}

/// The same of a program that writes one list after the other.
fn several(command: &mut Command, input: &str) -> Vec<Value> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    let lists = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    lists.map(Result::unwrap).collect()
}

/// Leaves out the links of random names, and their settings.
pub(crate) fn forget_random_links(namespace: &mut Value) {
    if let Some(links) = namespace.get_mut("links").and_then(Value::as_array_mut) {
        links.retain(|link| !is_random_name(link["ifname"].as_str().unwrap_or_default()));
    }
    if let Some(settings) = namespace.get_mut("settings").and_then(Value::as_object_mut) {
        settings.retain(|name, _| !name.split(' ').any(is_random_name));
    }
}

/// Addresses of the link's own making come a moment later, or are random.
fn only_lasting(mut links: Value) -> Value {
    for link in links.as_array_mut().into_iter().flatten() {
        if let Some(addresses) = link.get_mut("addr_info").and_then(Value::as_array_mut) {
            addresses.retain(|one| one["scope"] != "link");
        }
        if let Some(flags) = link.get_mut("flags").and_then(Value::as_array_mut) {
            flags.retain(|flag| *flag != "LOWER_UP" && *flag != "NO-CARRIER" && *flag != "M-DOWN");
        }
    }
    links
}

/// Routes without those that the kernel makes by itself a moment later: of link-local addresses and multicast, and of an
/// address of IPv6 to itself, which waits for the end of duplicate detection.
fn only_own(mut routes: Value) -> Value {
    let all = routes.as_array_mut().unwrap();
    all.retain(|route| {
        let destination = route["dst"].as_str().unwrap_or_default();
        let is_of_itself = route["table"] == "local" && destination.contains(':');
        !is_of_itself && !destination.starts_with("fe80") && !destination.starts_with("ff00")
    });
    for route in all {
        if let Some(flags) = route.get_mut("flags").and_then(Value::as_array_mut) {
            flags.retain(|flag| *flag != "linkdown");
        }
    }
    routes
}

/// Settings of IPv4 and IPv6, of the whole namespace and by interface.
fn settings() -> Value {
    let mut all = Map::new();
    for family in ["ipv4", "ipv6"] {
        let folder = format!("/proc/sys/net/{family}/conf");
        for interface in names(Path::new(&folder)) {
            let mut of_interface = Map::new();
            for setting in names(&Path::new(&folder).join(&interface)) {
                let path = Path::new(&folder).join(&interface).join(&setting);
                // Some can be written only.
                if let Ok(text) = fs::read_to_string(path) {
                    of_interface.insert(setting, json!(text.trim_end()));
                }
            }
            all.insert(format!("{family} {interface}"), of_interface.into());
        }
    }
    let forward = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    all.insert("ip_forward".to_owned(), json!(forward.trim_end()));
    all.into()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn read_files(root: &Path, folder: &Path, all: &mut BTreeMap<String, String>) {
    for name in names(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            read_files(root, &path, all);
            continue;
        }
        let text = fs::read(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        all.insert(name, String::from_utf8_lossy(&text).into_owned());
    }
}

/// Values of two sides that are equal but for names that are each side's own become equal. Names of one side get the same
/// stand-ins throughout.
pub(crate) struct Plain {
    own: [(String, &'static str); 4],
    stand_ins: BTreeMap<String, String>,
}

impl Plain {
    pub(crate) fn of(twin: &Twin) -> Plain {
        Plain {
            own: twin.own_names(),
            stand_ins: BTreeMap::new(),
        }
    }

    /// The value with stand-ins.
    pub(crate) fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                // Stand-ins are numbered in the order of their first use, which is that of the keys.
                let mut given: Vec<_> = object.iter().collect();
                given.retain(|(key, _)| !FLEETING.contains(&key.as_str()));
                given.sort_by_key(|(key, _)| *key);
                let plain = given.into_iter();
                let plain = plain.map(|(key, value)| (self.text(key), self.value(value)));
                let mut fields: Vec<_> = plain.collect();
                fields.sort_by(|one, other| one.0.cmp(&other.0));
                fields.into_iter().collect()
            }
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::String(text) => Value::String(self.text(text)),
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (own, stand_in) in &self.own {
            text = text.replace(own.as_str(), stand_in);
        }
        let words = text.split_inclusive([' ', '/', '@', '\n']);
        words.map(|word| self.word(word)).collect()
    }

    fn word(&mut self, word: &str) -> String {
        let end = word.trim_end_matches([' ', '/', '@', '\n']);
        let kind = match end {
            mac if is_random_mac(mac) => "mac",
            name if is_random_name(name) => "veth",
            _ => return word.to_owned(),
        };
        let number = self.stand_ins.len();
        let stand_in = self.stand_ins.entry(end.to_owned());
        let stand_in = stand_in.or_insert_with(|| format!("<{kind} {number}>"));
        word.replacen(end, stand_in, 1)
    }
}

/// A hardware address that no row asked for: those begin with `02:00:00:00`, as a random one hardly ever does.
fn is_random_mac(text: &str) -> bool {
    let is_octet = |octet: &str| octet.len() == 2 && octet.bytes().all(|c| c.is_ascii_hexdigit());
    let octets = text.split(':').count() == 6 && text.split(':').all(is_octet);
    octets
        && !["01:80", "02:00:00:00", "00:00", "ff:ff"]
            .iter()
            .any(|known| text.starts_with(known))
}

fn is_random_name(text: &str) -> bool {
    let random = text.strip_prefix("veth");
    random.is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|c| c.is_ascii_hexdigit()))
}

/// Where two values differ: paths with both values, the first few.
pub(crate) fn differences(one: &Value, other: &Value, place: &str, found: &mut Vec<String>) {
    if one == other || found.len() > 12 {
        return;
    }
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let get = |object: &Map<String, Value>| {
                    object.get(key).cloned().unwrap_or(json!("(absent)"))
                };
                differences(&get(a), &get(b), &format!("{place}.{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{place}[{at}]"), found);
            }
        }
        _ => found.push(format!("{place}: reference {one}, ours {other}")),
    }
}
