//! Files and folders of meta-cni are root's alone, whatever the umask of the runtime; its plugins have that umask all the same. The
//! agent makes private files, and may open as many as the kernel lets it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use e2e::{Agent, ApiServer, Node};

fn mode(path: &Path) -> u32 {
    let found = fs::symlink_metadata(path).expect("metadata");
    found.permissions().mode() & 0o777
}

/// All that is below a folder.
fn below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("read a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            let mut all = if path.is_dir() {
                below(&path)
            } else {
                Vec::new()
            };
            all.push(path);
            all
        })
        .collect()
}

#[test]
fn state_is_private_under_any_umask_and_existing_folders_are_tightened() {
    let node = Node::recorder("private");
    for name in ["attachments", "locks"] {
        let folder = node.state_dir().join(name);
        fs::create_dir(&folder).expect("make a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("open it");
    }
    let pod = node.pod("default", "web").create();
    let script = "umask 0; exec \"$@\"";
    let call = node.call("ADD").pod(&pod);
    call.under(["sh", "-c", script, "sh"]).run().ok();
    let all = below(&node.state_dir());
    assert!(
        all.iter().any(|path| path.ends_with("attachments")),
        "{all:?}"
    );
    for path in all {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    let (status, plugin) = (node.status_file(&pod), node.folder().join("calls.jsonl"));
    assert_eq!(mode(&status), 0o644, "network-status of a folder");
    assert_eq!(
        mode(&plugin),
        0o666,
        "a plugin has the umask of the runtime"
    );
    node.del(&pod).ok();
}

#[test]
fn the_agent_makes_private_files_and_has_the_hard_limit_of_them() {
    let node = Node::recorder("agent-limits").with_agent();
    let agent = Agent::start(&node, ApiServer::shared());
    let of =
        |file: &str| fs::read_to_string(format!("/proc/{}/{file}", agent.pid())).expect("read");
    let status = of("status");
    assert!(status.contains("Umask:\t0077"), "{status}");
    let limits = of("limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<&str> = line.expect("a limit").split_whitespace().skip(3).collect();
    assert_eq!(numbers[0], numbers[1], "soft and hard: {limits}");
}
