//! What a folder of YAML and JSON says: its files, their documents, and the pods, NetworkAttachmentDefinitions,
//! Namespaces and AttachmentPolicies in them. Reads, never writes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use process::yaml;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::object::{ClusterObject, Labels, NadObject, PodObject};
use crate::cluster::{Nad, NadName, Pod, Policy};
use crate::limits::{self, TooLarge};

/// The longest file that is read, in bytes.
pub(super) const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// Lists in lists deeper than this are refused.
const LIST_DEPTH_LIMIT: usize = 8;

/// What files of a folder say.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Pods, by namespace and name.
    pub(super) pods: BTreeMap<(String, String), Pod>,
    /// Those of the pods that have ended.
    pub(super) ended: BTreeSet<(String, String)>,
    /// NetworkAttachmentDefinitions.
    pub(super) nads: BTreeMap<NadName, Nad>,
    /// The sizes of those that are too large to be used.
    pub(super) large: BTreeMap<NadName, usize>,
    /// Labels of Namespaces.
    pub(super) namespaces: BTreeMap<String, Labels>,
    /// AttachmentPolicies.
    pub(super) policies: BTreeMap<String, Policy>,
    /// Documents and files that could not be read, in the order of file names.
    pub(super) broken: Vec<Broken>,
}

/// A document, or a whole file, that is not what it should be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{}: {detail}", path.display(), document_suffix(*document))]
pub(super) struct Broken {
    /// The file.
    pub(super) path: PathBuf,
    /// Which document of the file, from 1; `None`: the whole file.
    pub(super) document: Option<usize>,
    /// What is wrong.
    pub(super) detail: String,
}

fn document_suffix(document: Option<usize>) -> String {
    document.map_or_else(String::new, |number| format!(", document {number}"))
}

/// The files of a folder, in the order of their names: each its text, or why that cannot be read.
#[derive(Debug)]
pub(super) struct Files(Vec<(PathBuf, Result<String, String>)>);

impl Files {
    /// Reads the `*.yaml`, `*.yml` and `*.json` files of a folder. Hidden files and subfolders are left alone.
    ///
    /// # Errors
    /// The folder itself cannot be read.
    pub(super) fn read(dir: &Path) -> io::Result<Files> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            // A symbolic link counts as what it points to: that is how a ConfigMap is mounted.
            if is_manifest(&path) && !path.is_dir() {
                paths.push(path);
            }
        }
        paths.sort();
        let with_text = |path: PathBuf| {
            let text = read_limited(&path);
            (path, text)
        };
        Ok(Files(paths.into_iter().map(with_text).collect()))
    }

    /// What all files say.
    pub(super) fn content(&self) -> Content {
        self.content_if(|_| true)
    }

    /// What those files say that can have one of these words: parsing is what costs, and a question is about few of many objects.
    pub(super) fn content_with(&self, words: &[&str]) -> Content {
        self.content_if(|text| {
            // Behind a backslash a word may be written in another way.
            text.contains('\\') || words.iter().any(|word| text.contains(word))
        })
    }

    fn content_if(&self, is_wanted: impl Fn(&str) -> bool) -> Content {
        let mut content = Content::default();
        for (path, text) in &self.0 {
            match text {
                Ok(text) if is_wanted(text) => content.add_file(path, text),
                Ok(_) => {}
                Err(detail) => content.broken.push(Broken {
                    path: path.clone(),
                    document: None,
                    detail: detail.clone(),
                }),
            }
        }
        content
    }
}

impl Content {
    /// Takes in the text of one file.
    fn add_file(&mut self, path: &Path, text: &str) {
        for (index, document) in documents(path, text).into_iter().enumerate() {
            let added = document.and_then(|value| self.add(value, 0));
            if let Err(detail) = added {
                self.broken.push(Broken {
                    path: path.to_owned(),
                    document: Some(index + 1),
                    detail,
                });
            }
        }
    }

    fn add(&mut self, value: Value, depth: usize) -> Result<(), String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("apiVersion"), text("kind")) {
            ("v1", "Pod") => {
                let object = decode::<PodObject>(value)?;
                let has_ended = object.has_ended();
                let pod = Pod::from(object);
                let key = (pod.namespace.clone(), pod.name.clone());
                insert(&mut self.pods, key.clone(), pod)?;
                if has_ended {
                    self.ended.insert(key);
                }
                Ok(())
            }
            ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition") => {
                let nad = Nad::from(decode::<NadObject>(value)?);
                if let Err(TooLarge { bytes }) = limits::check_text(&nad.config) {
                    self.large.insert(nad.name, bytes);
                    return Ok(());
                }
                insert(&mut self.nads, nad.name.clone(), nad)
            }
            ("v1", "Namespace") => {
                let (name, labels) = decode::<ClusterObject>(value)?.into_namespace();
                insert(&mut self.namespaces, name, labels)
            }
            ("meta-cni.io/v1alpha1", "AttachmentPolicy") => {
                let policy = decode::<ClusterObject>(value)?.into_policy();
                insert(&mut self.policies, policy.name.clone(), policy)
            }
            ("v1", "List") => self.add_items(value, depth),
            _ => Ok(()),
        }
    }

    fn add_items(&mut self, mut list: Value, depth: usize) -> Result<(), String> {
        if depth >= LIST_DEPTH_LIMIT {
            return Err(format!("lists in lists, more than {LIST_DEPTH_LIMIT} deep"));
        }
        let items = match list.get_mut("items").map(Value::take) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err("items is not a list".to_owned()),
        };
        for (index, item) in items.into_iter().enumerate() {
            self.add(item, depth + 1)
                .map_err(|detail| format!("items[{index}]: {detail}"))?;
        }
        Ok(())
    }
}

