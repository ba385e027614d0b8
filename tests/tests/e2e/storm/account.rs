//! What the storm came to: a table, and that nothing is in it that should not be.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::storm::fixture::{NAMESPACE, World};
use crate::storm::memory::{Memory, Process};
use crate::storm::sandboxes::{Interface, Seen};

/// Prints the table, and asserts that nothing failed, nothing is left and network-status is true.
///
/// # Panics
/// When something is not as it should be.
pub(crate) fn settle(world: &World, seen: &Seen, mut memory: Memory) {
    let node = &world.node;
    let left = node.settled_leftovers();
    let interfaces = left.iter().filter(|line| line.starts_with("interface "));
    let leases = world.ipam.ipamctl_json(&["lease", "list"]);
    let leases = leases["leases"].as_array().expect("a list").len();
    let records = files(&node.state_dir().join("attachments"), "json");
    let queued = files(&node.state_dir().join("releases"), "json");
    memory.look(&world.agent, &world.ipam);
    let mut table = format!("\n{}\n", node.name());
    let mut row = |what: &str, value: String| {
        writeln!(table, "  {what:32} {value:>8}").expect("a string takes all");
    };
    row("ADDs", seen.adds.len().to_string());
    row("DELs", seen.dels.len().to_string());
    row("failures", seen.failures.len().to_string());
    row("leases left", leases.to_string());
    row("interfaces left", interfaces.clone().count().to_string());
    row("records left", records.to_string());
    row("queued releases left", queued.to_string());
    row("ADD, median", median(&seen.adds));
    row("ADD, longest", longest(&seen.adds));
    row("DEL, median", median(&seen.dels));
    row("DEL, longest", longest(&seen.dels));
    row("sandboxes a second", rate(seen));
    for Process {
        name, first, last, ..
    } in &memory.0
    {
        row(
            &format!("memory, {name}"),
            format!("{} -> {}", mib(*first), mib(*last)),
        );
    }
    eprintln!("{table}");

    let failures = seen.failures.join("\n");
    assert!(seen.failures.is_empty(), "{failures}");
    assert_eq!(seen.adds.len(), world.pods.len());
    assert_eq!(seen.dels.len(), world.pods.len());
    assert_eq!((leases, records, queued), (0, 0, 0));
    assert_eq!(interfaces.collect::<Vec<_>>(), [""; 0]);
    for process in &memory.0 {
        assert!(process.is_flat(), "{process:?}");
    }
    for (pod, found) in &seen.samples {
        let reported = world.api.network_status(NAMESPACE, pod);
        let reported: Vec<_> = reported
            .as_array()
            .into_iter()
            .flatten()
            .map(of_status)
            .collect();
        assert_eq!(&reported, found, "{pod}");
    }
}

/// Interface and addresses of an entry of network-status.
fn of_status(entry: &Value) -> Interface {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ips = entry["ips"].as_array().into_iter().flatten();
    (text(&entry["interface"]), ips.map(text).collect())
}

/// Files of this kind in a folder.
fn files(folder: &Path, extension: &str) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let paths = entries.map(|entry| entry.expect("read a folder").path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .count()
}

/// How many began in a second: fewer than were meant to, if the machine is too slow.
fn rate(seen: &Seen) -> String {
    let seconds = seen.begun_within.as_secs_f64();
    format!("{:.1}", seen.adds.len() as f64 / seconds)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn median(times: &[Duration]) -> String {
    let mut sorted = times.to_owned();
    sorted.sort();
    format!("{:.0?}", sorted[sorted.len() / 2])
}

fn longest(times: &[Duration]) -> String {
    format!("{:.1?}", times.iter().max().expect("some"))
}
