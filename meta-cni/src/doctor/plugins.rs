//! The plugins that networks and recorded attachments name: there, executable, and of a version that the network
//! speaks.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use cni::error::{one_line, with_causes};
use cni::netconf::{NetConfList, PluginConf};
use cni::plugins::{Call, Location, PluginError, Plugins, Target};
use cni::skel::Command;
use cni::version::Version;
use serde_json::Value;

use super::ended;
use super::finding::{Area, Finding, Severity};
use super::networks::Network;
use crate::record::Record;

/// Plugins that are asked at once.
const AT_ONCE: usize = 8;

/// A plugin that is needed.
pub(super) struct Plugin {
    pub(super) name: String,
    need: Need,
    /// Where it is, or why it cannot be called.
    found: Result<Location, PluginError>,
    /// The CNI versions that it speaks, or what it said instead. Nothing: it was not asked.
    pub(super) versions: Option<Result<Vec<String>, String>>,
}

/// Who needs a plugin.
#[derive(Clone, Default)]
pub(super) struct Need {
    by: BTreeSet<String>,
    /// The configurations with which it will be called.
    confs: Vec<PluginConf>,
    /// The versions in which it will be spoken to.
    versions: BTreeSet<Version>,
    /// Whether anybody on this node does.
    is_used: bool,
}

/// The plugins that are needed, by name.
pub(super) fn needed<'a>(
    networks: &[Network],
    records: impl Iterator<Item = &'a Record>,
) -> BTreeMap<String, Need> {
    let mut needed: BTreeMap<String, Need> = BTreeMap::new();
    let mut add = |list: &NetConfList, by: String, is_used: bool| {
        let kinds_of = |conf: &'_ PluginConf| conf.kinds().map(str::to_owned).collect::<Vec<_>>();
        let plugins = list.plugins.iter();
        for (name, conf) in
            plugins.flat_map(|conf| kinds_of(conf).into_iter().map(move |name| (name, conf)))
        {
            let need = needed.entry(name).or_default();
            if !need.confs.contains(conf) {
                need.confs.push(conf.clone());
            }
            need.versions.insert(list.version);
            need.is_used |= is_used;
            need.by.insert(by.clone());
        }
    };
    for network in networks {
        if let Ok(found) = &network.found {
            add(
                &found.list,
                network.described(),
                network.severity() == Severity::Fault,
            );
        }
    }
    for record in records {
        let pod = record
            .pod
            .as_ref()
            .map_or_else(|| record.container_id.clone(), ToString::to_string);
        for attachment in record.attachments() {
            add(
                &attachment.list,
                format!("DEL of {} of {pod}", attachment.ifname),
                true,
            );
        }
    }
    needed
}

/// Finds each plugin and asks it for its versions, within `limit` each.
pub(super) fn inspect(
    plugins: &dyn Plugins,
    needed: &BTreeMap<String, Need>,
    limit: Duration,
) -> Vec<Plugin> {
    let all: Vec<_> = needed.iter().collect();
    let ask = |(name, need): &(&String, &Need)| {
        let found = find(plugins, name, &need.confs);
        Plugin {
            versions: found.is_ok().then(|| versions(plugins, name, limit)),
            name: (*name).clone(),
            need: (*need).clone(),
            found,
        }
    };
    let mut all_asked = Vec::with_capacity(all.len());
    for some in all.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let asked: Vec<_> = some.iter().map(|one| scope.spawn(|| ask(one))).collect();
            all_asked.extend(asked.into_iter().map(ended));
        });
    }
    all_asked
}

/// Where a plugin is: built in only if it is with every configuration.
fn find(plugins: &dyn Plugins, name: &str, confs: &[PluginConf]) -> Result<Location, PluginError> {
    let mut found = Ok(Location::BuiltIn);
    for conf in confs {
        found = plugins.locate(name, conf.as_map());
        if !matches!(found, Ok(Location::BuiltIn)) {
            break;
        }
    }
    found
}

