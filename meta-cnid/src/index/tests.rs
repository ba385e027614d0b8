use super::*;

fn pod(name: &str, uid: &str) -> Pod {
    Pod {
        namespace: "a".into(),
        name: name.into(),
        uid: uid.into(),
        annotations: BTreeMap::from([
            (selection::NETWORKS.to_owned(), "blue".to_owned()),
            ("example.com/large".to_owned(), "x".repeat(100)),
        ]),
        ..Pod::default()
    }
}

fn nad(namespace: &str, name: &str, config: &str) -> Nad {
    Nad {
        name: NadName {
            namespace: namespace.into(),
            name: name.into(),
        },
        config: config.into(),
        resource_name: None,
    }
}

#[test]
fn annotations_that_nobody_needs_are_not_kept() {
    let index = Index::default();
    index.put_pod(pod("web", "1"));
    let found = index.pod("a", "web").unwrap();
    assert_eq!(
        found.annotations.keys().collect::<Vec<_>>(),
        [selection::NETWORKS]
    );
}

#[test]
fn what_a_list_does_not_have_is_gone_when_it_ends_and_not_before() {
    let index = Index::default();
    index.put_network(nad("a", "blue", "1"));
    index.put_network(nad("b", "blue", "2"));
    index.put_pod(pod("web", "1"));
    index.list_begins(Kind::Networks);
    index.put_network(nad("a", "blue", "3"));
    let gone = nad("b", "blue", "2");
    assert_eq!(known(&index, &gone.name), Some(gone.clone()));
    index.list_ends(Kind::Networks);
    assert_eq!(known(&index, &gone.name), None);
    let blue = nad("a", "blue", "3");
    assert_eq!(known(&index, &blue.name), Some(blue));
    assert_eq!(
        (index.count(Kind::Pods), index.count(Kind::Networks)),
        (1, 1)
    );
}

#[test]
fn it_is_synced_once_everything_was_listed() {
    let index = Index::default();
    for kind in Kind::ALL {
        assert!(!index.is_synced());
        index.list_begins(kind);
        index.list_ends(kind);
    }
    assert!(index.is_synced());
    index.list_begins(Kind::Pods);
    assert!(index.is_synced());
}

#[test]
fn a_pod_that_was_made_again_outlives_the_deletion_of_the_old_one() {
    let index = Index::default();
    index.put_pod(pod("web", "2"));
    index.remove_pod("a", "web", "1");
    assert!(index.pod("a", "web").is_some());
    index.remove_pod("a", "web", "2");
    assert!(index.pod("a", "web").is_none());
}

#[test]
fn a_status_that_was_written_is_known_at_once_and_only_of_that_pod() {
    let index = Index::default();
    index.put_pod(pod("web", "2"));
    index.note_status("a", "web", "1", "old");
    let status = |index: &Index| {
        let pod = index.pod("a", "web").unwrap();
        pod.annotations.get(cluster::NETWORK_STATUS).cloned()
    };
    assert_eq!(status(&index), None);
    index.note_status("a", "web", "2", "new");
    assert_eq!(status(&index).as_deref(), Some("new"));
}

/// The network, if it is known and usable.
fn known(index: &Index, name: &NadName) -> Option<Nad> {
    index.network(name).map(|known| known.unwrap())
}

#[test]
fn of_a_network_that_is_too_large_the_size_is_kept() {
    let index = Index::default();
    let mut nad = nad("a", "blue", "");
    nad.config = " ".repeat(limits::NAD_BYTES + 1);
    let name = nad.name.clone();
    index.put_network(nad.clone());
    let error = index.network(&name).unwrap().unwrap_err();
    let text = cni::error::with_causes(&error);
    assert!(text.contains("has 65537 bytes"), "{text}");
    nad.config.pop();
    index.put_network(nad.clone());
    assert_eq!(known(&index, &name), Some(nad));
}
