//! Small things that a command line spells: labels, namespace/name, names of enum values.

use std::collections::BTreeMap;

/// Reads `KEY=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written KEY=VALUE".to_owned()),
    }
}

/// A label that is set or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LabelChange {
    Set(String, String),
    Remove(String),
}

/// Reads `KEY=VALUE`, or `KEY-` as kubectl writes a removal.
pub(crate) fn label_change(text: &str) -> Result<LabelChange, String> {
    match (text.split_once('='), text.strip_suffix('-')) {
        (None, Some(key)) if !key.is_empty() => Ok(LabelChange::Remove(key.to_owned())),
        _ => label(text)
            .map(|(key, value)| LabelChange::Set(key, value))
            .map_err(|_| "a label is written KEY=VALUE, or KEY- to remove it".to_owned()),
    }
}

/// `NAMESPACE/NAME` of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Reads `NAMESPACE/NAME`; without a namespace it is `default`, as for kubectl.
pub(crate) fn pod(text: &str) -> Result<PodName, String> {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return Err("a pod is written NAMESPACE/NAME".to_owned());
    }
    Ok(PodName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Labels as a table shows them.
pub(crate) fn joined(labels: &BTreeMap<String, String>) -> String {
    let each: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    each.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_pods_are_read_as_kubectl_reads_them() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(label("=b").is_err() && label("a").is_err());
        assert_eq!(label_change("a-"), Ok(LabelChange::Remove("a".into())));
        assert_eq!(
            label_change("a=-"),
            Ok(LabelChange::Set("a".into(), "-".into()))
        );
        assert!(label_change("-").is_err());
        let named = pod("web-0").expect("a pod");
        assert_eq!(
            (named.namespace.as_str(), named.name.as_str()),
            ("default", "web-0")
        );
        assert!(pod("a/b/c").is_err() && pod("/x").is_err());
    }
}
