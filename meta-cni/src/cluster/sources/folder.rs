//! The cluster as a folder of YAML and JSON files: no API server, no Kubernetes. What the files
//! say is read by `folder/content.rs`; what is reported goes to the folder `.status` below, one file a
//! pod, and to the log.

mod content;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use self::content::{Content, Files};
use crate::cluster::object::{NETWORK_STATUS, check_names, check_uid, with_name};
use crate::cluster::selector::selects;
use crate::cluster::{Cluster, ClusterError, Event, Nad, NadName, Pod, PodRef, Policy};
use crate::limits::TooLarge;

/// A [`Cluster`] that is a folder of manifests: `*.yaml`, `*.yml` and `*.json`, of up to 4 MiB each, with
/// Pods, NetworkAttachmentDefinitions, Namespaces, AttachmentPolicies and Lists of them in any number of documents. Other kinds are
/// left alone.
///
/// The files are read when the first question is asked, and once; parsed are those that can have an answer, and all if they
/// have none. A broken document hides only itself:
/// an object that is found elsewhere is answered, one that is not found is answered with
/// [`ClusterError::Invalid`] that names the broken file, for it may be in there.
#[derive(Debug)]
pub struct FolderCluster {
    dir: PathBuf,
    files: OnceLock<Result<Files, String>>,
    everything: OnceLock<Content>,
}

/// What the files of a folder say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Everything {
    /// Pods that have not ended, with the network-status that was reported last.
    pub pods: Vec<Pod>,
    /// Networks.
    pub networks: Vec<Nad>,
    /// A line for each document that cannot be read.
    pub broken: Vec<String>,
}

/// Where network-status is written, below the folder.
const STATUS_FOLDER: &str = ".status";

fn status_file(pod: &Pod) -> String {
    format!("{}_{}.json", pod.namespace, pod.name)
}

/// The folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
struct Unreadable {
    detail: String,
}

impl FolderCluster {
    /// The cluster that the files in `dir` describe.
    pub fn new(dir: impl Into<PathBuf>) -> FolderCluster {
        FolderCluster {
            dir: dir.into(),
            files: OnceLock::new(),
            everything: OnceLock::new(),
        }
    }

    fn files(&self) -> Result<&Files, ClusterError> {
        self.files
            .get_or_init(|| Files::read(&self.dir).map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|detail| ClusterError::Unavailable {
                what: format!("read the folder {}", self.dir.display()),
                remedy: "make it, or correct networksDir".to_owned(),
                source: Box::new(Unreadable {
                    detail: detail.clone(),
                }),
            })
    }

    /// What all files say.
    fn content(&self) -> Result<&Content, ClusterError> {
        let files = self.files()?;
        Ok(self.everything.get_or_init(|| files.content()))
    }

    /// The pod with the network-status that was reported last, which is beside its manifest.
    pub fn with_status(&self, mut pod: Pod) -> Pod {
        let file = self.dir.join(STATUS_FOLDER).join(status_file(&pod));
        if let Ok(status) = fs::read_to_string(file) {
            pod.annotations.insert(NETWORK_STATUS.to_owned(), status);
        }
        pod
    }

    /// Everything that the files say.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`] if the folder cannot be read.
    pub fn everything(&self) -> Result<Everything, ClusterError> {
        let content = self.content()?;
        let pods = content.pods.iter();
        let running = pods.filter(|(key, _)| !content.ended.contains(key));
        Ok(Everything {
            pods: running
                .map(|(_, pod)| self.with_status(pod.clone()))
                .collect(),
            networks: content.nads.values().cloned().collect(),
            broken: content.broken.iter().map(ToString::to_string).collect(),
        })
    }

    /// A network, as far as `some` files know it, else of all.
    fn network(&self, some: &Content, name: &NadName) -> Result<Nad, ClusterError> {
        let of = |content: &Content| match (content.large.get(name), content.nads.get(name)) {
            (Some(&bytes), _) => Some(Err(ClusterError::too_large(name, TooLarge { bytes }))),
            (None, found) => found.cloned().map(Ok),
        };
        if let Some(found) = of(some) {
            return found;
        }
        let content = self.content()?;
        of(content).unwrap_or_else(|| {
            Err(self.missing(content, format!("network-attachment-definition {name}")))
        })
    }

    /// The error for an object that none of the files holds.
    fn missing(&self, content: &Content, object: String) -> ClusterError {
        match invalid(content) {
            Some(error) => error,
            None => ClusterError::NotFound {
                what: format!("{object} in {}", self.dir.display()),
            },
        }
    }

    fn write_status(&self, pod: &Pod, status: &str) -> Result<(), ClusterError> {
        let object = format!("pod {}/{}", pod.namespace, pod.name);
        check_names(&object, [&pod.namespace, &pod.name])?;
        let folder = self.dir.join(STATUS_FOLDER);
        replace(&folder, &status_file(pod), status).map_err(|error| ClusterError::Unavailable {
            what: format!("write network-status of {object}"),
            remedy: format!("is {} writable, and the disk not full?", folder.display()),
            source: Box::new(error),
        })
    }
}

