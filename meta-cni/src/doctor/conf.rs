//! The folder from which the runtime reads its network configuration: which file wins, whether it is ours, and
//! whether ours can be read (libcni `ConfFiles`: the first by name that ends in .conf, .conflist or .json).

use std::path::{Path, PathBuf};

use cni::error::with_causes;
use cni::netconf::{NetConfList, configuration_files};
use serde_json::{Map, Value};

use super::finding::{Area, Finding};
use crate::config::Config;

/// `type` of our configuration.
const TYPE: &str = "meta-cni";

/// A file of the folder.
pub(super) struct ConfFile {
    pub(super) path: PathBuf,
    /// Its text, or why it cannot be read.
    pub(super) text: Result<String, String>,
}

/// Our own configuration.
pub(super) struct Ours {
    /// Its file.
    pub(super) path: PathBuf,
    /// Its keys.
    pub(super) config: Config,
}

/// What a file configures.
struct Parsed {
    /// `type` of every plugin.
    plugins: Vec<String>,
    /// Our plugin's part.
    ours: Option<Map<String, Value>>,
}

/// Reads the folder.
pub(super) fn read(dir: &Path) -> Result<Vec<ConfFile>, Finding> {
    let files = configuration_files(dir).map_err(|error| {
        let remedy = "make the folder, or name the one that the runtime reads (--conf-dir)";
        Finding::fault(Area::Configuration, with_causes(&error), remedy)
    })?;
    let read = |path: PathBuf| ConfFile {
        text: std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}")),
        path,
    };
    Ok(files.into_iter().map(read).collect())
}

/// What is wrong with the folder, and our configuration if it can be used.
pub(super) fn check(dir: &Path, files: &[ConfFile]) -> (Vec<Finding>, Option<Ours>) {
    let parsed: Vec<_> = files.iter().map(parse).collect();
    let Some(first) = files.first() else {
        let cause = format!("{} holds no network configuration", dir.display());
        return (vec![absent(cause)], None);
    };
    let Some(index) = (0..files.len()).find(|&index| is_ours(&files[index], &parsed[index])) else {
        let cause = format!(
            "no configuration in {} runs meta-cni; the runtime uses {}",
            dir.display(),
            first.path.display()
        );
        return (vec![absent(cause).seen(order(files))], None);
    };
    let mut findings = Vec::new();
    if index > 0 {
        findings.push(shadowed(&files[index], first, &parsed[0]).seen(order(files)));
    }
    let path = &files[index].path;
    let wrong = |problem: &str, remedy: &str| {
        let cause = format!("{} {problem}", path.display());
        Finding::fault(Area::Configuration, cause, remedy)
    };
    let conf = match &parsed[index] {
        Ok(parsed) => parsed.ours.clone().unwrap_or_default(),
        Err(problem) => {
            findings.push(wrong(
                problem,
                "correct the file; the runtime reads it anew by itself",
            ));
            return (findings, None);
        }
    };
    match Config::parse(&conf) {
        Ok(config) => {
            let path = path.clone();
            (findings, Some(Ours { path, config }))
        }
        Err(error) => {
            findings.push(wrong(&format!("is wrong: {error}"), "correct the key"));
            (findings, None)
        }
    }
}

fn absent(cause: String) -> Finding {
    let remedy = "put examples/00-meta-cni.conflist there under a name that comes first";
    Finding::fault(Area::Configuration, cause, remedy)
}

fn shadowed(ours: &ConfFile, first: &ConfFile, parsed: &Result<Parsed, String>) -> Finding {
    let what = match parsed {
        Ok(parsed) => format!("runs {}", parsed.plugins.join(", ")),
        Err(problem) => problem.clone(),
    };
    let cause = format!(
        "the runtime uses {}, not {}: its name comes first",
        first.path.display(),
        ours.path.display(),
    );
    let remedy = format!(
        "move {} to the confDir of meta-cni (/etc/cni/multus/net.d), or give ours a name that comes before it",
        first.path.display()
    );
    Finding::fault(Area::Configuration, cause, remedy).seen(format!("the first {what}"))
}

/// The files in the order in which the runtime reads them.
fn order(files: &[ConfFile]) -> String {
    let names: Vec<_> = files
        .iter()
        .filter_map(|file| Some(file.path.file_name()?.to_string_lossy()))
        .collect();
    format!("in order: {}", names.join(", "))
}

/// Whether a file is meant for us, even if it cannot be parsed.
fn is_ours(file: &ConfFile, parsed: &Result<Parsed, String>) -> bool {
    match parsed {
        Ok(parsed) => parsed.ours.is_some(),
        Err(_) => file.text.as_ref().is_ok_and(|text| text.contains(TYPE)),
    }
}

