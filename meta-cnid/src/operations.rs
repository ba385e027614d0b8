//! What meta-cni did on this node, as its journal has it: metrics of every verb and plugin, attachments by network, and
//! the spans of traces. meta-cni itself ends with its answer and keeps no counts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::skel::Command;
use meta_cni::journal::{Follower, Journal, Operation};
use meta_cni::record::{RecordError, Records};
use meta_cni::trace::{Step, words};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::blocking;
use super::traces::Spans;

/// How often the journal is read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Plugins that have a label of their own; more are `other`. A node has a dozen.
const PLUGINS: usize = 64;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Served {
    command: &'static str,
    plugin: String,
    mode: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    network: String,
}

/// What is counted of operations. Clones count together.
#[derive(Clone)]
pub(super) struct Counts {
    served: Family<Served, Histogram, fn() -> Histogram>,
    attachments: Family<Of, Gauge>,
}

impl Counts {
    /// Counts that `registry` shows.
    pub(super) fn register(registry: &mut Registry) -> Counts {
        // From a millisecond to half a minute.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let counts = Counts {
            served: Family::new_with_constructor(seconds),
            attachments: Family::default(),
        };
        registry.register_with_unit(
            "meta_cni_operation_duration",
            "Time of a verb of meta-cni (plugin=\"meta-cni\"), and of each plugin that it ran, by whether it was built in and by how it ended",
            Unit::Seconds,
            counts.served.clone(),
        );
        registry.register(
            "meta_cni_attachments",
            "Attachments of this node's sandboxes by network",
            counts.attachments.clone(),
        );
        counts
    }

    fn observe(&self, plugins: &mut Plugins, operation: &Operation) {
        let Some(command) = Command::parse(&operation.command) else {
            return;
        };
        let result = match operation.succeeded() {
            true => words::OK,
            false => words::FAILED,
        };
        let ours = Served {
            command: command.as_str(),
            plugin: "meta-cni".to_owned(),
            mode: words::EXECUTED,
            result,
        };
        self.add(&ours, operation.micros);
        for step in operation
            .steps
            .iter()
            .filter(|step| step.name == words::DELEGATE)
        {
            let text = |name| step.fields.get(name).and_then(|value| value.as_str());
            if let (Some(command), Some(plugin)) = (
                text(words::COMMAND).and_then(Command::parse),
                text(words::PLUGIN),
            ) {
                let served = Served {
                    command: command.as_str(),
                    plugin: plugins.label(plugin),
                    mode: mode(step),
                    result: ended(step),
                };
                self.add(&served, step.micros);
            }
        }
    }

    fn add(&self, served: &Served, micros: u64) {
        let seconds = Duration::from_micros(micros).as_secs_f64();
        self.served.get_or_create(served).observe(seconds);
    }

    fn attached(&self, by_network: BTreeMap<String, i64>) {
        self.attachments.clear();
        for (network, number) in by_network {
            self.attachments.get_or_create(&Of { network }).set(number);
        }
    }
}

/// Whether a plugin was built in or executed.
fn mode(step: &Step) -> &'static str {
    let noted = step.fields.get(words::MODE);
    match noted.and_then(|value| value.as_str()) {
        Some(words::BUILT_IN) => words::BUILT_IN,
        _ => words::EXECUTED,
    }
}

/// How a plugin's run ended: `ok`, or one of [`words::FAILURES`].
fn ended(step: &Step) -> &'static str {
    if step.error.is_none() {
        return words::OK;
    }
    let noted = step.fields.get(words::RESULT);
    let noted = noted.and_then(|value| value.as_str());
    let known = words::FAILURES.into_iter().find(|word| noted == Some(word));
    known.unwrap_or(words::FAILED)
}

/// The plugins that were seen: what is a label comes from configurations, and must stay few.
#[derive(Debug, Default)]
struct Plugins(Vec<String>);

impl Plugins {
    fn label(&mut self, plugin: &str) -> String {
        if !self.0.iter().any(|known| known == plugin) {
            if self.0.len() == PLUGINS {
                return "other".to_owned();
            }
            self.0.push(plugin.to_owned());
        }
        plugin.to_owned()
    }
}

