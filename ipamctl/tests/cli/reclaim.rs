//! Reclaiming the leases of containers that lists miss.

use std::time::Duration;

use crate::harness::{Bench, json};

/// How long after a list that misses a lease a second list ends it.
const GRACE: Duration = Duration::from_secs(60);

/// With a lease of container c-POD on node n1 for each pod of namespace ns.
fn with_containers(pods: &[String]) -> Bench {
    let bench = Bench::new();
    bench.done("pool create blue --ipv4 10.20.0.0/24 --ipv6 fd00:20::/64");
    for pod in pods {
        let attachment = format!("--network blue --container-id c-{pod} --ifname net1 --node n1");
        bench.done(&format!(
            "lease allocate --pool blue --pod ns/{pod} {attachment}"
        ));
    }
    bench
}

#[test]
fn what_two_lists_miss_is_reclaimed_once_somebody_says_yes() {
    let bench = with_containers(&["web".to_owned(), "old".to_owned()]);
    bench.done("lease allocate --pool blue --claim vm-7");
    let old = bench.leases().remove(1);
    let list = "ns/web\nkube-system/dns\n";
    let file = bench.file("pods", list);
    let line = format!("lease reclaim {file}");
    // The first run remembers, and asks nothing.
    let first = bench.run(&line);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(
        first.out.contains(&format!("SUSPECTED   {old}")) && first.out.lines().count() == 2,
        "{first:?}"
    );
    bench.clock.advance(GRACE);
    let dry = bench.run(&format!("{line} --dry-run"));
    assert!(dry.out.contains(&format!("RECLAIMED   {old}")), "{dry:?}");
    assert!(
        dry.err.ends_with("nothing was changed (--dry-run)\n"),
        "{dry:?}"
    );
    let no = bench.run_with(&line, "n\n", &[]);
    assert_eq!(no.code, Some(1), "{no:?}");
    assert!(
        no.err.starts_with(&format!("End {old} (10.20.0."))
            && no.err.contains(") of ns/old? [y/N] "),
        "{no:?}"
    );
    assert_eq!(bench.leases().len(), 3);
    // A list through a pipe is no answer.
    let piped = bench.run_with("lease reclaim -", list, &[]);
    assert!(
        piped.err.contains("not confirmed, nothing was changed"),
        "{piped:?}"
    );
    let done = bench.run_with("lease reclaim - --yes -o json", list, &[]);
    assert_eq!(
        json(&done.out)["reclaimed"][0]["owner"]["pod"],
        "old",
        "{done:?}"
    );
    assert_eq!(bench.leases().len(), 2);
    assert_eq!(bench.run(&line).err, "no orphans found\n");
}

#[test]
fn a_list_that_misses_most_leases_ends_nothing() {
    let pods: Vec<_> = (0..12).map(|number| format!("p{number}")).collect();
    let bench = with_containers(&pods);
    let file = bench.file("pods", "ns/p0\nkube-system/dns\n");
    bench.done(&format!("lease reclaim {file} --yes"));
    bench.clock.advance(GRACE);
    let refused = bench.fails(&format!("lease reclaim {file} --yes"), 1);
    assert!(
        refused.starts_with("error: 11 of 12 leases would end: is the list whole?"),
        "{refused}"
    );
    assert_eq!(bench.leases().len(), 12);
    bench.done(&format!("lease reclaim {file} --yes --at-most-percent 95"));
    assert_eq!(bench.leases().len(), 1);
}
