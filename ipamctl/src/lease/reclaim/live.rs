//! A list of what lives, and what it says of the owner of a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use process::yaml;
use proto::ipam::v1::Owner;
use serde_json::Value;

use crate::error::CliError;

/// Phases of a pod that has ended: its sandbox is gone, or will be at once.
const ENDED: [&str; 2] = ["Succeeded", "Failed"];

/// What a list says of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    Gone,
    /// The list does not show it.
    Unknown,
}

/// Pods and containers that live.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// UIDs of pods by namespace and name; an empty UID is any.
    pods: BTreeMap<(String, String), String>,
    containers: BTreeSet<String>,
    /// Namespaces of all pods of the list, those that have ended too.
    namespaces: BTreeSet<String>,
    cluster: String,
    /// When it was made, at the latest.
    time: Option<Timestamp>,
}

impl Live {
    /// Reads a file, or stdin for `-`.
    ///
    /// # Errors
    /// If it cannot be read, has something that is neither pod nor container, or nothing.
    pub(super) fn read(path: &Path, cluster: &str) -> Result<Live, CliError> {
        // A list that comes through a pipe is made from now on.
        let mut time = Timestamp::now();
        let mut text = String::new();
        let read = match path == Path::new("-") {
            true => std::io::stdin().read_to_string(&mut text).map(|_| ()),
            false => std::fs::File::open(path).and_then(|mut file| {
                if let Ok(modified) = file.metadata()?.modified() {
                    time = Timestamp::try_from(modified).unwrap_or(time);
                }
                file.read_to_string(&mut text).map(|_| ())
            }),
        };
        read.map_err(|source| CliError::File {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        let mut live = Live::parse(&text).map_err(|problem| CliError::Content {
            place: path.display().to_string(),
            problem,
        })?;
        live.time = Some(time);
        cluster.clone_into(&mut live.cluster);
        Ok(live)
    }

    fn parse(text: &str) -> Result<Live, String> {
        let mut live = Live::default();
        let objects = text.trim_start().starts_with('{') || text.contains("apiVersion:");
        if objects {
            live.objects(text)?;
        } else {
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                live.line(line)?;
            }
        }
        match live.namespaces.is_empty() && live.containers.is_empty() {
            true => Err(
                "it lists neither a pod nor a container: leases would end by mistake".to_owned(),
            ),
            false => Ok(live),
        }
    }

    fn objects(&mut self, text: &str) -> Result<(), String> {
        let json = serde_json::from_str(text).ok();
        let documents: Vec<Value> = match json {
            Some(value) => vec![value],
            None => yaml::documents(text)
                .into_iter()
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?,
        };
        for mut document in documents {
            match document.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => items.iter().try_for_each(|item| self.object(item))?,
                Some(_) => return Err("`items` must be a list".to_owned()),
                None => self.object(&document)?,
            }
        }
        Ok(())
    }

    /// A Pod of Kubernetes, or a sandbox of crictl.
    fn object(&mut self, object: &Value) -> Result<(), String> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let (Some(namespace), Some(name)) = (text("/metadata/namespace"), text("/metadata/name"))
        else {
            return Err("an object has no namespace or name: it is no pod".to_owned());
        };
        // A sandbox that is not ready may still have its addresses, until its DEL: it is listed until it is removed.
        if let Some(id) = text("/id") {
            self.containers.insert(id.to_owned());
            return Ok(());
        }
        match text("/kind") {
            None | Some("Pod") => {}
            Some(kind) => return Err(format!("{namespace}/{name} is a {kind}, not a Pod")),
        }
        self.namespaces.insert(namespace.to_owned());
        if !text("/status/phase").is_some_and(|phase| ENDED.contains(&phase)) {
            let uid = text("/metadata/uid").unwrap_or_default();
            let key = (namespace.to_owned(), name.to_owned());
            self.pods.insert(key, uid.to_owned());
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let plain = |text: &str| {
            let good =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !text.is_empty() && text.bytes().all(good)
        };
        match line.split_once('/') {
            Some((namespace, name)) if plain(namespace) && plain(name) => {
                self.namespaces.insert(namespace.to_owned());
                let key = (namespace.to_owned(), name.to_owned());
                self.pods.insert(key, String::new());
            }
            None if plain(line) => drop(self.containers.insert(line.to_owned())),
            _ => {
                let shown: String = line.chars().take(60).collect();
                return Err(format!(
                    "{shown:?} is neither NAMESPACE/NAME nor a container ID"
                ));
            }
        }
        Ok(())
    }

