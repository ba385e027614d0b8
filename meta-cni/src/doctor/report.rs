//! The report of a run: findings, what was checked, and what could not be. As text for people and as JSON for
//! programs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::ValueEnum;
use process::text;
use serde::Serialize;
use serde_json::json;

use super::finding::{Finding, Severity, in_order};

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong; see [`Report::in_order`].
    pub findings: Vec<Finding>,
    /// What was checked.
    pub inspected: Inspected,
    /// What was not checked, and why.
    pub not_inspected: Vec<String>,
}

/// What was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspected {
    /// The configuration of ours that the runtime reads, or would.
    pub configuration: Option<String>,
    /// Versions, by part: `doctor`, `plugin`, `agent`.
    pub versions: BTreeMap<&'static str, String>,
    /// Networks.
    pub networks: usize,
    /// Plugins, with the CNI versions that they speak.
    pub plugins: BTreeMap<String, Vec<String>>,
    /// Pods.
    pub pods: usize,
    /// Records of sandboxes.
    pub records: usize,
    /// What AttachmentPolicies come to.
    pub policy: Option<Judged>,
    /// Kinds of interfaces: whether the kernel has them ready.
    pub kernel: BTreeMap<&'static str, bool>,
}

/// What AttachmentPolicies, and the rules where none matches, come to on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// `attachmentPolicy`: `enforce`, `report` or `off`.
    pub mode: &'static str,
    /// Networks that are refused.
    pub refused: usize,
    /// Networks that `enforce` would refuse besides.
    pub would_be_refused: usize,
}

impl Report {
    /// Findings in the order in which they are reported.
    #[must_use]
    pub fn in_order(mut self) -> Report {
        self.findings = in_order(self.findings);
        self
    }

    /// How many findings are faults.
    pub fn faults(&self) -> usize {
        let is_fault = |found: &&Finding| found.severity == Severity::Fault;
        self.findings.iter().filter(is_fault).count()
    }

    /// Writes it.
    ///
    /// # Errors
    /// As `to` has them.
    pub fn write(&self, format: Format, to: &mut impl Write) -> io::Result<()> {
        // Names and texts of tenants are in it: none of them steers a terminal.
        match format {
            Format::Text => {
                let mut bytes = Vec::new();
                self.write_text(&mut bytes)?;
                to.write_all(text::in_lines(&String::from_utf8_lossy(&bytes)).as_bytes())
            }
            Format::Json => {
                let json = serde_json::to_string_pretty(&self.to_json())?;
                writeln!(to, "{}", text::in_json(&json))
            }
        }
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "faults": self.faults(),
            "warnings": self.findings.len() - self.faults(),
            "findings": self.findings,
            "lookedAt": self.inspected,
            "notLookedAt": self.not_inspected,
        })
    }

    fn write_text(&self, to: &mut impl Write) -> io::Result<()> {
        for found in &self.findings {
            let severity = match found.severity {
                Severity::Fault => "fault",
                Severity::Warning => "warning",
            };
            writeln!(to, "{severity}: {}", found.cause)?;
            for line in &found.evidence {
                writeln!(to, "  {line}")?;
            }
            writeln!(to, "  remedy: {}\n", found.remedy)?;
        }
        let faults = self.faults();
        let warnings = self.findings.len() - faults;
        writeln!(
            to,
            "{}, {}",
            counted(faults, "fault"),
            counted(warnings, "warning")
        )?;
        self.inspected.write_text(to)?;
        for line in &self.not_inspected {
            writeln!(to, "not checked: {line}")?;
        }
        Ok(())
    }
}

impl Inspected {
    fn write_text(&self, to: &mut impl Write) -> io::Result<()> {
        let versions: Vec<_> = self
            .versions
            .iter()
            .map(|(part, version)| format!("{part} {version}"))
            .collect();
        writeln!(
            to,
            "checked: {} ({}), {}, {}, {}, {}",
            self.configuration.as_deref().unwrap_or("no configuration"),
            versions.join(", "),
            counted(self.networks, "network"),
            counted(self.plugins.len(), "plugin"),
            counted(self.pods, "pod"),
            counted(self.records, "record"),
        )?;
        if let Some(Judged {
            mode,
            refused,
            would_be_refused,
        }) = &self.policy
        {
            let refused = counted(*refused, "network");
            write!(to, "attachmentPolicy {mode}: {refused} refused")?;
            if *would_be_refused > 0 {
                write!(
                    to,
                    ", {would_be_refused} more by enforce (meta-cni doctor --policy)"
                )?;
            }
            writeln!(to)?;
        }
        for (ready, title) in [
            (true, "the kernel has"),
            (false, "the kernel has not, or not loaded"),
        ] {
            let kinds: Vec<_> = self.kernel.iter().filter(|(_, is)| **is == ready).collect();
            if !kinds.is_empty() {
                let names: Vec<_> = kinds.iter().map(|(kind, _)| **kind).collect();
                writeln!(to, "{title}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// `1 fault`, `2 faults`.
fn counted(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Area;
    use super::*;

    fn report() -> Report {
        Report {
            findings: vec![
                Finding::warning(Area::Pod, "later", "wait"),
                Finding::fault(Area::Link, "no eth1", "make it").seen("of network a/b"),
            ],
            not_inspected: vec!["pools".to_owned()],
            ..Report::default()
        }
        .in_order()
    }

    fn written(format: Format) -> String {
        let mut bytes = Vec::new();
        report().write(format, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_person_reads_the_worst_cause_first() {
        let text = written(Format::Text);
        assert!(
            text.starts_with("fault: no eth1\n  of network a/b\n  remedy: make it\n\nwarning: "),
            "{text}"
        );
        assert!(text.contains("1 fault, 1 warning\n"), "{text}");
        assert!(text.ends_with("not checked: pools\n"), "{text}");
    }

    #[test]
    fn a_program_reads_the_same() {
        let value: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(value["faults"], 1);
        assert_eq!(value["findings"][0]["severity"], "fault");
        assert_eq!(value["findings"][0]["area"], "link");
        assert_eq!(value["findings"][0]["evidence"][0], "of network a/b");
    }
}
