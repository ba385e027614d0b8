//! A finding: one cause, its evidence, one remedy; and the order in which findings are reported.

use serde::Serialize;

/// The most lines of evidence that are shown of a finding; of more lines, their number is shown.
const EVIDENCE_LINES: usize = 8;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work now: pods cannot start, or have not what they should.
    Fault,
    /// It works, but will not for long, or costs something.
    Warning,
}

/// What a finding is about, in the order of causes: what stands first can be why the rest is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// The configuration that the runtime reads.
    Configuration,
    /// The folder of records.
    State,
    /// The agent of the node.
    Agent,
    /// The API server, or the folder that stands for it.
    Cluster,
    /// The default network's own readiness.
    Readiness,
    /// What the kernel can do.
    Kernel,
    /// The plugins that networks name.
    Plugin,
    /// Interfaces that networks lie on.
    Link,
    /// Servers and pools that addresses come from.
    Addresses,
    /// Definitions of networks.
    Network,
    /// What tenants may not ask for.
    Policy,
    /// What pods ask for and have.
    Pod,
    /// What is recorded of sandboxes.
    Record,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub area: Area,
    /// What is wrong, in one sentence.
    pub cause: String,
    /// What shows it, and what it concerns.
    pub evidence: Vec<String>,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// Something that does not work.
    pub fn fault(area: Area, cause: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Fault,
            area,
            cause: cause.into(),
            evidence: Vec::new(),
            remedy: remedy.into(),
        }
    }

    /// Something that works, yet.
    pub fn warning(area: Area, cause: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Warning,
            ..Finding::fault(area, cause, remedy)
        }
    }

    /// With a line of evidence.
    #[must_use]
    pub fn seen(mut self, evidence: impl Into<String>) -> Finding {
        self.evidence.push(evidence.into());
        self
    }

    /// With lines of evidence.
    #[must_use]
    pub fn seen_all(mut self, evidence: impl IntoIterator<Item = String>) -> Finding {
        self.evidence.extend(evidence);
        self
    }

    /// Takes in what shows the same cause elsewhere.
    fn merge(&mut self, other: Finding) {
        self.severity = self.severity.min(other.severity);
        let new = other
            .evidence
            .into_iter()
            .filter(|line| !self.evidence.contains(line));
        self.evidence.extend(new.collect::<Vec<_>>());
    }

    fn shorten(&mut self) {
        let more = self.evidence.len().saturating_sub(EVIDENCE_LINES);
        if more > 1 {
            self.evidence.truncate(EVIDENCE_LINES);
            self.evidence.push(format!("and {more} more"));
        }
    }
}

/// Each cause once: faults before warnings, causes before what follows from them, else as they were found.
pub(super) fn in_order(findings: Vec<Finding>) -> Vec<Finding> {
    let mut ordered: Vec<Finding> = Vec::with_capacity(findings.len());
    for found in findings {
        match ordered
            .iter_mut()
            .find(|known| (known.area, &known.cause) == (found.area, &found.cause))
        {
            Some(known) => known.merge(found),
            None => ordered.push(found),
        }
    }
    ordered.sort_by_key(|found| (found.severity, found.area));
    ordered.iter_mut().for_each(Finding::shorten);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_first_and_causes_before_consequences() {
        let ordered = in_order(vec![
            Finding::warning(Area::Configuration, "w", ""),
            Finding::fault(Area::Record, "r2", ""),
            Finding::fault(Area::Plugin, "p", ""),
            Finding::fault(Area::Record, "r1", ""),
            Finding::fault(Area::State, "s", ""),
        ]);
        let causes: Vec<_> = ordered.iter().map(|found| found.cause.as_str()).collect();
        assert_eq!(causes, ["s", "p", "r2", "r1", "w"]);
    }

    #[test]
    fn one_cause_is_reported_once_with_all_that_shows_it() {
        let cause = |evidence: &str| Finding::warning(Area::Link, "c", "r").seen(evidence);
        let fault = Finding::fault(Area::Link, "c", "r").seen("b");
        let ordered = in_order(vec![cause("a"), fault, cause("a")]);
        assert_eq!(
            ordered,
            [Finding::fault(Area::Link, "c", "r").seen("a").seen("b")]
        );
    }

    #[test]
    fn much_evidence_is_counted() {
        let lines = (0..20).map(|n| n.to_string());
        let found = in_order(vec![Finding::fault(Area::Pod, "c", "r").seen_all(lines)]);
        assert_eq!(found[0].evidence.len(), 9);
        assert_eq!(found[0].evidence[8], "and 12 more");
    }
}
