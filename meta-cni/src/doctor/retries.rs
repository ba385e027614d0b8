//! Sandboxes whose deletion failed: their marks say why, how often it was tried, and when it is tried again.

use jiff::Timestamp;

use super::finding::{Area, Finding};
use super::records::Recorded;
use super::state::age;
use crate::config::Config;
use crate::record::{Mark, Orphans};

/// The marks of failed deletions; if a pod is asked about, those of its sandboxes.
pub(super) fn inspect(config: &Config, records: &Recorded, only_recorded: bool) -> Vec<Mark> {
    let marks = Orphans::new(&config.state_dir).marks();
    let is_recorded = |mark: &Mark| {
        let mut records = records.records();
        records.any(|record| record.container_id == mark.container_id)
    };
    let of_interest = |mark: &Mark| mark.failed.is_some() && (!only_recorded || is_recorded(mark));
    marks.into_iter().filter(of_interest).collect()
}

/// What is wrong with them: that a DEL failed once is none, while it may be over soon.
pub(super) fn check(marks: &[Mark], records: &Recorded, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for mark in marks {
        let Some(failed) = &mark.failed else {
            continue;
        };
        let id = &mark.container_id;
        let record = records.records().find(|record| record.container_id == *id);
        let pod = record.and_then(|record| record.pod.as_ref());
        let name = pod.map_or_else(|| format!("container {id}"), |pod| format!("pod {pod}"));
        let times = match failed.tries {
            1 => "once".to_owned(),
            number => format!("{number} times"),
        };
        let cause = format!("the DEL of {name} failed {times}: {}", failed.failure);
        let remedy = failed.remedy.as_deref();
        let remedy = remedy.unwrap_or("remove what the message names");
        let remedy = format!("{remedy}; meta-cni explain {id} shows each step");
        let next = match until(failed.next_try, now) {
            Some(wait) => format!("next try in {wait}, with the next call of the runtime"),
            None => "next try with the next call of the runtime".to_owned(),
        };
        let since = format!(
            "first failed {} ago",
            age(now.duration_since(failed.since).unsigned_abs())
        );
        let found = Finding::warning(Area::Record, cause, remedy);
        findings.push(found.seen(next).seen(since).seen(format!("container {id}")));
    }
    findings
}

/// How long it is until then; nothing if that is over.
fn until(then: Timestamp, now: Timestamp) -> Option<String> {
    let wait = then.duration_since(now);
    wait.is_positive().then(|| age(wait.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Failed;

    fn found(tries: u32, next: i64) -> Finding {
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(3600);
        let mark = Mark {
            container_id: "c1".to_owned(),
            failed: Some(Failed {
                tries,
                since: Timestamp::UNIX_EPOCH,
                next_try: Timestamp::from_second(next).unwrap(),
                pause_seconds: 60,
                failure: "network a/b (net1): vpn DEL: busy".to_owned(),
                remedy: None,
            }),
        };
        check(&[mark], &Recorded::default(), now).remove(0)
    }

    #[test]
    fn a_failing_del_is_reported_with_its_cause_its_tries_and_the_next_one() {
        let once = found(1, 3660);
        let cause = "the DEL of container c1 failed once: network a/b (net1): vpn DEL: busy";
        assert_eq!(once.cause, cause);
        assert!(once.evidence[0].starts_with("next try in 60s"), "{once:?}");
        assert!(once.evidence[1].contains("60m ago"), "{once:?}");
        let often = found(7, 3600);
        assert!(often.cause.contains("failed 7 times: "), "{often:?}");
        assert!(
            often.evidence[0].starts_with("next try with the next call"),
            "{often:?}"
        );
    }
}
