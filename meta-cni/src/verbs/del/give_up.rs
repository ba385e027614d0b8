//! The end of an attachment whose DEL does not succeed and is not going to: what can be cleaned without its plugins is, and
//! the log names what they may have left. Any other attachment stays recorded, and is tried again.

use std::fmt;
use std::path::Path;

use cni::chain::{self, ChainError};
use cni::error::with_causes;
use cni::plugins::{PluginError, Target};
use jiff::Timestamp;
use netlink::netns;
use netlink::{Netlink, NetlinkError};

use super::{Origin, today};
use crate::diagnosis::Explain as _;
use crate::record::{Entry, Phase, Record};
use crate::run::RunError;
use crate::verbs::context::Context;

/// Why an attachment is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Its first plugin said no to ADD, and its plugins say no to DEL.
    Refused,
    /// No ADD of it is known to have succeeded, and its plugins say no to DEL.
    NeverAdded,
    /// All plugins that are on this node are done, and the others were removed on purpose.
    Removed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Refused => "its first plugin refused ADD, and its plugins refuse DEL",
            Reason::NeverAdded => {
                "no ADD of it is known to have succeeded, and its plugins refuse DEL"
            }
            Reason::Removed => "its plugins are neither on this node nor in today's configuration",
        })
    }
}

/// Gives up attachments whose DEL failed, which are gone then; returns the failures of the others.
pub(super) fn give_up(
    context: &Context<'_>,
    record: &mut Record,
    origin: Origin,
    netns: &str,
    mut failures: Vec<RunError>,
) -> Vec<RunError> {
    let id = &record.container_id;
    let earlier = context.records.orphans().failed(id);
    let is_persistent = earlier.is_some_and(|failed| failed.is_persistent(Timestamp::now()));
    let is_over = netns.is_empty() || is_persistent || origin == Origin::PlannedAnew;
    let mut kept = Vec::new();
    for place in 0..record.attachments.len() {
        let entry = &record.attachments[place];
        let ifname = &entry.attachment.ifname;
        let own: Vec<RunError> = failures
            .extract_if(.., |failure| failure.ifname == *ifname)
            .collect();
        let is_removed = |plugin: &str| today::is_without(context, &entry.attachment, plugin);
        if own.is_empty() {
            continue;
        }
        let cleaned = reason(entry, &own, is_over, is_removed)
            .and_then(|reason| Some((reason, clean(context, record, entry, netns)?)));
        match cleaned {
            Some((reason, trouble)) => {
                log(entry, &own, reason, &trouble);
                record.attachments[place].phase = Phase::Gone;
            }
            None => kept.extend(own),
        }
    }
    kept
}

/// Why an attachment is given up whose DEL failed, if it is. `is_over`: nothing is going to change for the better, because
/// the namespace is gone, or the first failure is long ago, or nobody knows that anything was made.
fn reason(
    entry: &Entry,
    failures: &[RunError],
    is_over: bool,
    is_removed: impl Fn(&str) -> bool,
) -> Option<Reason> {
    let mut left = failures
        .iter()
        .filter(|failure| !missing(failure).is_some_and(&is_removed))
        .peekable();
    if left.peek().is_none() {
        return Some(Reason::Removed);
    }
    let is_refused = left.all(|failure| failure.source.is_refusal());
    match (entry.result.is_none() && is_refused, entry.refused) {
        (true, true) => Some(Reason::Refused),
        (true, false) if is_over => Some(Reason::NeverAdded),
        _ => None,
    }
}

/// The plugin that is not on this node, if that is the failure.
fn missing(failure: &RunError) -> Option<&str> {
    match &failure.source {
        ChainError::Plugin { plugin, source, .. } => {
            matches!(**source, PluginError::NotFound { .. }).then_some(plugin.as_str())
        }
        _ => None,
    }
}

/// Does what can be done without the plugins that fail: their IPAM plugins give the addresses back, and an interface that was
/// never finished is removed from the pod. Gives what was refused; nothing if there is something that may do better later.
fn clean(
    context: &Context<'_>,
    record: &Record,
    entry: &Entry,
    netns: &str,
) -> Option<Vec<String>> {
    let attachment = &entry.attachment;
    let target = Target {
        container_id: &record.container_id,
        netns,
        ifname: &attachment.ifname,
        args: &attachment.args,
    };
    let mut trouble = Vec::new();
    let plugins = attachment.list.plugins.iter().enumerate();
    for (_, plugin) in plugins.filter(|(place, _)| !entry.deleted.contains(place)) {
        if let Err(error) =
            chain::del_ipam(context.plugins(), context.limit(), plugin, target, None)
        {
            if !error.is_refusal() {
                tracing::info!(
                    error = with_causes(&error),
                    "an attachment is not given up yet"
                );
                return None;
            }
            trouble.push(with_causes(&error));
        }
    }
    if entry.result.is_none() && !netns.is_empty() {
        let removed = netns::within(Path::new(netns), || remove_link(&attachment.ifname));
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => trouble.push(with_causes(&error)),
            Err(error) => trouble.push(with_causes(&error)),
        }
    }
    Some(trouble)
}

