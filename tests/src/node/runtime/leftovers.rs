//! What is left on a machine once every sandbox was deleted.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::host::cgroups;
use crate::node::leftovers::KERNEL_PATIENCE;
use crate::node::runtime::Runtime;

/// Where containerd puts network namespaces, and where libcni keeps results, below `/` of the machine.
const NAMESPACES: &str = "run/netns";
const RESULTS: &str = "var/lib/cni/results";

impl Runtime {
    /// Everything that deleted pods left, one line each: what [`crate::Node::leftovers`] returns but for
    /// processes, and sandboxes, shims, control groups, network namespaces and results of CNI.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = self.node().left_by_pods();
        let sandboxes = self.kubelet().list();
        left.extend(sandboxes.iter().map(|s| format!("sandbox {}", s.id)));
        for folder in [NAMESPACES, RESULTS] {
            left.extend(names(&self.machine().root().join(folder)));
        }
        for group in cgroups::groups(self.machine().name()) {
            left.extend(
                cgroups::below(&group)
                    .iter()
                    .map(|g| g.display().to_string()),
            );
        }
        left
    }

    /// Asserts that nothing is left. Interfaces of the host have up to five seconds to go, as in
    /// [`crate::Node::assert_clean`].
    ///
    /// # Panics
    /// When something is, naming it.
    #[track_caller]
    pub fn assert_clean(&self) {
        let end = Instant::now() + KERNEL_PATIENCE;
        let mut left = self.leftovers();
        while !left.is_empty() && Instant::now() < end {
            left = self.leftovers();
        }
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path().display().to_string())
        .collect()
}
