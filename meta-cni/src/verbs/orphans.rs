//! Sandboxes that are marked are deleted by a process of their own, behind the answer to whatever the runtime
//! asked: no pod waits for what another one left.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use cni::skel::Request;
use jiff::Timestamp;

use crate::config::Config;
use crate::record::Orphans;

/// Starts the deletion of what is marked, if anything is, and does not wait for it.
pub fn collect_later(request: &Request) {
    // The verb itself has reported a configuration that cannot be read.
    let Ok(config) = Config::parse(&request.conf) else {
        return;
    };
    let orphans = Orphans::new(&config.state_dir);
    if orphans.due(Timestamp::now()).is_empty() || orphans.turn().is_none() {
        return;
    }
    if let Err(error) = start(request) {
        tracing::warn!(%error, "orphans stay marked for the next meta-cni");
    }
}

fn start(request: &Request) -> std::io::Result<()> {
    let mut conf = request.conf.clone();
    // GC needs it; what the runtime asked may be older.
    conf.insert("cniVersion".to_owned(), "1.1.0".into());
    for of_a_container in [
        "prevResult",
        "cni.dev/valid-attachments",
        "cni.dev/attachments",
    ] {
        conf.remove(of_a_container);
    }
    let mut child = Command::new("/proc/self/exe")
        .arg("collect-orphans")
        .env("CNI_COMMAND", "GC")
        .env_remove("CNI_CONTAINERID")
        .env_remove("CNI_NETNS")
        .env_remove("CNI_IFNAME")
        .env_remove("CNI_ARGS")
        // The runtime's signals to us are not meant for it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(&serde_json::to_vec(&conf)?),
        None => Ok(()),
    }
}
