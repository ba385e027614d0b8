//! Pods that a real Multus and a real whereabouts made under a kubelet keep their addresses when the cluster moves to meta-cni, are
//! deleted clean, and the cluster moves back.

use std::collections::BTreeSet;

use e2e::wait_until;
use serde_json::{Value, json};

use crate::cluster::fixture::{Networks, PATIENCE, Site};
use crate::cluster::incumbent::Incumbent;

/// How many pods with three interfaces each Multus makes.
const PODS: usize = 60;
/// How many come after the move.
const NEW_PODS: usize = 20;
/// Multus writes network-status until the first configuration is that of meta-cni.
const MULTUS_ACCOUNT: &str = "--set=admission.networkStatusAccounts={admin}";
/// What holds where no AttachmentPolicy allows or refuses something: `enforce` refuses whereabouts.
const POLICY_REPORT: &str = "--set=install.settings.attachmentPolicy=report";
const POLICY_ENFORCE: &str = "--set=install.settings.attachmentPolicy=enforce";
/// The addresses that whereabouts gives a pod: two networks of both families.
const ADDRESSES: usize = 4;
/// Where whereabouts keeps its allocations.
const IPPOOLS: [&str; 2] = ["ippools.whereabouts.cni.cncf.io", "--namespace=kube-system"];

#[test]
fn sixty_pods_of_multus_and_whereabouts_keep_their_addresses_and_are_deleted_clean_and_back() {
    let site = Site::start();
    let multus = Incumbent::install(&site);
    site.deployment("old", Networks::Three);
    site.scale("old", PODS);
    let held = addresses(&site, "old");
    assert_eq!(held.len(), PODS * ADDRESSES);
    assert_eq!(allocated(&site), held.len());
    // No pod uses it, and meta-cni's closed policy refuses it.
    let chain = json!([{ "type": "macvlan", "master": "uplink" }, { "type": "tuning", "sysctl": {"net.core.somaxconn": "500"} }]);
    let chain = json!({ "cniVersion": "1.0.0", "name": "tuned", "plugins": chain });
    let nad = e2e::manifests::nad_manifest("default", "tuned", chain);
    site.cluster.apply(&nad);

    // From here on meta-cni makes new pods, with networks that name whereabouts still.
    site.install_chart(&[POLICY_REPORT, MULTUS_ACCOUNT]);
    let plan = migrate(&site, &[])["plan"].take();
    let notes = plan["notes"].to_string();
    assert!(
        notes.contains("network default/storage and 1 more"),
        "{notes}"
    );
    assert_eq!(plan["notCarriedOver"], json!([]));
    let refused = plan["refusedByPolicy"].as_array().expect("a list");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0].to_string().contains("default/tuned"),
        "{refused:?}"
    );
    assert_eq!(site.leases().len(), 0, "nothing is changed");

    migrate(&site, &["--apply"]);
    assert_eq!(leased(&site), held);
    // Pods that meta-cni makes meanwhile lease by whereabouts; their addresses are carried over with the networks.
    site.deployment("between", Networks::Three);
    site.scale("between", PODS / 10);
    let held: BTreeSet<String> = held.union(&addresses(&site, "between")).cloned().collect();
    assert_eq!(allocated(&site), held.len());
    let done = migrate(&site, &["--apply", "--rewrite-networks"])["done"].take();
    assert_eq!(done["networks"], 2, "{done}");
    assert_eq!(leased(&site), held);
    let again = migrate(&site, &["--apply", "--rewrite-networks"])["done"].take();
    for what in ["pools", "leases", "noted", "networks"] {
        assert_eq!(again[what], 0, "{again}");
    }

    site.upgrade(&[POLICY_ENFORCE]);
    site.deployment("new", Networks::Three);
    site.scale("new", NEW_PODS);
    let fresh = addresses(&site, "new");
    assert_eq!(fresh.len(), NEW_PODS * ADDRESSES);
    let twice: Vec<&String> = fresh.intersection(&held).collect();
    assert!(twice.is_empty(), "{twice:?} are of living pods");

    multus.remove();
    site.scale("between", 0);
    site.scale("old", PODS / 2);
    let held = addresses(&site, "old");
    // A kubelet deletes a pod before its sandbox.
    let present = held.union(&fresh).cloned().collect();
    wait_until("leases of deleted pods end", PATIENCE, || {
        (leased(&site) == present).then_some(())
    });
    await_allocated(&site, held.len());
    site.scale("new", 0);
    wait_until("leases of new pods end", PATIENCE, || {
        (leased(&site) == held).then_some(())
    });
    site.upgrade(&[POLICY_REPORT]);
    let back = migrate(&site, &["--back", "--apply"]);
    assert!(back["notes"].to_string().contains("enforce"), "{back}");
    assert_eq!(leased(&site), BTreeSet::new());
    let pools = site.ipamctl(&["pool", "list"]);
    assert_eq!(pools["pools"].as_array().map_or(0, Vec::len), 0, "{pools}");
    // meta-cni goes on, with whereabouts.
    site.scale("old", PODS);
    await_allocated(&site, PODS * ADDRESSES);
    site.scale("old", 0);
    await_allocated(&site, 0);
    site.assert_clean();
    assert_eq!(site.counted().1, [] as [String; 0]);
    assert_eq!(site.failures(), [] as [String; 0]);
}

