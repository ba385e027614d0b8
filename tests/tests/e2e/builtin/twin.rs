//! One side of a comparison: a host and a pod of its own, each a network namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A host with a pod, removed on drop.
pub(crate) struct Twin {
    host: String,
    pod: String,
    data: TempDir,
}

impl Twin {
    pub(crate) fn new() -> Twin {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| format!("twin-{}-{number}-{what}", std::process::id());
        let twin = Twin {
            host: name("host"),
            pod: name("pod"),
            data: TempDir::new().unwrap(),
        };
        for name in [&twin.host, &twin.pod] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        twin
    }

    /// The folder for the files of plugins.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn host(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.host)
    }

    pub(crate) fn pod(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.pod)
    }

    /// Writes a file in the folder for files.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.data().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs `ip` on the host.
    pub(crate) fn on_host(&self, words: &str) {
        self.ip(&self.host, words);
    }

    /// Runs `ip` in the pod.
    pub(crate) fn in_pod(&self, words: &str) {
        self.ip(&self.pod, words);
    }

    /// Ends the pod: its namespace goes, and a moment later its links, all at once, their other ends, and what they did to
    /// their masters. One more pair shows when.
    pub(crate) fn end_pod(&self) {
        let pair = "link add sentinel type veth peer name sentinel netns";
        self.on_host(&format!("{pair} {}", self.pod));
        ip(&["netns", "del", &self.pod]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while ip(&["-n", &self.host, "link", "show", "type", "veth"]).contains("sentinel") {
            assert!(
                Instant::now() < deadline,
                "the kernel keeps links of a namespace that is gone"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What in texts is this side's alone, and what stands for it.
    pub(crate) fn own_names(&self) -> [(String, &'static str); 4] {
        let text = |path: &Path| path.display().to_string();
        [
            (text(&self.pod()), "<pod>"),
            (text(self.data()), "<data>"),
            (self.pod.clone(), "<pod>"),
            (self.host.clone(), "<host>"),
        ]
    }

    fn ip(&self, namespace: &str, words: &str) {
        let mut all = vec!["-n", namespace];
        all.extend(words.split_whitespace());
        ip(&all);
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        for name in [&self.host, &self.pod] {
            // The pod may be gone.
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

fn ip(words: &[&str]) -> String {
    let output = Command::new("ip").args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {said}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}
