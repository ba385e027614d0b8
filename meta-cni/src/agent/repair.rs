//! network-status that could not be written when its ADD ended, and annotations that somebody else changed: records are
//! compared with the pods of this node, and what differs is written. The record holds the text that is to be there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use super::service::Service;
use crate::cluster::{NETWORK_STATUS, Pod};
use crate::record::{Record, Records};

/// Records that are younger are left to the ADD that writes them.
const SETTLED: Duration = Duration::from_secs(10);

/// A record as it was found.
struct Found {
    record: Record,
    written: SystemTime,
}

/// A pod whose annotation is not what its record says.
#[derive(Debug, PartialEq)]
struct Repair {
    pod: Arc<Pod>,
    status: String,
}

/// Compares, and repairs, every `interval`; never ends.
pub(super) async fn run(service: Service, state_dir: PathBuf, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (dir, pods) = (state_dir.clone(), service.index.pods());
        let compared = tokio::task::spawn_blocking(move || {
            let now = SystemTime::now();
            repairs(&settled(&dir, now), &pods)
        });
        match compared.await {
            Ok(repairs) => repair(&service, repairs).await,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

async fn repair(service: &Service, repairs: Vec<Repair>) {
    for Repair { pod, status } in repairs {
        let reference = pod.reference();
        match service.write_status(&reference, &status).await {
            Ok(()) => {
                service.metrics.repaired();
                tracing::info!(pod = %reference, "network-status was repaired");
            }
            Err(error) if error.is_passing() => {
                let error = crate::cni::error::with_causes(&error);
                tracing::warn!(error, "network-status waits to be repaired");
                return;
            }
            // The pod is gone, or the like: the next comparison tells.
            Err(error) => {
                tracing::info!(pod = %reference, %error, "network-status was not repaired");
            }
        }
    }
}

/// The records that nobody is at work on and whose sandbox is there.
fn settled(state_dir: &Path, now: SystemTime) -> Vec<Found> {
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
        let is_old = now.duration_since(written).is_ok_and(|age| age >= SETTLED);
        if !is_old {
            return None;
        }
        // One that cannot be read is told by its own DEL and by `meta-cni doctor`.
        let record = records.peek(id).ok()??;
        let is_settled = record.is_complete() && !is_gone(Path::new(&record.netns));
        is_settled.then_some(Found { record, written })
    };
    ids.iter().filter_map(found).collect()
}

/// Whether a namespace is known to be gone: its folder can be seen, and it is not in it.
fn is_gone(netns: &Path) -> bool {
    let missing = |path: &Path| {
        fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    missing(netns) && !netns.parent().is_none_or(missing)
}

/// What the pods lack, by the newest record of each.
fn repairs(found: &[Found], pods: &[Arc<Pod>]) -> Vec<Repair> {
    let repair = |pod: &Arc<Pod>| {
        let newest = found
            .iter()
            .filter(|found| is_of(&found.record, pod))
            .max_by_key(|found| found.written)?;
        let status = newest.record.network_status.clone()?;
        let differs = pod.annotations.get(NETWORK_STATUS) != Some(&status);
        differs.then(|| Repair {
            pod: Arc::clone(pod),
            status,
        })
    };
    pods.iter().filter_map(repair).collect()
}

/// A static pod has another UID here than the runtime knows.
fn is_of(record: &Record, pod: &Pod) -> bool {
    record.pod.as_ref().is_some_and(|reference| {
        reference.namespace == pod.namespace
            && reference.name == pod.name
            && (pod.is_static() || reference.uid.as_deref() == Some(&*pod.uid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::PodRef;

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
        let mut record = Record::planned("c1", "/run/netns/x", "/opt/cni/bin", Some(pod), vec![]);
        record.network_status = status.map(str::to_owned);
        Found {
            record,
            written: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age),
        }
    }

    #[test]
    fn a_pod_gets_what_its_newest_record_says_if_it_has_something_else() {
        let records = [
            found("missing", "1", 0, Some("[1]")),
            found("same", "2", 0, Some("[2]")),
            found("changed", "3", 0, Some("[3]")),
            found("restarted", "4", 50, Some("[old]")),
            found("restarted", "4", 10, Some("[new]")),
            found("remade", "5", 0, Some("[5]")),
            found("unknown", "6", 0, None),
        ];
        let pods = [
            pod("missing", "1", None),
            pod("same", "2", Some("[2]")),
            pod("changed", "3", Some("[]")),
            pod("restarted", "4", Some("[old]")),
            pod("remade", "55", None),
            pod("unknown", "6", None),
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

    #[test]
    fn a_namespace_whose_folder_cannot_be_seen_is_not_known_to_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_gone(&folder.path().join("x")));
        assert!(!is_gone(folder.path()));
        assert!(!is_gone(&folder.path().join("unseen/x")));
    }
}