/// Reads a file as libcni does: lists in `.conflist`, single configurations in the others.
fn parse(file: &ConfFile) -> Result<Parsed, String> {
    let text = file.text.as_ref().map_err(Clone::clone)?;
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))?;
    let Value::Object(conf) = &value else {
        return Err("is not a JSON object".to_owned());
    };
    if conf
        .get("name")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return Err("has no name, without which the runtime does not take it".to_owned());
    }
    let is_list = file
        .path
        .extension()
        .is_some_and(|extension| extension == "conflist");
    let plugins: Vec<&Map<String, Value>> = match conf.get("plugins").and_then(Value::as_array) {
        Some(plugins) if is_list => plugins.iter().filter_map(Value::as_object).collect(),
        None if is_list => {
            return Err("has no list `plugins`, as a file that ends in .conflist must".to_owned());
        }
        Some(_) => {
            return Err("holds a list of plugins; its name must end in .conflist then".to_owned());
        }
        None => vec![conf],
    };
    let kind = |plugin: &Map<String, Value>| {
        plugin
            .get("type")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let ours = plugins
        .iter()
        .find(|plugin| kind(plugin).as_deref() == Some(TYPE));
    let ours = ours.map(|ours| handed_over(conf, ours));
    if ours.is_some() {
        NetConfList::from_value(value.clone()).map_err(|error| format!("is wrong: {error}"))?;
    }
    Ok(Parsed {
        plugins: plugins.iter().filter_map(|plugin| kind(plugin)).collect(),
        ours,
    })
}

/// A plugin's part of a list, with what the runtime puts into it.
fn handed_over(list: &Map<String, Value>, plugin: &Map<String, Value>) -> Map<String, Value> {
    let mut conf = plugin.clone();
    for key in ["name", "cniVersion"] {
        if let Some(value) = list.get(key) {
            conf.insert(key.to_owned(), value.clone());
        }
    }
    conf
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str =
        r#"{"cniVersion":"1.1.0","name":"m","plugins":[{"type":"meta-cni","binDir":"/b"}]}"#;
    const OTHER: &str = r#"{"cniVersion":"1.0.0","name":"o","plugins":[{"type":"calico"}]}"#;

    fn checked(files: &[(&str, &str)]) -> (Vec<Finding>, Option<Ours>) {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| ConfFile {
                path: Path::new("/d").join(name),
                text: Ok((*text).to_owned()),
            })
            .collect();
        check(Path::new("/d"), &files)
    }

    #[test]
    fn ours_alone_is_right_and_is_what_the_runtime_hands_over() {
        let (findings, ours) = checked(&[("00-m.conflist", OURS), ("10-o.conflist", OTHER)]);
        assert_eq!(findings, []);
        let ours = ours.unwrap();
        assert_eq!(ours.config.name, "m");
        assert_eq!(ours.config.bin_dir, Path::new("/b"));
    }

    #[test]
    fn what_is_wrong_is_named_first() {
        let broken = OURS.replace("\"/b\"", "");
        let key = OURS.replace("\"/b\"", "7");
        let version = OURS.replace("1.1.0", "9.9.9");
        for (case, files, cause, usable) in [
            (
                "nothing",
                vec![],
                "/d holds no network configuration",
                false,
            ),
            (
                "not ours",
                vec![("10-o.conflist", OTHER)],
                "no configuration in /d runs meta-cni",
                false,
            ),
            (
                "shadowed",
                vec![("10-o.conflist", OTHER), ("20-m.conflist", OURS)],
                "the runtime uses /d/10-o.conflist, not /d/20-m.conflist",
                true,
            ),
            (
                "shadowed by rubbish",
                vec![("10-o.conf", "{"), ("20-m.conflist", OURS)],
                "the runtime uses /d/10-o.conf, not /d/20-m.conflist",
                true,
            ),
            (
                "not JSON",
                vec![("00-m.conflist", broken.as_str())],
                "/d/00-m.conflist is not valid JSON",
                false,
            ),
            (
                "a key",
                vec![("00-m.conflist", key.as_str())],
                "/d/00-m.conflist is wrong: configuration key binDir",
                false,
            ),
            (
                "a version",
                vec![("00-m.conflist", version.as_str())],
                "/d/00-m.conflist is wrong: cniVersion 9.9.9",
                false,
            ),
            (
                "a list's name",
                vec![("00-m.conf", OURS)],
                "/d/00-m.conf holds a list of plugins",
                false,
            ),
        ] {
            let (findings, ours) = checked(&files);
            assert!(findings[0].cause.starts_with(cause), "{case}: {findings:?}");
            assert_eq!(ours.is_some(), usable, "{case}");
        }
    }
}
