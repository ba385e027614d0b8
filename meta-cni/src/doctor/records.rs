//! What is recorded of sandboxes, held against the sandboxes that are there.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni::error::with_causes;
use netlink::netns::{self, NetnsError};

use super::finding::{Area, Finding};
use super::state::age;
use crate::cluster::PodRef;
use crate::record::{Phase, Record, RecordError, Records};

/// No ADD and no DEL takes as long.
const LONG: Duration = Duration::from_secs(600);

/// Everything that is recorded.
#[derive(Default)]
pub(super) struct Recorded {
    sandboxes: Vec<Sandbox>,
    /// Records that a DEL could not read and set aside.
    aside: Vec<PathBuf>,
    /// Why the folder cannot be read.
    unread: Option<RecordError>,
}

/// One record, and the sandbox that it is of.
pub(super) struct Sandbox {
    /// Its file.
    path: PathBuf,
    /// Since it was written last.
    age: Duration,
    record: Result<Record, RecordError>,
    /// Whether its network namespace is there.
    is_there: bool,
}

impl Recorded {
    /// The records of sandboxes that are there.
    pub(super) fn living(&self) -> impl Iterator<Item = &Record> {
        let living = self.sandboxes.iter().filter(|sandbox| sandbox.is_there);
        living.filter_map(|sandbox| sandbox.record.as_ref().ok())
    }

    /// The records that can be read.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.sandboxes
            .iter()
            .filter_map(|sandbox| sandbox.record.as_ref().ok())
    }
}

/// Reads the records; of one pod only, if `only` names one.
pub(super) fn inspect(records: &Records, only: Option<&PodRef>) -> Recorded {
    let mut recorded = Recorded::default();
    let ids = match records.container_ids() {
        Ok(ids) => ids,
        Err(error) => {
            recorded.unread = Some(error);
            return recorded;
        }
    };
    let is_wanted = |record: &Record| {
        let pod = record.pod.as_ref();
        only.is_none_or(|only| {
            pod.is_some_and(|pod| (&pod.namespace, &pod.name) == (&only.namespace, &only.name))
        })
    };
    for id in ids {
        // One that goes meanwhile is of no interest.
        let Some(record) = records.peek(&id).transpose() else {
            continue;
        };
        if record.as_ref().is_ok_and(|record| !is_wanted(record)) {
            continue;
        }
        let path = records.file(&id);
        recorded.sandboxes.push(Sandbox {
            age: records.written(&id).map_or(Duration::ZERO, since),
            is_there: record.as_ref().is_ok_and(|record| !is_gone(&record.netns)),
            record,
            path,
        });
    }
    // The folder could be read a moment ago.
    recorded.aside = records.aside().unwrap_or_default();
    recorded
}

/// How long ago that was; nothing, if the clock was set back.
fn since(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

fn is_gone(netns: &str) -> bool {
    matches!(
        netns::exists(Path::new(netns)),
        Err(NetnsError::Missing { .. } | NetnsError::NotANamespace { .. })
    )
}

/// What is wrong with the records.
pub(super) fn check(recorded: &Recorded) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(error) = &recorded.unread {
        let remedy = "make the folder readable for root";
        findings.push(Finding::fault(Area::State, with_causes(error), remedy));
    }
    let errors = recorded
        .sandboxes
        .iter()
        .filter_map(|sandbox| sandbox.record.as_ref().err());
    findings.extend(errors.map(unreadable));
    findings.extend(vanished(&recorded.sandboxes));
    findings.extend(unfinished(&recorded.sandboxes));
    if !recorded.aside.is_empty() {
        let cause = format!(
            "{} set aside by DEL: what they attached may be left",
            records_are(recorded.aside.len())
        );
        let remedy = "find leases and interfaces of these containers, then remove the files";
        let files = recorded.aside.iter().map(|path| path.display().to_string());
        findings.push(Finding::warning(Area::Record, cause, remedy).seen_all(files));
    }
    findings
}

fn unreadable(error: &RecordError) -> Finding {
    let remedy = match error {
        RecordError::Newer { .. } => "install that newer meta-cni again",
        _ => {
            "let the runtime delete the sandbox: its DEL sets the file aside and says what to check"
        }
    };
    Finding::fault(Area::Record, with_causes(error), remedy)
}

/// Records whose sandbox is gone.
fn vanished(sandboxes: &[Sandbox]) -> Option<Finding> {
    let gone: Vec<_> = sandboxes
        .iter()
        .filter(|sandbox| !sandbox.is_there)
        .filter_map(|sandbox| Some((sandbox, sandbox.record.as_ref().ok()?)))
        .collect();
    let (_, first) = gone.first()?;
    let cause = match gone.len() {
        1 => format!(
            "the network namespace of {} is gone and its record is not: its addresses stay taken",
            name(first)
        ),
        number => format!(
            "the network namespaces of {number} sandboxes are gone and their records are not: their addresses stay taken"
        ),
    };
    let remedy = "let the runtime delete them (DEL, or its GC); after a restart of the node it does so by itself";
    let lines = gone.iter().map(|(sandbox, record)| {
        format!(
            "{}, {}, written {} ago",
            name(record),
            record.netns,
            age(sandbox.age)
        )
    });
    Some(Finding::warning(Area::Record, cause, remedy).seen_all(lines))
}

