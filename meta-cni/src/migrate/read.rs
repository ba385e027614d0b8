//! Reading the objects of a cluster: from an API server, or from what `kubectl get -o yaml` or `-o json` wrote.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use process::yaml;
use serde_json::{Map, Value};

use super::MigrateError;
use super::objects::Objects;
use super::progress::progress;
use crate::cluster::Cluster as _;
use crate::cluster::api::ApiCluster;
use crate::policy::Known;

/// Kinds with their paths, and how they are named to a person.
const KINDS: [(&str, &str, &str); 5] = [
    (
        "IPPool",
        "/apis/whereabouts.cni.cncf.io/v1alpha1/ippools",
        "ippools.whereabouts.cni.cncf.io",
    ),
    (
        "OverlappingRangeIPReservation",
        "/apis/whereabouts.cni.cncf.io/v1alpha1/overlappingrangeipreservations",
        "overlappingrangeipreservations.whereabouts.cni.cncf.io",
    ),
    (
        "NodeSlicePool",
        "/apis/whereabouts.cni.cncf.io/v1alpha1/nodeslicepools",
        "nodeslicepools.whereabouts.cni.cncf.io",
    ),
    (
        "NetworkAttachmentDefinition",
        "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
        "network-attachment-definitions.k8s.cni.cncf.io",
    ),
    // After whereabouts' objects: the pod of an allocation that was read exists, or is gone for good.
    ("Pod", "/api/v1/pods", "pods"),
];

/// Where whereabouts searches its file (`GetFlatIPAM` in its pkg/config/config.go).
const DEFAULTS: [&str; 2] = [
    "/etc/kubernetes/cni/net.d/whereabouts.d/whereabouts.conf",
    "/etc/cni/net.d/whereabouts.d/whereabouts.conf",
];

/// Reads the objects of an API server.
///
/// # Errors
/// [`MigrateError::Cluster`].
pub(super) fn from_api(api: &ApiCluster) -> Result<Objects, MigrateError> {
    let mut objects = Objects::default();
    for (kind, path, name) in KINDS {
        let mut count = 0_usize;
        api.list_each(path, name, |object| {
            objects.add(kind, object);
            count += 1;
        })
        .map_err(|source| MigrateError::Cluster {
            doing: format!("reading {name}"),
            source,
        })?;
        progress(&format!("read {count} {name}"));
    }
    Ok(objects)
}

/// The AttachmentPolicies that judge the networks of objects, from an API server.
///
/// # Errors
/// [`MigrateError::Cluster`].
pub(super) fn policies(api: &ApiCluster, objects: &Objects) -> Result<Known, MigrateError> {
    let nads = objects.nads.iter();
    let mut namespaces: Vec<String> = nads.map(|nad| nad.name.namespace.clone()).collect();
    namespaces.sort();
    namespaces.dedup();
    let policies = api.policies(&namespaces);
    let policies = policies.map_err(|source| MigrateError::Cluster {
        doing: "reading AttachmentPolicies".to_owned(),
        source,
    })?;
    Ok(Known::of(namespaces, policies))
}

/// Reads the objects of a file, of all YAML and JSON files of a folder, or of standard input (`-`).
///
/// # Errors
/// [`MigrateError::Read`], [`MigrateError::Text`]; [`MigrateError::NoPods`] if allocations are there and no pod is.
pub(super) fn from_path(path: &Path) -> Result<Objects, MigrateError> {
    let mut objects = Objects::default();
    if path == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        read.map_err(MigrateError::read(path))?;
        add(&mut objects, path, &text)?;
    }
    for file in files(path).map_err(MigrateError::read(path))? {
        let text = fs::read_to_string(&file).map_err(MigrateError::read(&file))?;
        add(&mut objects, &file, &text)?;
    }
    let has_allocations = objects
        .pools
        .iter()
        .any(|pool| !pool.allocations.is_empty());
    match objects.pods.is_empty() && (has_allocations || !objects.reservations.is_empty()) {
        true => Err(MigrateError::NoPods {
            path: path.to_owned(),
        }),
        false => Ok(objects),
    }
}

fn add(objects: &mut Objects, path: &Path, text: &str) -> Result<(), MigrateError> {
    // A large text of JSON is read in a fraction of the time.
    if text.trim_start().starts_with('{')
        && let Ok(document) = serde_json::from_str(text)
    {
        objects.add_document(document);
        return Ok(());
    }
    for document in yaml::documents(text) {
        let document = document.map_err(|error| MigrateError::Text {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        objects.add_document(document);
    }
    Ok(())
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path == Path::new("-") {
        return Ok(Vec::new());
    }
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        if matches!(kind, Some("json" | "yaml" | "yml")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The keys of whereabouts.conf: of a named file, or of the first one that exists.
///
/// # Errors
/// [`MigrateError::Read`], [`MigrateError::Text`].
pub(super) fn defaults(named: Option<&Path>) -> Result<Option<Map<String, Value>>, MigrateError> {
    let found = || DEFAULTS.iter().map(Path::new).find(|path| path.exists());
    named.or_else(found).map(object).transpose()
}

/// A file with one JSON object.
///
/// # Errors
/// [`MigrateError::Read`], [`MigrateError::Text`].
pub(super) fn object(path: &Path) -> Result<Map<String, Value>, MigrateError> {
    let text = fs::read(path).map_err(MigrateError::read(path))?;
    serde_json::from_slice(&text).map_err(|error| MigrateError::Text {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}
