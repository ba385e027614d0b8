//! The node's file: who may write it, what it may say, and what a network gets from it.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

fn written(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ipam.yaml");
    fs::write(&path, text).unwrap();
    set_mode(&path, 0o600);
    (folder, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn loaded(text: &str) -> Result<NodeFile, NodeFileError> {
    let (_folder, path) = written(text);
    NodeFile::load(&path).map(Option::unwrap)
}

const TWO: &str = "
default: near
node: worker-1
timeoutSeconds: 9
servers:
  near: {address: 'unix:///near.sock'}
  far: {address: 'https://far:7443', tls: {ca: /ca.pem}, tenantsMayName: true}
";

#[test]
fn no_file_is_no_error() {
    let (folder, path) = written("");
    assert_eq!(
        NodeFile::load(&path),
        Ok(Some(NodeFile::default())),
        "empty"
    );
    assert_eq!(NodeFile::load(&folder.path().join("other")), Ok(None));
    assert_eq!(NodeFile::load(&path.join("below-a-file")), Ok(None));
}

#[test]
fn a_file_that_others_can_change_is_refused() {
    for (what, file, folder, expected) in [
        ("private", 0o600, 0o700, ""),
        ("readable", 0o644, 0o755, ""),
        (
            "writable by a group",
            0o620,
            0o700,
            "the file must be root's",
        ),
        ("writable by all", 0o602, 0o700, "the file must be root's"),
        (
            "in a folder of all",
            0o600,
            0o707,
            "its folder must be root's",
        ),
    ] {
        let (place, path) = written(TWO);
        set_mode(&path, file);
        set_mode(place.path(), folder);
        match NodeFile::load(&path) {
            Ok(_) => assert_eq!(expected, "", "{what}"),
            Err(error) => assert!(
                !expected.is_empty() && error.detail.contains(expected),
                "{what}: {}",
                error.detail
            ),
        }
    }
}

#[test]
fn what_is_wrong_is_shown_to_the_administrator_and_not_to_the_tenant() {
    for (text, public, detail) in [
        (
            "servers: [secret",
            "cannot be understood at line 1, column",
            "unclosed bracket",
        ),
        ("secret: 1", "cannot be understood at line 1", "secret"),
        (
            "default: secret",
            "has a value",
            "default: \"secret\" is none",
        ),
        (
            "servers: {secret: {address: 'x'}}",
            "has a value",
            "servers.secret.address",
        ),
        (
            "servers: {secret: {address: 'https://a:1'}}",
            "has a value",
            "servers.secret.tls.ca",
        ),
        (
            "servers: {a: {address: 'unix:///a'}, secret: {address: 'unix:///b'}}",
            "has a value",
            "several servers",
        ),
        ("timeoutSeconds: 61", "has a value", "timeoutSeconds: 61"),
        ("stateDir: secret", "has a value", "stateDir"),
        ("node: ''", "has a value", "node"),
    ] {
        let (_folder, path) = written(text);
        let error = NodeFile::load(&path).unwrap_err();
        assert!(
            error.diagnosis().to_string().contains(public),
            "{text}: {error}"
        );
        for hidden in ["secret", &path.display().to_string()] {
            assert!(!error.to_string().contains(hidden), "{text}: {error}");
        }
        assert!(error.detail.contains(detail), "{text}: {}", error.detail);
    }
}

#[test]
fn a_network_gets_the_default_server_or_the_one_that_it_may_name() {
    let file = loaded(TWO).unwrap();
    let near = json!({"server": "unix:///near.sock", "node": "worker-1", "timeoutSeconds": 9, "stateDir": "/state"});
    let far = json!({
        "server": "https://far:7443", "tls": {"ca": "/ca.pem", "cert": null, "key": null}, "node": "worker-1",
        "timeoutSeconds": 9, "stateDir": "/state",
    });
    let own = json!({"server": "unix:///own", "stateDir": "/state"});
    let kept =
        json!({"server": "unix:///near.sock", "node": "n", "timeoutSeconds": 1, "stateDir": "/s"});
    let usual = json!({"server": "unix:///run/meta-cni/ipam.sock", "stateDir": "/state"});
    let nothing = NodeFile::default();
    let named = |name: Value| json!({"serverName": name});
    let (tenant, node) = (Author::Tenant, Author::Node);
    for (what, file, author, ipam, expected) in [
        ("default", &file, tenant, json!({}), Ok(near.clone())),
        (
            "open by name",
            &file,
            tenant,
            named(json!("far")),
            Ok(far.clone()),
        ),
        (
            "the node's network names any",
            &file,
            node,
            named(json!("near")),
            Ok(near),
        ),
        (
            "not open",
            &file,
            tenant,
            named(json!("near")),
            Err("no server of this name"),
        ),
        (
            "not there",
            &file,
            tenant,
            named(json!("none")),
            Err("no server of this name"),
        ),
        (
            "no name",
            &file,
            tenant,
            named(json!(7)),
            Err("must be a string"),
        ),
        (
            "a server of its own",
            &file,
            node,
            json!({"server": "unix:///own"}),
            Ok(own),
        ),
        (
            "keys of its own",
            &file,
            node,
            json!({"node": "n", "timeoutSeconds": 1, "stateDir": "/s"}),
            Ok(kept),
        ),
        (
            "both",
            &file,
            node,
            json!({"server": "unix:///own", "serverName": "far"}),
            Err("beside server"),
        ),
        ("without a file", &nothing, tenant, json!({}), Ok(usual)),
        (
            "a name without a file",
            &nothing,
            tenant,
            named(json!("far")),
            Err("no server of this name"),
        ),
    ] {
        let mut ipam = ipam.as_object().unwrap().clone();
        let done = file.complete(&mut ipam, author, Some(Path::new("/state")));
        match expected {
            Ok(expected) => {
                assert_eq!(done, Ok(()), "{what}");
                assert_eq!(Value::Object(ipam), expected, "{what}");
            }
            Err(words) => assert!(
                done.unwrap_err().problem.to_string().contains(words),
                "{what}"
            ),
        }
    }
}