/// Runs `meta-cni migrate` on the node; the report. Everything is carried over.
#[track_caller]
fn migrate(site: &Site, more: &[&str]) -> Value {
    let kubeconfig = format!("--kubeconfig={}", site.cluster.kubeconfig().display());
    let migrate = ["meta-cni", "migrate", "--ca=/run/ca.crt", &kubeconfig];
    site.as_operator(&[&migrate[..], more].concat())
}

/// What the secondary interfaces of a Deployment's pods have; each address once.
#[track_caller]
fn addresses(site: &Site, deployment: &str) -> BTreeSet<String> {
    let mut addresses = BTreeSet::new();
    for pod in site.pods(deployment) {
        let status = &pod["metadata"]["annotations"][e2e::manifests::NETWORK_STATUS];
        let text = status.as_str().expect("a network-status");
        let elements: Vec<Value> = serde_json::from_str(text).expect("it is JSON");
        let secondary = elements.iter().filter(|one| one["interface"] != "eth0");
        for ip in secondary.filter_map(|one| one["ips"].as_array()).flatten() {
            let ip = ip.as_str().expect("an address").to_owned();
            assert!(addresses.insert(ip.clone()), "{ip} is of two pods");
        }
    }
    addresses
}

/// What ipam-server has leased; each address once.
#[track_caller]
fn leased(site: &Site) -> BTreeSet<String> {
    let mut leased = BTreeSet::new();
    for lease in site.leases() {
        for family in ["ipv4", "ipv6"] {
            let pair = lease[family].as_str().and_then(|text| text.split_once('/'));
            let (ip, _) = pair.expect("an address with its prefix length");
            assert!(leased.insert(ip.to_owned()), "{ip} is leased twice");
        }
    }
    leased
}

/// Waits until whereabouts has allocated that many addresses.
#[track_caller]
fn await_allocated(site: &Site, wanted: usize) {
    let mut present = 0;
    let reached = std::panic::AssertUnwindSafe(|| {
        wait_until("whereabouts' allocations", PATIENCE, || {
            present = allocated(site);
            (present == wanted).then_some(())
        });
    });
    let is_reached = std::panic::catch_unwind(reached).is_ok();
    assert!(is_reached, "{present} are allocated, not {wanted}");
}

/// How many addresses whereabouts has allocated.
fn allocated(site: &Site) -> usize {
    let pools = site.cluster.list(&IPPOOLS);
    let allocations = pools
        .iter()
        .filter_map(|pool| pool["spec"]["allocations"].as_object());
    allocations.map(serde_json::Map::len).sum()
}
