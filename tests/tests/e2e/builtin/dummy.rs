//! `dummy`: addresses of all kinds, and values that are wrong. Needs a kernel with dummy.

use e2e::lacking;
use serde_json::{Value, json};

use super::addressed::{self, Leaves, V4, V6, but, dual, fixed};
use super::bridge::host_local;
use super::row::Row;
use super::run::compare;

/// What the reference does without `ipam`.
const NO_IPAM: &str =
    "without ipam no ADD was served, and DEL has nothing to do; the reference fails for ever";

/// The row with that difference at each DEL.
fn deleted(row: Row) -> Row {
    let steps = [
        "DEL",
        "DEL again",
        "DEL of what is gone",
        "DEL without CNI_NETNS",
    ];
    steps
        .into_iter()
        .fold(row, |row, step| row.differs(step, NO_IPAM))
}

fn rows() -> Vec<Row> {
    let base = Row::new("", json!({"type": "dummy"}));
    let row = |name: &str, more: Value| but(&base, name, more);
    let mut rows = addressed::rows(&base, Leaves::Nothing);
    rows.extend([
        deleted(row("no ipam", json!({}))),
        deleted(row("an empty ipam", json!({"ipam": {}}))),
        deleted(row(
            "ipam without a type",
            json!({"ipam": {"subnet": "10.77.0.0/24"}}),
        )),
        row(
            "an address of its own network",
            json!({"ipam": fixed(&[("10.77.0.9/32", "")])}),
        ),
        row(
            "an address of its own network of IPv6",
            json!({"ipam": fixed(&[("fd00:77::9/128", "")])}),
        ),
        row(
            "addresses without gateway",
            json!({"ipam": fixed(&[("10.77.0.9/24", ""), ("fd00:77::9/64", "")])}),
        ),
        row(
            "a gateway outside the subnet",
            json!({"ipam": fixed(&[("10.77.0.9/24", "10.88.0.1")])}),
        ),
        row(
            "one address twice",
            json!({"ipam": fixed(&[("10.77.0.9/24", ""), ("10.77.0.9/24", "")])}),
        ),
        row(
            "a key of macvlan, left to the executable",
            json!({"master": "up0", "ipam": host_local(&[V4])}),
        )
        .differs("GC", addressed::EXECUTED),
        row("arguments", json!({"ipam": host_local(&[V6])}))
            .args("IgnoreUnknown=1;MAC=02:00:00:00:00:11"),
        row(
            "a pod that knows no IPv6",
            json!({"ipam": host_local(&[V4])}),
        )
        .pod("link set lo down"),
        row(
            "a result before that is none",
            json!({"ipam": dual(), "prevResult": {"cniVersion": "1.1.0", "ips": 7}}),
        ),
    ]);
    rows
}

#[test]
fn dummy_is_as_the_reference() {
    if !lacking::require("dummy") {
        return;
    }
    compare("dummy", 40, rows());
}
