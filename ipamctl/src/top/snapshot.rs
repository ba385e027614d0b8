//! What is shown: the pools at a moment, a row a family, and rates from the moment before.

use std::time::Instant;

use proto::ipam::v1::{GetServerRequest, Pool, Server};

use crate::error::CliError;
use crate::out::Column;
use crate::pool::{self, Counts};
use crate::remote::Remote;

/// The pools at a moment.
pub(super) struct Snapshot {
    pub(super) server: Server,
    pub(super) pools: Vec<Pool>,
    pub(super) at: Instant,
}

/// One family of a pool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) pool: String,
    pub(super) family: &'static str,
    pub(super) cordoned: bool,
    pub(super) counts: Counts,
    /// Leases more or less, a second.
    pub(super) per_second: Option<f64>,
}

impl Row {
    /// How much of the family cannot be allocated, from 0 to 1.
    pub(super) fn used(&self) -> f64 {
        1.0 - self.counts.share(self.counts.free)
    }
}

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Name,
    Used,
    Free,
}

/// The rows without a screen.
pub(super) const COLUMNS: &[Column<Row>] = &[
    Column {
        heading: "POOL",
        wide: false,
        cell: |at, _| at.pool.clone(),
    },
    Column {
        heading: "FAMILY",
        wide: false,
        cell: |at, _| at.family.to_owned(),
    },
    Column {
        heading: "USED",
        wide: false,
        cell: |at, _| format!("{:.1}%", at.used() * 100.0),
    },
    Column {
        heading: "LEASED",
        wide: false,
        cell: |at, _| count(at.counts.leased),
    },
    Column {
        heading: "RESERVED",
        wide: false,
        cell: |at, _| count(at.counts.reserved),
    },
    Column {
        heading: "QUARANTINED",
        wide: false,
        cell: |at, _| count(at.counts.quarantined),
    },
    Column {
        heading: "FREE",
        wide: false,
        cell: |at, _| count(at.counts.free),
    },
    Column {
        heading: "CAPACITY",
        wide: false,
        cell: |at, _| count(at.counts.capacity),
    },
];

/// A count as the pool table shows it.
pub(super) fn count(count: u128) -> String {
    pool::number(&count.to_string())
}

/// Asks the server.
pub(super) async fn take(remote: &Remote) -> Result<Snapshot, CliError> {
    let request = remote.request(GetServerRequest {});
    let server = remote
        .answer(remote.admin().await?.get_server(request))
        .await?;
    let pools = pool::all(remote, "").await?;
    Ok(Snapshot {
        server,
        pools,
        at: Instant::now(),
    })
}

impl Snapshot {
    /// Changes of everything, a second, since `before`.
    pub(super) fn changes_per_second(&self, before: &Snapshot) -> Option<f64> {
        let changes = self.server.revision.checked_sub(before.server.revision)?;
        rate(changes as f64, self.seconds_since(before))
    }

    /// A row for each family of each pool, in order of name.
    pub(super) fn rows(&self, before: Option<&Snapshot>) -> Vec<Row> {
        let seconds = before.map(|before| self.seconds_since(before));
        let old = before.map(|before| before.rows(None)).unwrap_or_default();
        let mut rows: Vec<_> = self.pools.iter().flat_map(families).collect();
        for row in &mut rows {
            let same = old
                .iter()
                .find(|at| at.pool == row.pool && at.family == row.family);
            row.per_second = same.zip(seconds).and_then(|(old, seconds)| {
                let more = row.counts.leased as f64 - old.counts.leased as f64;
                rate(more, seconds)
            });
        }
        rows
    }

    fn seconds_since(&self, before: &Snapshot) -> f64 {
        self.at.saturating_duration_since(before.at).as_secs_f64()
    }
}

fn rate(change: f64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| change / seconds)
}

fn families(pool: &Pool) -> impl Iterator<Item = Row> {
    let cordoned = pool.state() == proto::ipam::v1::pool::State::Cordoned;
    [("IPv4", &pool.ipv4_usage), ("IPv6", &pool.ipv6_usage)]
        .into_iter()
        .filter_map(move |(family, usage)| {
            Some(Row {
                pool: pool.name.clone(),
                family,
                cordoned,
                counts: Counts::of(usage.as_ref()?),
                per_second: None,
            })
        })
}

/// Sorts rows; the fullest, or those with the least free, first.
pub(super) fn sort(rows: &mut [Row], by: Sort, reverse: bool) {
    match by {
        Sort::Name => rows.sort_by(|left, right| left.pool.cmp(&right.pool)),
        Sort::Used => rows.sort_by(|left, right| right.used().total_cmp(&left.used())),
        Sort::Free => rows.sort_by_key(|row| row.counts.free),
    }
    if reverse {
        rows.reverse();
    }
}