impl Cluster for FolderCluster {
    fn pod(&self, pod: &PodRef) -> Result<Pod, ClusterError> {
        let key = (pod.namespace.clone(), pod.name.clone());
        let mut some = self.files()?.content_with(&[&pod.name]);
        let mut found = match some.pods.remove(&key) {
            Some(found) => found,
            None => {
                let content = self.content()?;
                let found = content.pods.get(&key).cloned();
                found.ok_or_else(|| self.missing(content, format!("pod {pod}")))?
            }
        };
        if found.uid.is_empty() {
            // Nobody gave out UIDs here: whichever the runtime uses is the pod's.
            found.uid = pod.uid.clone().unwrap_or_default();
        }
        check_uid(pod, &found)?;
        Ok(found)
    }

    fn networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
        let words: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
        let some = self.files().map(|files| files.content_with(&words));
        // Without files, the search in all of them has the error.
        let some = some.unwrap_or_default();
        names.iter().map(|name| self.network(&some, name)).collect()
    }

    fn policies(&self, namespaces: &[String]) -> Result<Vec<Vec<Policy>>, ClusterError> {
        let kinds = ["AttachmentPolicy", "Namespace"];
        let content = self.files()?.content_with(&kinds);
        let of = |namespace: &String| {
            let labels = content.namespaces.get(namespace).cloned();
            let labels = with_name(labels.unwrap_or_default(), namespace);
            let policies = content.policies.values();
            let matching = policies.filter(|policy| selects(&policy.spec, &labels));
            matching.cloned().collect()
        };
        Ok(namespaces.iter().map(of).collect())
    }

    fn report(
        &self,
        pod: &Pod,
        network_status: Option<&str>,
        events: &[Event],
    ) -> Result<(), ClusterError> {
        for event in events {
            tracing::info!(
                pod = %pod.reference(),
                uid = pod.uid,
                reason = event.reason.as_str(),
                kind = event.reason.kind(),
                message = %event.note,
                "event"
            );
        }
        let known = pod.annotations.get(NETWORK_STATUS).map(String::as_str);
        match network_status {
            Some(status) if known != Some(status) => self.write_status(pod, status),
            _ => Ok(()),
        }
    }

    fn ready(&self, _limit: Duration) -> Result<(), ClusterError> {
        // A broken document hides only itself: a pod that needs it gets the error.
        self.content().map(drop)
    }
}

/// The error for the first broken document, if there is one.
fn invalid(content: &Content) -> Option<ClusterError> {
    let broken = content.broken.first()?;
    let document = broken
        .document
        .map_or_else(String::new, |number| format!(", document {number}"));
    Some(ClusterError::Invalid {
        what: format!("{}{document}", broken.path.display()),
        remedy: None,
        source: Box::new(broken.clone()),
    })
}

