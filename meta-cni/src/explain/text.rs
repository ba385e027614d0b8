//! An explanation as text: one sentence, then the evidence for it.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

use super::sandbox::{Sandbox, age, why};
use crate::journal::{Operation, Secrets};
use crate::record::Phase;
use crate::trace::Step;

/// Earlier sandboxes and operations that are shown.
const EARLIER: usize = 10;

pub(super) fn write(
    sandbox: &Sandbox,
    earlier: &[Sandbox],
    now: Timestamp,
    to: &mut impl Write,
) -> io::Result<()> {
    let mut secrets = Secrets::default();
    writeln!(to, "{}", secrets.hidden(&sandbox.summary(now)))?;
    if let Some(remedy) = sandbox.remedy() {
        writeln!(to, "remedy: {remedy}")?;
    }
    writeln!(to, "\ncontainer  {}", sandbox.container_id)?;
    for (annotation, text) in sandbox.asked() {
        writeln!(to, "asked      {annotation}: {}", secrets.hidden(&text))?;
    }
    if let Ok(Some(record)) = &sandbox.record {
        writeln!(to, "namespace  {}", record.netns)?;
        writeln!(to, "\nRecorded:")?;
        for entry in &record.attachments {
            let attachment = &entry.attachment;
            let phase = match entry.phase {
                Phase::Planned => "planned",
                Phase::Added => "added",
                Phase::Deleting => "deleting",
                Phase::Gone => "gone",
            };
            let (ifname, network) = (&attachment.ifname, &attachment.network);
            writeln!(to, "  {ifname}: network {network}, {phase}")?;
            writeln!(to, "    CNI_ARGS  {}", secrets.hidden(&attachment.args))?;
            for plugin in &attachment.list.plugins {
                let mut conf = Value::Object(plugin.as_map().clone());
                secrets.hide(&mut conf);
                writeln!(to, "    {}  {conf}", plugin.plugin_type())?;
            }
            if let Some(result) = &entry.result {
                let ips = result.ips.iter().map(|ip| format!(" {}", ip.address));
                writeln!(to, "    result   {}", ips.collect::<String>())?;
            }
        }
    }
    if let Some(add) = sandbox.last("ADD") {
        write_operation(add, now, to)?;
    }
    let others = sandbox.operations.iter().filter(|one| one.command != "ADD");
    for (index, operation) in others.take(EARLIER).enumerate() {
        // Of the others, the newest is shown in full if it failed.
        if index == 0 && !operation.succeeded() {
            write_operation(operation, now, to)?;
        } else {
            let outcome = outcome(operation);
            let ago = age(now, operation.time);
            writeln!(to, "\n{} {ago} ago: {outcome}", operation.command)?;
        }
    }
    if !earlier.is_empty() {
        writeln!(to, "\nEarlier sandboxes of this pod:")?;
    }
    for one in earlier.iter().take(EARLIER) {
        let summary = secrets.hidden(&one.summary(now));
        writeln!(to, "  {}  {summary}", one.container_id)?;
    }
    Ok(())
}

fn outcome(operation: &Operation) -> &str {
    if operation.succeeded() {
        "succeeded"
    } else {
        why(operation)
    }
}

fn write_operation(operation: &Operation, now: Timestamp, to: &mut impl Write) -> io::Result<()> {
    let ago = age(now, operation.time);
    let took = milliseconds(operation.micros);
    writeln!(to, "\n{} {ago} ago, {took}:", operation.command)?;
    for step in &operation.steps {
        write_step(step, depth(operation, step), to)?;
    }
    for warning in &operation.warnings {
        writeln!(to, "  warning: {warning}")?;
    }
    if let Some(context) = operation.traceparent {
        writeln!(to, "  trace {}", context.trace)?;
    }
    writeln!(to, "  {}", outcome(operation))
}

fn write_step(step: &Step, depth: usize, to: &mut impl Write) -> io::Result<()> {
    let indent = "  ".repeat(depth + 1);
    write!(to, "{indent}{}", step.name)?;
    let (short, long): (Vec<_>, Vec<_>) = step
        .fields
        .iter()
        .partition(|(name, value)| !name.contains('/') && !value.is_array());
    for (name, value) in short {
        match value.as_str() {
            Some(text) => write!(to, " {name}={text}")?,
            None => write!(to, " {name}={value}")?,
        }
    }
    writeln!(to, " ({})", milliseconds(step.micros))?;
    for (name, value) in long {
        writeln!(to, "{indent}  {name}: {}", plain(value))?;
    }
    for (name, value) in &step.evidence {
        writeln!(to, "{indent}  {name}: {}", plain(value))?;
    }
    for warning in &step.warnings {
        writeln!(to, "{indent}  warning: {warning}")?;
    }
    match &step.error {
        Some(error) => writeln!(to, "{indent}  failed: {error}"),
        None => Ok(()),
    }
}

fn plain(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

/// How many steps are around a step.
fn depth(operation: &Operation, step: &Step) -> usize {
    let mut depth = 0;
    let mut parent = step.parent;
    while let Some(id) = parent {
        // A step comes behind the one around it, so this ends; a file could say otherwise.
        depth += 1;
        let above = operation.steps.iter().find(|above| above.id == id);
        parent = above.and_then(|above| above.parent).filter(|_| depth < 16);
    }
    depth
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}