/// Records that neither their ADD nor their DEL brought to an end.
fn unfinished(sandboxes: &[Sandbox]) -> Option<Finding> {
    let old: Vec<_> = sandboxes
        .iter()
        .filter(|sandbox| sandbox.is_there && sandbox.age > LONG)
        .filter_map(|sandbox| Some((sandbox, sandbox.record.as_ref().ok()?)))
        .filter(|(_, record)| !record.is_complete())
        .collect();
    let (_, first) = old.first()?;
    let is_deleting = first
        .attachments
        .iter()
        .any(|entry| entry.phase == Phase::Deleting);
    let what = if is_deleting { "DEL" } else { "ADD" };
    let cause = match old.len() {
        1 => format!("the {what} of {} was begun and never finished", name(first)),
        number => format!("ADD or DEL of {number} sandboxes was begun and never finished"),
    };
    let remedy = "delete the pod; what the log of meta-cni (logFile) and kubectl describe pod say of it is why";
    let lines = old.iter().map(|(sandbox, record)| {
        format!(
            "{}, since {}, {}",
            name(record),
            age(sandbox.age),
            sandbox.path.display()
        )
    });
    Some(Finding::warning(Area::Record, cause, remedy).seen_all(lines))
}

fn records_are(number: usize) -> String {
    match number {
        1 => "an unreadable record was".to_owned(),
        number => format!("{number} unreadable records were"),
    }
}

/// How people call a sandbox.
fn name(record: &Record) -> String {
    match &record.pod {
        Some(pod) => format!("pod {pod}"),
        None => format!("container {}", record.container_id),
    }
}

#[cfg(test)]
mod tests {
    use cni::netconf::NetConfList;
    use serde_json::json;

    use super::*;
    use crate::attachment::Attachment;

    fn sandbox(pod: &str, phase: Phase, is_there: bool, age: Duration) -> Sandbox {
        let list = NetConfList::from_value(json!({"name": "n", "type": "bridge"})).unwrap();
        let attachment = Attachment {
            network: "n".to_owned(),
            ifname: "eth0".to_owned(),
            args: String::new(),
            list,
            check_by_plugins: false,
            default_route: None,
            device: None,
            device_info_file: None,
        };
        let reference = PodRef {
            namespace: "default".to_owned(),
            name: pod.to_owned(),
            uid: None,
        };
        let mut record = Record::planned("c", "/n", Some(reference), vec![attachment]);
        record.attachments[0].phase = phase;
        Sandbox {
            path: "/a/c.json".into(),
            age,
            record: Ok(record),
            is_there,
        }
    }

    fn causes(sandboxes: Vec<Sandbox>) -> Vec<String> {
        let recorded = Recorded {
            sandboxes,
            ..Recorded::default()
        };
        check(&recorded)
            .into_iter()
            .map(|found| found.cause)
            .collect()
    }

    #[test]
    fn sandboxes_that_are_there_and_work_under_way_are_no_findings() {
        let none: [String; 0] = [];
        let minute = Duration::from_secs(60);
        let fine = vec![
            sandbox("a", Phase::Added, true, LONG * 9),
            sandbox("b", Phase::Planned, true, minute),
            sandbox("c", Phase::Deleting, true, minute),
        ];
        assert_eq!(causes(fine), none);
    }

    #[test]
    fn vanished_and_unfinished_sandboxes_are_named_or_counted() {
        let gone = || sandbox("a", Phase::Planned, false, LONG * 2);
        let one = causes(vec![gone()]);
        assert!(one[0].contains("pod default/a is gone"), "{one:?}");
        assert_eq!(one.len(), 1, "it is reported once: {one:?}");
        let two = causes(vec![gone(), gone()]);
        assert!(two[0].contains("of 2 sandboxes are gone"), "{two:?}");
        for (phase, what) in [
            (Phase::Planned, "the ADD of pod default/b"),
            (Phase::Deleting, "the DEL of pod default/b"),
        ] {
            let found = causes(vec![sandbox("b", phase, true, LONG * 2)]);
            assert!(found[0].starts_with(what), "{found:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_reported_with_the_way_out() {
        let newer = RecordError::Newer {
            path: "/a/c.json".into(),
            format: 9,
        };
        let broken = Sandbox {
            record: Err(newer),
            ..sandbox("a", Phase::Added, false, LONG)
        };
        let recorded = Recorded {
            sandboxes: vec![broken],
            aside: vec!["/a/d.unreadable-1".into()],
            unread: None,
        };
        let found = check(&recorded);
        assert!(found[0].remedy.contains("newer"), "{found:?}");
        assert_eq!(found[1].evidence, ["/a/d.unreadable-1"]);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