/// Removes an interface of this thread's namespace; none is success.
fn remove_link(name: &str) -> Result<(), NetlinkError> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    match links.iter().find(|link| link.name == name) {
        Some(link) => netlink.delete_link(link.index),
        None => Ok(()),
    }
}

fn log(entry: &Entry, failures: &[RunError], reason: Reason, trouble: &[String]) {
    let attachment = &entry.attachment;
    let plugins = attachment.list.plugins.iter().enumerate();
    let undone: Vec<&str> = plugins
        .filter(|(place, _)| !entry.deleted.contains(place))
        .map(|(_, plugin)| plugin.plugin_type())
        .collect();
    let failures: Vec<String> = failures
        .iter()
        .map(|failure| failure.diagnosis().to_string())
        .collect();
    tracing::warn!(
        network = attachment.network,
        ifname = attachment.ifname,
        plugins = undone.join(", "),
        failures = failures.join("; "),
        trouble = trouble.join("; "),
        "an attachment is given up: {reason}; what these plugins made on this host, if anything, is left behind"
    );
}

#[cfg(test)]
mod tests {
    use std::io;

    use cni::netconf::NetConfList;
    use cni::result::CniResult;
    use serde_json::json;

    use super::*;
    use crate::attachment::Attachment;
    use crate::delegates::recording::failed;

    fn entry(refused: bool, added: bool) -> Entry {
        let conf = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [
            {"type": "bridge"}, {"type": "istio-cni"},
        ]});
        let attachment = Attachment {
            network: "shop/blue".to_owned(),
            ifname: "net1".to_owned(),
            args: String::new(),
            list: NetConfList::from_value(conf).unwrap(),
            check_by_plugins: false,
            default_route: None,
            device: None,
            device_info_file: None,
        };
        Entry {
            refused,
            result: added.then(CniResult::default),
            ..Entry::planned(attachment)
        }
    }

    fn failure(plugin: &str, how: &str) -> RunError {
        let plugin = plugin.to_owned();
        let source = match how {
            "refuses" => failed(&plugin, 7, "invalid CIDR"),
            "missing" => PluginError::NotFound {
                plugin: plugin.clone(),
                searched: Vec::new(),
                not_executable: None,
            },
            _ => PluginError::Start {
                plugin: plugin.clone(),
                place: format!("/opt/cni/bin/{plugin}"),
                source: io::Error::other(how.to_owned()),
            },
        };
        RunError {
            network: "shop/blue".to_owned(),
            ifname: "net1".to_owned(),
            source: ChainError::Plugin {
                plugin,
                command: "DEL",
                source: Box::new(source),
            },
        }
    }

    #[test]
    fn what_has_no_other_end_is_given_up_and_nothing_else() {
        use Reason::{NeverAdded, Refused, Removed};
        let (refuses, missing) = (("bridge", "refuses"), ("istio-cni", "missing"));
        let broken = ("bridge", "cannot be started");
        let removed = "istio-cni";
        // Refused at ADD, added, over, what fails, what was removed on purpose; why it is given up.
        type Failing<'a> = &'a [(&'a str, &'a str)];
        type Case<'a> = (bool, bool, bool, Failing<'a>, &'a str, Option<Reason>);
        let cases: [Case<'_>; 13] = [
            (true, false, false, &[refuses], "", Some(Refused)),
            (true, false, false, &[broken], "", None),
            (true, false, true, &[refuses, broken], "", None),
            (false, false, false, &[refuses], "", None),
            (false, false, true, &[refuses], "", Some(NeverAdded)),
            (false, false, true, &[broken], "", None),
            (false, true, true, &[refuses], "", None),
            (false, true, false, &[missing], "", None),
            (false, true, true, &[missing], "", None),
            (false, false, true, &[missing], "", None),
            (false, true, false, &[missing], removed, Some(Removed)),
            (false, true, false, &[missing, refuses], removed, None),
            (
                false,
                false,
                true,
                &[missing, refuses],
                removed,
                Some(NeverAdded),
            ),
        ];
        for (refused, added, over, fails, gone, expected) in cases {
            let failures: Vec<_> = fails
                .iter()
                .map(|(plugin, how)| failure(plugin, how))
                .collect();
            let found = reason(&entry(refused, added), &failures, over, |plugin| {
                plugin == gone
            });
            assert_eq!(
                found, expected,
                "refused: {refused}, added: {added}, over: {over}, {fails:?}, removed: {gone:?}"
            );
        }
    }
}