/// Follows the journal; never ends. What was done before the agent began is counted in no duration.
pub(super) async fn run(state_dir: PathBuf, counts: Counts, spans: Option<Spans>) {
    let mut follower = Follower::at_end(Journal::new(&state_dir));
    let mut plugins = Plugins::default();
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Sandboxes of before are attached all the same.
    let mut has_changed = true;
    loop {
        ticks.tick().await;
        let dir = state_dir.clone();
        let (back, operations, attached) = blocking(move || {
            let operations = follower.read_new();
            let news = operations.as_ref().is_ok_and(|all| !all.is_empty());
            let attached = (has_changed || news).then(|| attached(&dir));
            (follower, operations, attached)
        })
        .await;
        follower = back;
        let counted = count(&counts, &mut plugins, operations, spans.as_ref());
        if let Err(error) = counted {
            tracing::warn!(%error, "the journal of meta-cni cannot be followed");
        }
        has_changed = match attached {
            Some(Ok(by_network)) => {
                counts.attached(by_network);
                false
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "attachments cannot be counted");
                true
            }
            None => false,
        };
    }
}

fn count(
    counts: &Counts,
    plugins: &mut Plugins,
    operations: io::Result<Vec<Operation>>,
    spans: Option<&Spans>,
) -> io::Result<()> {
    for operation in operations? {
        counts.observe(plugins, &operation);
        if let Some(spans) = spans {
            spans.send(operation);
        }
    }
    Ok(())
}

/// Attachments by network; its own DEL and `meta-cni doctor` report a record that cannot be read.
fn attached(state_dir: &Path) -> Result<BTreeMap<String, i64>, RecordError> {
    let records = Records::new(state_dir);
    let mut by_network = BTreeMap::new();
    for id in records.container_ids()? {
        let Ok(Some(record)) = records.peek(&id) else {
            continue;
        };
        for attachment in record.attachments() {
            *by_network.entry(attachment.network.clone()).or_default() += 1;
        }
    }
    Ok(by_network)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observed(operations: &[serde_json::Value]) -> String {
        let mut registry = Registry::default();
        let counts = Counts::register(&mut registry);
        let mut plugins = Plugins::default();
        for operation in operations {
            let operation = serde_json::from_value(operation.clone()).unwrap();
            counts.observe(&mut plugins, &operation);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_verb_and_each_of_its_plugins_are_counted_by_how_they_ended() {
        let step = |plugin: &str, result: Option<&str>| {
            json!({
                "name": "delegate", "micros": 2000, "error": result.map(|_| "x"),
                "fields": {"plugin": plugin, "command": "ADD", "result": result}
            })
        };
        let mut built_in = step("host-device", None);
        built_in["fields"]["mode"] = json!(words::BUILT_IN);
        let text = observed(&[
            json!({"command": "ADD", "micros": 9000, "steps": [step("bridge", None), {"name": "plan"}, built_in]}),
            json!({"command": "ADD", "micros": 9000, "code": 11, "steps": [
                step("bridge", Some("timed_out")), step("macvlan", Some("anything"))
            ]}),
            json!({"command": "NONSENSE"}),
        ]);
        for (plugin, mode, result) in [
            ("meta-cni", "executed", "ok"),
            ("meta-cni", "executed", "failed"),
            ("bridge", "executed", "ok"),
            ("bridge", "executed", "timed_out"),
            ("macvlan", "executed", "failed"),
            ("host-device", "built_in", "ok"),
        ] {
            let series = format!(
                "meta_cni_operation_duration_seconds_count{{command=\"ADD\",plugin=\"{plugin}\",mode=\"{mode}\",result=\"{result}\"}} 1"
            );
            assert!(text.contains(&series), "{series}\n{text}");
        }
        assert!(!text.contains("NONSENSE"), "{text}");
    }

    #[test]
    fn labels_stay_few() {
        let mut plugins = Plugins::default();
        for number in 0..PLUGINS {
            assert_eq!(plugins.label(&format!("p{number}")), format!("p{number}"));
        }
        assert_eq!(plugins.label("one more"), "other");
        assert_eq!(plugins.label("p0"), "p0");
    }
}
