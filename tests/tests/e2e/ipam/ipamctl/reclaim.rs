//! `ipamctl lease reclaim` and the real server: what a list misses is suspected, and nothing ends at first sight.

use serde_json::{Value, json};

use super::{Bench, json};

fn suspected(shown: &Value) -> usize {
    shown["suspected"].as_array().map_or(0, Vec::len)
}

#[test]
fn leases_that_a_list_misses_are_suspected_and_do_not_end_at_once() {
    let bench = Bench::with_pool();
    for pod in ["web-0", "web-1"] {
        let container = format!("c-{pod}");
        bench.done(&format!(
            "lease allocate --pool blue --pod ns/{pod} --network blue --container-id {container} --ifname net1 --node n1"
        ));
    }
    bench.lease("of-no-container");
    let pods = json!({"kind": "List", "items": [
        {"kind": "Pod", "metadata": {"namespace": "ns", "name": "web-0"}},
        {"kind": "Pod", "metadata": {"namespace": "kube-system", "name": "dns"}}
    ]});
    let file = bench.file("pods.json", &pods.to_string());
    let line = format!("lease reclaim {file} --yes -o json");
    let dry = bench.run(&format!("{line} --dry-run"));
    assert_eq!(suspected(&json(&dry.out)), 1, "{dry:?}");
    for _ in 0..2 {
        let done = bench.run(&line);
        assert_eq!(done.code, Some(0), "{done:?}");
        let shown = json(&done.out);
        assert_eq!(
            (suspected(&shown), &shown["reclaimed"]),
            (1, &Value::Null),
            "{shown}"
        );
        assert_eq!(shown["suspected"][0]["owner"]["pod"], "web-1");
        assert!(done.err.contains("60 s from now or later, end"), "{done:?}");
    }
    let of_other_node = bench.json(&format!("lease reclaim {file} --yes --node n2"));
    assert_eq!(suspected(&of_other_node), 0, "{of_other_node}");
    assert_eq!(
        bench.json("lease list")["leases"].as_array().map(Vec::len),
        Some(3)
    );
    let table = bench.done(&format!("lease reclaim {file} --yes"));
    assert!(
        table.contains("SUSPECTED") && table.contains("ns/web-1"),
        "{table}"
    );
}

#[test]
fn a_list_that_cannot_be_all_is_refused() {
    let bench = Bench::with_pool();
    bench.lease("web-0");
    for (text, code, words) in [
        ("", 1, "neither a pod nor a container"),
        (
            "error: connection refused\n",
            1,
            "is neither NAMESPACE/NAME nor a container ID",
        ),
        ("c1\nc2\n", 2, "--node: the list has containers only"),
    ] {
        let file = bench.file("list", text);
        let error = bench.fails(&format!("lease reclaim {file}"), code);
        assert!(error.contains(words), "{error}");
    }
}