fn is_manifest(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let kind = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(kind, Some("yaml" | "yml" | "json"))
}

fn read_limited(path: &Path) -> Result<String, String> {
    // Asked before opening: opening a named pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    // With room beyond the end, which is looked for by one more read.
    let length = usize::try_from(metadata.len().min(FILE_LIMIT)).unwrap_or_default();
    let mut text = String::with_capacity(length + 64);
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(format!("longer than {FILE_LIMIT} bytes"));
    }
    Ok(text)
}

/// The documents of a file; nothing follows one that is not well-formed.
fn documents(path: &Path, text: &str) -> Vec<Result<Value, String>> {
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        let documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        return documents
            .map(|value| value.map_err(|error| error.to_string()))
            .collect();
    }
    let documents = yaml::documents(text).into_iter();
    documents
        .map(|value| value.map_err(|error| error.to_string()))
        .collect()
}

fn decode<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

/// Puts an object in its place; of several with one name the first counts.
fn insert<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) -> Result<(), String> {
    match map.entry(key) {
        Entry::Vacant(place) => {
            place.insert(value);
            Ok(())
        }
        Entry::Occupied(_) => {
            Err("an object of this kind and name was read before: that one counts".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(files: &[(&str, &str)]) -> Content {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Files::read(dir.path()).unwrap().content()
    }

    fn nads(content: &Content) -> Vec<String> {
        content.nads.keys().map(ToString::to_string).collect()
    }

    fn broken(content: &Content) -> Vec<(String, Option<usize>)> {
        content
            .broken
            .iter()
            .map(|broken| {
                let name = broken.path.file_name().unwrap().to_str().unwrap();
                (name.to_owned(), broken.document)
            })
            .collect()
    }

    const NAD: &str = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\n";

    #[test]
    fn objects_come_from_all_documents_lists_and_formats() {
        let yaml = format!(
            "# nothing\n---\n{NAD}metadata: {{name: a, namespace: x}}\nspec:\n  config: |\n    {{}}\n---\n{NAD}metadata: {{name: b}}\n---\n"
        );
        let json = r#"{"apiVersion":"v1","kind":"List","items":[
	{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"}},
	{"apiVersion":"v1","kind":"ConfigMap","metadata":{}},
	{"apiVersion":"v1","kind":"List","items":null}]}
	{"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{"name":"c"}}"#;
        let content = content(&[
            ("1.yaml", &yaml),
            ("2.json", json),
            ("3.yml", ""),
            ("notes.txt", "kind: ["),
            (".hidden.yaml", "kind: ["),
        ]);
        assert_eq!(nads(&content), ["default/b", "default/c", "x/a"]);
        assert_eq!(content.pods.len(), 1);
        assert!(content.broken.is_empty(), "{:?}", content.broken);
        let a = content.nads.values().find(|nad| nad.name.name == "a");
        assert_eq!(a.unwrap().config, "{}\n");
    }

    #[test]
    fn what_is_broken_is_named_by_file_and_document_and_spoils_nothing_else() {
        let content = content(&[
            (
                "1.yaml",
                &format!("{NAD}metadata: {{}}\n---\n{NAD}metadata: {{name: a}}\n"),
            ),
            (
                "2.yaml",
                &format!("{NAD}metadata: {{name: b}}\n---\nkind: [\n---\nkind: X\n"),
            ),
            ("3.json", "{\"kind\":\"X\"}\n{"),
            ("4.yaml", &format!("{NAD}metadata: {{name: a}}\n")),
            ("5.yaml", "apiVersion: v1\nkind: List\nitems: 3\n"),
            (
                "6.yaml",
                &format!("{NAD}metadata: {{name: c, annotations: {{on: true}}}}\n"),
            ),
        ]);
        assert_eq!(nads(&content), ["default/a", "default/b"]);
        let expected = [
            ("1.yaml", 1),
            ("2.yaml", 2),
            ("3.json", 2),
            ("4.yaml", 1),
            ("5.yaml", 1),
            ("6.yaml", 1),
        ];
        assert_eq!(
            broken(&content),
            expected.map(|(name, number)| (name.to_owned(), Some(number)))
        );
    }

    #[test]
    fn files_that_are_too_long_or_no_files_are_refused_unread() {
        let dir = tempfile::tempdir().unwrap();
        let limit = usize::try_from(FILE_LIMIT).unwrap();
        fs::write(dir.path().join("1.yaml"), " ".repeat(limit)).unwrap();
        fs::write(dir.path().join("2.yaml"), " ".repeat(limit + 1)).unwrap();
        fs::write(dir.path().join("3.yaml"), b"\xff").unwrap();
        fs::create_dir(dir.path().join("4.yaml")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("5.yaml")).unwrap();
        std::os::unix::fs::symlink("absent", dir.path().join("6.yaml")).unwrap();
        let content = Files::read(dir.path()).unwrap().content();
        assert_eq!(
            broken(&content),
            ["2.yaml", "3.yaml", "5.yaml", "6.yaml"].map(|name| (name.to_owned(), None))
        );
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        let mut list = "{}".to_owned();
        for _ in 0..20 {
            list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{list}]}}"#);
        }
        for (name, text) in [
            ("lists.json", list),
            ("brackets.json", "[".repeat(100_000)),
            ("brackets.yaml", "[".repeat(10_000)),
        ] {
            assert_eq!(content(&[(name, &text)]).broken.len(), 1, "{name}");
        }
    }
}
