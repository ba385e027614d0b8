//! Namespaces made with `ip netns` for the tests, which run as root. The tests of meta-cni have it by its path.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A namespace of `ip netns`, removed on drop.
pub(crate) struct TestNetns {
    name: String,
}

impl TestNetns {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "metacni-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        run(&["netns", "add", &name]);
        let netns = TestNetns { name };
        netns.ip("link set lo up");
        netns
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs `ip` with these words inside the namespace; its output.
    pub(crate) fn ip(&self, words: &str) -> String {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend(words.split_whitespace());
        run(&all)
    }
}

impl Drop for TestNetns {
    fn drop(&mut self) {
        run(&["netns", "del", &self.name]);
    }
}

fn run(words: &[&str]) -> String {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(
        output.status.success(),
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