/// The versions that a plugin says it speaks.
fn versions(plugins: &dyn Plugins, name: &str, limit: Duration) -> Result<Vec<String>, String> {
    let stdin = format!(r#"{{"cniVersion":"{}"}}"#, Version::LATEST);
    let call = Call::new(name, Command::Version, Target::NOWHERE, stdin.as_bytes());
    let answer = plugins.call(&call, Instant::now() + limit);
    let answer = answer.map_err(|error| match error {
        PluginError::TimedOut { limit, .. } => {
            format!("no answer within {:.1} s", limit.as_secs_f32())
        }
        other => with_causes(&other),
    })?;
    let value: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let listed = value.get("supportedVersions").and_then(Value::as_array);
    let listed = listed.ok_or_else(|| {
        let text = one_line(&String::from_utf8_lossy(&answer));
        format!(
            "it answered {:?}",
            text.chars().take(80).collect::<String>()
        )
    })?;
    Ok(listed
        .iter()
        .filter_map(|version| version.as_str().map(str::to_owned))
        .collect())
}

/// What is wrong with plugins.
pub(super) fn check(plugins: &[Plugin]) -> Vec<Finding> {
    plugins.iter().filter_map(problem).collect()
}

fn problem(plugin: &Plugin) -> Option<Finding> {
    let name = &plugin.name;
    let (cause, remedy) = match (&plugin.found, &plugin.versions) {
        (Err(error), _) => missing(name, error),
        (Ok(location), Some(Err(problem))) => (
            format!("plugin {name:?} does not answer VERSION: {problem}"),
            format!(
                "run {} by hand; install it again, for this machine's architecture",
                location
            ),
        ),
        (Ok(location), Some(Ok(speaks))) => {
            let unknown = plugin
                .need
                .versions
                .iter()
                .find(|version| !speaks.iter().any(|one| one == version.as_str()))?;
            let cause = format!(
                "plugin {name:?} does not speak CNI {unknown}, only {}",
                speaks.join(", ")
            );
            (
                cause,
                format!("install a newer {location}, or lower cniVersion of the network"),
            )
        }
        (Ok(_), None) => return None,
    };
    let mut found = Finding::fault(Area::Plugin, cause, remedy);
    if !plugin.need.is_used {
        found.severity = Severity::Warning;
    }
    Some(found.seen_all(plugin.need.by.iter().map(|by| format!("needed by {by}"))))
}

/// Cause and remedy of a plugin that cannot be called.
pub(super) fn missing(name: &str, error: &PluginError) -> (String, String) {
    match error {
        PluginError::NotFound {
            not_executable: Some(path),
            ..
        } => (
            format!("plugin {name:?} cannot be executed: {} is no executable file", path.display()),
            format!("chmod 755 {}, or install it again", path.display()),
        ),
        PluginError::NotFound { searched, .. } => (
            format!("plugin {name:?} is not in {}", searched.join(", ")),
            "install it there, or correct `type` in the network (the reference plugins are in the package containernetworking-plugins)".to_owned(),
        ),
        error => (with_causes(error), "install it again".to_owned()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::delegates::executables;
    use crate::gather::Found;
    use crate::wanted::Source;

    fn network(label: &str, users: &[&str], conf: Value) -> Network {
        Network {
            label: label.to_owned(),
            source: Source::Inline(0, Value::Null),
            found: Ok(Found::of(NetConfList::from_value(conf).unwrap()).unwrap()),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
        }
    }

    pub(in super::super) fn script(dir: &Path, name: &str, mode: u32, text: &str) {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn each_way_in_which_a_plugin_is_not_there_is_distinguished() {
        let dir = tempfile::tempdir().unwrap();
        let speaks = r#"echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'"#;
        script(dir.path(), "good", 0o755, speaks);
        script(dir.path(), "plain", 0o644, speaks);
        script(dir.path(), "broken", 0o755, "echo oh; exit 1");
        script(dir.path(), "odd", 0o755, "echo hello");
        let networks = [
            network(
                "a",
                &["pod x/y"],
                json!({"cniVersion": "1.0.0", "plugins": [{"type": "good"}, {"type": "plain"}]}),
            ),
            network(
                "b",
                &["pod x/y"],
                json!({"cniVersion": "1.1.0", "type": "good", "ipam": {"type": "none"}}),
            ),
            network(
                "c",
                &[],
                json!({"cniVersion": "1.0.0", "plugins": [{"type": "broken"}, {"type": "odd"}]}),
            ),
        ];
        let needed = needed(&networks, [].into_iter());
        let plugins = inspect(
            &executables(vec![dir.path().to_owned()]),
            &needed,
            Duration::from_secs(10),
        );
        let found: Vec<_> = check(&plugins)
            .into_iter()
            .map(|found| (found.severity, found.cause))
            .collect();
        let place = dir.path().display();
        let expected = [
            (
                Severity::Warning,
                "plugin \"broken\" does not answer VERSION: plugin \"broken\" exited with status 1"
                    .to_owned(),
            ),
            (
                Severity::Fault,
                "plugin \"good\" does not speak CNI 1.1.0, only 0.4.0, 1.0.0".to_owned(),
            ),
            (
                Severity::Fault,
                format!("plugin \"none\" is not in {place}"),
            ),
            (
                Severity::Warning,
                "plugin \"odd\" does not answer VERSION: it answered \"hello\"".to_owned(),
            ),
            (
                Severity::Fault,
                format!("plugin \"plain\" cannot be executed: {place}/plain is no executable file"),
            ),
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.0, expected.0, "{found:?}");
            assert!(found.1.starts_with(&expected.1), "{found:?}");
        }
    }
}
