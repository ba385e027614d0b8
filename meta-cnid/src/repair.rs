//! network-status that could not be written when its ADD ended, and annotations that somebody else changed: records are
//! compared with the pods of this node, and what differs is written. The record holds the text that is to be there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use meta_cni::cluster::{ClusterError, NETWORK_STATUS, Pod};
use meta_cni::diagnosis::Explain as _;
use meta_cni::record::{Phase, Record, Records};
use netlink::netns;
use serde_json::Value;

use super::blocking;
use super::pauses::Pauses;
use super::service::Service;

/// Records that are younger are left to the ADD that writes them.
const SETTLED: Duration = Duration::from_secs(10);
/// The longest that a pod is left alone whose annotation somebody else keeps changing.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A record as it was found.
struct Found {
    record: Record,
    written: SystemTime,
    /// Whether nobody is at work on it.
    is_settled: bool,
}

/// A pod whose annotation is not what its record says.
#[derive(Debug, PartialEq)]
struct Repair {
    pod: Arc<Pod>,
    container_id: String,
    status: String,
}

/// Compares, and repairs, every `interval`; never ends.
pub(super) async fn run(service: Service, state_dir: PathBuf, interval: Duration) {
    // Pods that were repaired and differed again at the next comparison, by UID.
    let mut contested = Pauses::new(interval, LONGEST_PAUSE);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (dir, pods) = (state_dir.clone(), service.index.pods());
        let repairs = blocking(move || repairs(&found(&dir, SystemTime::now()), &pods)).await;
        let differs = |uid: &String| repairs.iter().any(|repair| repair.pod.uid == *uid);
        contested.retain(differs);
        let now = Instant::now();
        let is_due = |repair: &Repair| contested.is_due(&repair.pod.uid, now);
        let due = repairs.into_iter().filter(is_due).collect();
        for uid in repair(&service, &state_dir, due).await {
            contested.begin(uid, Instant::now());
        }
    }
}

/// Makes repairs as far as the API server takes them; gives the UIDs of the pods that were written.
async fn repair(service: &Service, state_dir: &Path, repairs: Vec<Repair>) -> Vec<String> {
    let mut written = Vec::new();
    for repair in repairs {
        let reference = repair.pod.reference();
        let (records, id) = (Records::new(state_dir), repair.container_id);
        let status = repair.status.clone();
        // The list is worked off at the API server's pace.
        let is_still_so = move || {
            let record = records.peek(&id).ok().flatten();
            record.is_some_and(|record| record.network_status == Some(status))
        };
        if !blocking(is_still_so).await {
            continue;
        }
        match service.write_status(&reference, &repair.status).await {
            Ok(()) => {
                service.metrics.repaired();
                written.push(repair.pod.uid.clone());
                tracing::info!(pod = %reference, "network-status was repaired");
            }
            Err(error)
                if error.is_transient() || matches!(error, ClusterError::Forbidden { .. }) =>
            {
                let error = error.diagnosis();
                tracing::warn!(%error, "network-status waits to be repaired");
                return written;
            }
            // The pod is gone, or the like: the next comparison shows it.
            Err(error) => {
                tracing::info!(pod = %reference, %error, "network-status was not repaired");
            }
        }
    }
    written
}

/// The records whose sandbox is there and is not being deleted.
fn found(state_dir: &Path, now: SystemTime) -> Vec<Found> {
    let records = Records::new(state_dir);
    let ids = match records.container_ids() {
        Ok(ids) => ids,
        Err(error) => {
            tracing::warn!(%error, "records cannot be compared with annotations");
            return Vec::new();
        }
    };
    let found = |id: &String| {
        let written = records.written(id).ok()?;
        // Its own DEL and `meta-cni doctor` report a record that cannot be read.
        let record = records.peek(id).ok()??;
        let mut entries = record.attachments.iter();
        let is_deleted = entries.any(|entry| entry.phase == Phase::Deleting);
        if is_deleted || netns::is_gone(Path::new(&record.netns)) {
            return None;
        }
        let is_old = now.duration_since(written).is_ok_and(|age| age >= SETTLED);
        Some(Found {
            is_settled: is_old && record.is_complete(),
            record,
            written,
        })
    };
    ids.iter().filter_map(found).collect()
}