/// Puts a whole file in place of the old one: a reader sees either. Not synced: the status of a pod that
/// did not survive a power cut is worth nothing.
fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let mut made = fs::DirBuilder::new();
    made.recursive(true).mode(0o755).create(folder)?;
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let mut file = fs::File::options();
    // People without rights on this node may read it, and nobody may write it.
    file.write(true).create(true).truncate(true).mode(0o644);
    file.open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&temporary, folder.join(name)))
        .inspect_err(|_| {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::EventReason;

    const PODS: &str = r"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: web, uid: u-1, annotations: {k: v}}}
- {apiVersion: v1, kind: Pod, metadata: {name: bare, namespace: edge}}
- {apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: blue}, spec: {config: '{}'}}
";

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, FolderCluster) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let cluster = FolderCluster::new(dir.path());
        (dir, cluster)
    }

    fn pod_ref(namespace: &str, name: &str, uid: Option<&str>) -> PodRef {
        PodRef {
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.map(str::to_owned),
        }
    }

    fn nad_name(name: &str) -> NadName {
        NadName {
            namespace: "default".into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_pod_is_found_by_name_and_uid() {
        let (_dir, cluster) = folder(&[("all.yaml", PODS)]);
        let web = cluster
            .pod(&pod_ref("default", "web", Some("u-1")))
            .unwrap();
        assert_eq!((&*web.uid, &*web.annotations["k"]), ("u-1", "v"));
        let error = cluster.pod(&pod_ref("default", "web", Some("u-2")));
        assert!(matches!(error, Err(ClusterError::Replaced { .. })));
        let error = cluster.pod(&pod_ref("edge", "web", None));
        assert!(matches!(error, Err(ClusterError::NotFound { .. })));
    }

    #[test]
    fn a_pod_without_uid_has_the_one_that_the_runtime_gives() {
        let (_dir, cluster) = folder(&[("all.yaml", PODS)]);
        for (given, uid) in [(Some("u-9"), "u-9"), (None, "")] {
            assert_eq!(
                cluster.pod(&pod_ref("edge", "bare", given)).unwrap().uid,
                uid
            );
        }
    }

    #[test]
    fn networks_are_answered_in_order_each_for_itself() {
        let (_dir, cluster) = folder(&[("all.yaml", PODS)]);
        let answers = cluster.networks(&[nad_name("red"), nad_name("blue")]);
        assert!(matches!(answers[0], Err(ClusterError::NotFound { .. })));
        assert_eq!(answers[1].as_ref().unwrap().config, "{}");
    }

    #[test]
    fn what_is_written_with_escapes_or_beside_files_that_name_it_is_found() {
        let escaped = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w\u0065b", "uid": "u-2"}}"#;
        let mentions =
            "{apiVersion: v1, kind: Pod, metadata: {name: other, annotations: {k: web}}}";
        let policy = r#"{"apiVersion": "meta-cni.io/v1alpha1", "kind": "AttachmentPolic\u0079", "metadata": {"name": "p"}, "spec": {}}"#;
        let files = [
            ("1.yaml", mentions),
            ("2.json", escaped),
            ("3.json", policy),
        ];
        let (_dir, cluster) = folder(&files);
        let web = cluster.pod(&pod_ref("default", "web", None)).unwrap();
        assert_eq!(web.uid, "u-2");
        let policies = cluster.policies(&["default".to_owned()]).unwrap();
        assert_eq!(policies[0].len(), 1);
    }

    #[test]
    fn a_broken_file_is_named_when_something_is_missing() {
        let (_dir, cluster) = folder(&[("all.yaml", PODS), ("z.yaml", "a: 1\n---\nkind: [\n")]);
        assert!(cluster.networks(&[nad_name("blue")])[0].is_ok());
        let absent = cluster.pod(&pod_ref("default", "absent", None));
        let error = absent.unwrap_err();
        assert!(matches!(error, ClusterError::Invalid { .. }));
        assert!(error.to_string().contains("z.yaml, document 2"), "{error}");
        cluster.ready(Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_may_come() {
        let cluster = FolderCluster::new("/absent/folder");
        let error = cluster.ready(Duration::from_secs(1)).unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("/absent/folder"));
        assert!(cluster.networks(&[nad_name("blue")])[0].is_err());
    }

    #[test]
    fn the_files_are_read_once_and_not_before_they_are_asked_for() {
        let (dir, cluster) = folder(&[]);
        fs::write(dir.path().join("all.yaml"), PODS).unwrap();
        assert!(cluster.pod(&pod_ref("default", "web", None)).is_ok());
        fs::remove_file(dir.path().join("all.yaml")).unwrap();
        assert!(cluster.pod(&pod_ref("default", "web", None)).is_ok());
    }

    #[test]
    fn a_pod_that_has_ended_is_known_and_counts_no_more() {
        let pods = ["Running", "Succeeded", "Failed"].map(|phase| {
            let name = phase.to_lowercase();
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, status: {{phase: {phase}}}}}")
        });
        let (_dir, cluster) = folder(&[("all.yaml", &pods.join("\n---\n"))]);
        let counted = cluster.everything().unwrap().pods;
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert_eq!(counted[0].name, "running");
        assert!(cluster.pod(&pod_ref("default", "failed", None)).is_ok());
    }

    #[test]
    fn a_report_is_a_file_of_the_pod() {
        let (dir, cluster) = folder(&[("all.yaml", PODS)]);
        let pod = cluster.pod(&pod_ref("default", "web", None)).unwrap();
        let event = Event {
            reason: EventReason::AddedInterface,
            note: "net1".into(),
        };
        cluster
            .report(&pod, None, std::slice::from_ref(&event))
            .unwrap();
        assert!(!dir.path().join(".status").exists());
        for status in ["[]", "[{}]"] {
            cluster.report(&pod, Some(status), &[]).unwrap();
            let file = dir.path().join(".status/default_web.json");
            assert_eq!(fs::read_to_string(file).unwrap(), status);
        }
        assert_eq!(fs::read_dir(dir.path().join(".status")).unwrap().count(), 1);
        let elsewhere = Pod {
            name: "../../x".into(),
            ..pod
        };
        let error = cluster.report(&elsewhere, Some("[]"), &[]).unwrap_err();
        assert!(matches!(error, ClusterError::Invalid { .. }));
    }

    #[test]
    fn a_status_that_the_pod_has_is_not_written_again() {
        let (dir, cluster) = folder(&[("all.yaml", PODS)]);
        let mut pod = cluster.pod(&pod_ref("default", "web", None)).unwrap();
        pod.annotations.insert(NETWORK_STATUS.into(), "[]".into());
        cluster.report(&pod, Some("[]"), &[]).unwrap();
        assert!(!dir.path().join(".status").exists());
    }
}