    /// Whether it says nothing of other nodes than its own.
    pub(super) fn needs_node(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// What it says of an owner whose lease was made at a time.
    pub(super) fn judge(&self, owner: &Owner, made: Option<Timestamp>) -> Life {
        let younger = self.time.zip(made).is_some_and(|(time, made)| made > time);
        if younger || owner.cluster != self.cluster {
            return Life::Unknown;
        }
        if self.containers.contains(&owner.container_id) {
            return Life::Alive;
        }
        if self.namespaces.is_empty() {
            return Life::Gone;
        }
        if owner.pod.is_empty() {
            // Its container is not listed, which says something only of a list that has containers.
            return match self.containers.is_empty() {
                true => Life::Unknown,
                false => Life::Gone,
            };
        }
        if self.namespaces.len() == 1 && !self.namespaces.contains(&owner.namespace) {
            return Life::Unknown;
        }
        let uid = self.pods.get(&(owner.namespace.clone(), owner.pod.clone()));
        let same =
            |uid: &String| uid.is_empty() || owner.pod_uid.is_empty() || *uid == owner.pod_uid;
        match uid.is_some_and(same) {
            true => Life::Alive,
            false => Life::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PODS: &str = r#"{"kind": "List", "apiVersion": "v1", "items": [
        {"kind": "Pod", "metadata": {"namespace": "ns", "name": "web", "uid": "u1"}, "status": {"phase": "Running"}},
        {"kind": "Pod", "metadata": {"namespace": "ns", "name": "job", "uid": "u2"}, "status": {"phase": "Succeeded"}},
        {"kind": "Pod", "metadata": {"namespace": "kube-system", "name": "dns"}}]}"#;
    const SANDBOXES: &str = r#"{"items": [{"id": "c1", "metadata": {"namespace": "ns", "name": "web", "uid": "u1"}, "state": "SANDBOX_READY"}]}"#;

    fn owner(pod: &str, uid: &str, container: &str) -> Owner {
        let (namespace, pod) = pod.split_once('/').unwrap_or_default();
        Owner {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            pod_uid: uid.to_owned(),
            container_id: container.to_owned(),
            ..Owner::default()
        }
    }

    #[test]
    fn a_list_judges_what_it_can_and_nothing_else() {
        let one_namespace = r#"{"kind": "Pod", "metadata": {"namespace": "ns", "name": "web"}}"#;
        let lines = "ns/web\nc9\nkube-system/dns\n";
        for (name, list, owner, life) in [
            ("a pod", PODS, owner("ns/web", "u1", "c1"), Life::Alive),
            (
                "its UID is not known",
                PODS,
                owner("ns/web", "", "c1"),
                Life::Alive,
            ),
            (
                "another of its name",
                PODS,
                owner("ns/web", "u0", "c0"),
                Life::Gone,
            ),
            (
                "a pod that ended",
                PODS,
                owner("ns/job", "u2", "c2"),
                Life::Gone,
            ),
            (
                "a pod that is not there",
                PODS,
                owner("ns/old", "u3", "c3"),
                Life::Gone,
            ),
            ("no pod is known", PODS, owner("", "", "c4"), Life::Unknown),
            (
                "another namespace",
                one_namespace,
                owner("x/y", "", "c5"),
                Life::Unknown,
            ),
            (
                "the one namespace",
                one_namespace,
                owner("ns/y", "", "c5"),
                Life::Gone,
            ),
            ("a sandbox", SANDBOXES, owner("", "", "c1"), Life::Alive),
            (
                "no sandbox",
                SANDBOXES,
                owner("ns/web", "u1", "c0"),
                Life::Gone,
            ),
            (
                "a line's pod",
                lines,
                owner("ns/web", "u7", "c7"),
                Life::Alive,
            ),
            (
                "a line's container",
                lines,
                owner("", "", "c9"),
                Life::Alive,
            ),
            ("neither line", lines, owner("", "", "c7"), Life::Gone),
        ] {
            let live = Live::parse(list).expect(name);
            assert_eq!(live.judge(&owner, None), life, "{name}");
        }
        assert!(Live::parse(SANDBOXES).expect("sandboxes").needs_node());
        assert!(!Live::parse(PODS).expect("pods").needs_node());
    }

    #[test]
    fn what_is_younger_than_the_list_or_of_another_cluster_is_not_judged() {
        let mut live = Live::parse(PODS).expect("pods");
        let old = owner("ns/old", "", "c3");
        live.time = Timestamp::from_second(100).ok();
        let at = |second| Timestamp::from_second(second).ok();
        assert_eq!(live.judge(&old, at(99)), Life::Gone);
        assert_eq!(live.judge(&old, at(101)), Life::Unknown);
        live.cluster = "east".to_owned();
        assert_eq!(live.judge(&old, at(99)), Life::Unknown);
    }

    #[test]
    fn yaml_is_read_as_json_is() {
        let yaml = "apiVersion: v1\nitems:\n- {kind: Pod, metadata: {namespace: ns, name: web}}\n";
        let live = Live::parse(yaml).expect("YAML");
        assert_eq!(live.judge(&owner("ns/web", "", "c"), None), Life::Alive);
    }

    #[test]
    fn a_list_of_something_else_or_of_nothing_is_refused() {
        for (list, part) in [
            ("", "neither a pod nor a container"),
            (r#"{"items": []}"#, "neither a pod nor a container"),
            (r#"{"items": 7}"#, "must be a list"),
            (
                r#"{"kind": "Node", "metadata": {"name": "n1"}}"#,
                "it is no pod",
            ),
            (
                r#"{"kind": "Lease", "metadata": {"name": "n1", "namespace": "ns"}}"#,
                "ns/n1 is a Lease",
            ),
            (
                "NAMESPACE   NAME\nns   web\n",
                "is neither NAMESPACE/NAME nor",
            ),
            ("error: connection refused", "is neither NAMESPACE/NAME nor"),
        ] {
            let error = Live::parse(list).expect_err(list);
            assert!(error.contains(part), "{list}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)[-a-zA-Z0-9:{}\\[\\], \n\"./]{0,120}") {
            let _ = Live::parse(&text);
        }
    }
}