/// What the pods lack, by the newest record of each.
fn repairs(found: &[Found], pods: &[Arc<Pod>]) -> Vec<Repair> {
    let repair = |pod: &Arc<Pod>| {
        let newest = found
            .iter()
            .filter(|found| is_of(&found.record, pod))
            .max_by_key(|found| found.written)
            .filter(|newest| newest.is_settled)?;
        let status = newest.record.network_status.clone()?;
        let there = pod.annotations.get(NETWORK_STATUS);
        let differs = !there.is_some_and(|there| is_same(there, &status));
        differs.then(|| Repair {
            pod: Arc::clone(pod),
            container_id: newest.record.container_id.clone(),
            status,
        })
    };
    pods.iter().filter_map(repair).collect()
}

/// Whether two texts say the same: an admission rule may have written the JSON in its own way.
fn is_same(one: &str, other: &str) -> bool {
    let parsed = |text| serde_json::from_str::<Value>(text).ok();
    one == other || parsed(one).is_some_and(|one| Some(one) == parsed(other))
}

fn is_of(record: &Record, pod: &Pod) -> bool {
    record.pod.as_ref().is_some_and(|reference| {
        let uid = reference.uid.as_deref().unwrap_or_default();
        !uid.is_empty() && reference.names(pod)
    })
}

#[cfg(test)]
mod tests {
    use meta_cni::cluster::PodRef;

    use super::*;

    fn pod(name: &str, uid: &str, status: Option<&str>) -> Arc<Pod> {
        let status = status.map(|status| (NETWORK_STATUS.to_owned(), status.to_owned()));
        Arc::new(Pod {
            namespace: "a".into(),
            name: name.into(),
            uid: uid.into(),
            annotations: status.into_iter().collect(),
            ..Pod::default()
        })
    }

    fn found(name: &str, uid: &str, age: u64, status: Option<&str>) -> Found {
        let pod = PodRef {
            namespace: "a".into(),
            name: name.into(),
            uid: Some(uid.into()),
        };
        let mut record = Record::planned("c1", "/run/netns/x", Some(pod), vec![]);
        record.network_status = status.map(str::to_owned);
        Found {
            record,
            written: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age),
            is_settled: age >= 10,
        }
    }

    #[test]
    fn a_pod_gets_what_its_newest_record_says_if_it_has_something_else() {
        let records = [
            found("missing", "1", 10, Some("[1]")),
            found("same", "2", 10, Some("[2]")),
            found("changed", "3", 10, Some("[3]")),
            found("restarted", "4", 50, Some("[old]")),
            found("restarted", "4", 10, Some("[new]")),
            found("remade", "5", 10, Some("[5]")),
            found("unknown", "6", 10, None),
            found("reformatted", "7", 10, Some("[{\"a\": 1}]")),
            found("under-way", "8", 50, Some("[old]")),
            found("under-way", "8", 1, None),
        ];
        let pods = [
            pod("missing", "1", None),
            pod("same", "2", Some("[2]")),
            pod("changed", "3", Some("[]")),
            pod("restarted", "4", Some("[old]")),
            pod("remade", "55", None),
            pod("unknown", "6", None),
            pod("reformatted", "7", Some("[{\"a\":1}]")),
            pod("under-way", "8", Some("[new]")),
        ];
        let repairs: Vec<_> = repairs(&records, &pods)
            .into_iter()
            .map(|repair| (repair.pod.name.clone(), repair.status))
            .collect();
        let expected = [
            ("missing", "[1]"),
            ("changed", "[3]"),
            ("restarted", "[new]"),
        ];
        assert_eq!(repairs, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
