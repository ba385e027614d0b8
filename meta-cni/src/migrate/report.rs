//! The plan and what became of it, for people and for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use clap::ValueEnum;
use process::{text, yaml};
use proto::ipam::v1::{Lease, Subnet};
use serde_json::{Value, json};

use super::apply::Done;
use super::back::{self, Undone};
use super::obstacle::Obstacle;
use super::plan::{NetworkChange, Plan};
use super::pools::PoolPlan;

/// The form of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one object
    Json,
}

/// Writes the plan, and what was done if something was.
///
/// # Errors
/// What the system says of `to`.
pub(super) fn plan(
    format: Format,
    plan: &Plan,
    done: Option<&Done>,
    to: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Json => {
            let object = json!({ "plan": plan, "done": done });
            line(to, &text::in_json(&format!("{object:#}")))
        }
        Format::Text => line(to, &text::in_lines(&plan_text(plan, done))),
    }
}

/// Writes what `--back` undid or would.
///
/// # Errors
/// What the system says of `to`.
pub(super) fn undone(
    format: Format,
    undone: &Undone,
    mode: back::Mode,
    to: &mut dyn Write,
) -> io::Result<()> {
    let is_done = mode == back::Mode::Undo;
    match format {
        Format::Json => {
            let object = json!({
                "undone": is_done, "steps": undone.steps, "leftAlone": undone.left, "notes": undone.notes,
            });
            line(to, &text::in_json(&format!("{object:#}")))
        }
        Format::Text => {
            let mut all = String::new();
            let empty = undone.steps.is_empty() && undone.left.is_empty();
            if empty {
                all.push_str("Nothing to undo.\n");
            }
            section(&mut all, "Steps back", undone.steps.iter().cloned());
            section(&mut all, "Left alone", undone.left.iter().cloned());
            section(&mut all, "Notes", undone.notes.iter().cloned());
            if !is_done && !empty {
                all.push_str("Nothing was changed; --back --apply does it.\n");
            }
            line(to, &text::in_lines(&all))
        }
    }
}

fn line(to: &mut dyn Write, all: &str) -> io::Result<()> {
    writeln!(to, "{}", all.trim_end())?;
    to.flush()
}

fn plan_text(plan: &Plan, done: Option<&Done>) -> String {
    let mut all = String::new();
    if let Some(configuration) = &plan.configuration {
        let path = configuration.replaces.display();
        let conflist = format!("{:#}", configuration.conflist);
        let conflist = conflist.lines().map(str::to_owned);
        section(&mut all, &format!("In the place of {path}"), conflist);
        let settings = match configuration.settings.is_empty() {
            true => String::new(),
            // What cannot be written as YAML is in the list above.
            false => {
                yaml::write(&Value::Object(configuration.settings.clone())).unwrap_or_default()
            }
        };
        let settings = settings.lines().map(str::to_owned);
        section(&mut all, "For meta-cni install --settings", settings);
    }
    section(&mut all, "Pools", plan.pools.iter().map(pool));
    section(&mut all, "Leases", plan.leases.iter().map(lease));
    section(
        &mut all,
        "Networks (--rewrite-networks)",
        plan.networks.iter().map(network),
    );
    let obstacles = |list: &[Obstacle]| list.iter().map(Obstacle::line).collect::<Vec<_>>();
    section(
        &mut all,
        "Not carried over",
        obstacles(&plan.not_carried_over),
    );
    section(
        &mut all,
        "Refused if attachmentPolicy is \"enforce\"",
        obstacles(&plan.refused_by_policy),
    );
    section(&mut all, "Notes", plan.notes.iter().cloned());
    match done {
        Some(done) => {
            section(
                &mut all,
                "Refused by the server",
                done.refused.iter().cloned(),
            );
            // Writing to a string does not fail.
            let _ = writeln!(
                all,
                "Done: {} pools made, {} leases imported, {} networks noted on this node, {} networks rewritten.",
                done.pools, done.leases, done.noted, done.networks
            );
        }
        None => all.push_str("Nothing was changed; --apply does it.\n"),
    }
    all
}

fn section(all: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return;
    }
    // Writing to a string does not fail.
    let _ = writeln!(all, "{title}:");
    for line in lines {
        let _ = writeln!(all, "  {line}");
    }
    all.push('\n');
}

fn pool(plan: &PoolPlan) -> String {
    let subnet = |subnet: &Option<Subnet>| {
        let subnet = subnet.as_ref()?;
        let mut text = subnet.cidr.clone();
        let parts = [
            ("ranges", subnet.ranges.join(" ")),
            ("excludes", subnet.excludes.join(" ")),
            ("gateway", subnet.gateway.clone()),
        ];
        for (name, value) in parts.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(text, " {name} {value}");
        }
        Some(text)
    };
    let subnets: Vec<_> = [subnet(&plan.pool.ipv4), subnet(&plan.pool.ipv6)]
        .into_iter()
        .flatten()
        .collect();
    let networks: Vec<_> = plan.networks.iter().map(ToString::to_string).collect();
    let vrf = match plan.pool.vrf.as_str() {
        "" | "default" => String::new(),
        vrf => format!(" in VRF {vrf}"),
    };
    let word = if plan.exists { "use" } else { "make" };
    format!(
        "{word} {}{vrf}: {}; for {}",
        plan.pool.name,
        subnets.join(", "),
        networks.join(", ")
    )
}

fn lease(lease: &Lease) -> String {
    let owner = lease.owner.clone().unwrap_or_default();
    let addresses = [lease.ipv4.as_str(), lease.ipv6.as_str()];
    let addresses: Vec<_> = addresses
        .into_iter()
        .filter(|one| !one.is_empty())
        .collect();
    let mut text = format!("{} of {}", addresses.join(" "), lease.pool);
    for (name, value) in [
        ("pod", format!("{}/{}", owner.namespace, owner.pod)),
        ("interface", owner.ifname),
        ("network", owner.network),
        ("node", owner.node),
        ("container", owner.container_id),
    ] {
        if !value.is_empty() {
            let _ = write!(text, ", {name} {value}");
        }
    }
    text
}

fn network(change: &NetworkChange) -> String {
    let when = if change.is_done {
        "leases"
    } else {
        "will lease"
    };
    format!("{} {when} from pool {}", change.name, change.pool)
}
