//! The harness of this rung: what a test leaves on the machine that it runs on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use e2e::cgroups;

use crate::runtime::fixture::Scene;

struct Traces {
    node: String,
    folder: PathBuf,
    processes: Vec<u32>,
}

#[test]
fn a_test_that_panics_leaves_nothing() {
    let seen: Mutex<Option<Traces>> = Mutex::default();
    let panics = AssertUnwindSafe(|| {
        let scene = Scene::new("panics");
        scene.run("web");
        let runtime = &scene.runtime;
        let name = runtime.node().name();
        assert!(!cgroups::groups(name).is_empty());
        *seen.lock().expect("nobody panicked here") = Some(Traces {
            node: name.to_owned(),
            folder: runtime.node().folder().to_owned(),
            processes: runtime.machine().processes(),
        });
        std::panic::resume_unwind(Box::new(()));
    });
    catch_unwind(panics).expect_err("it panics");

    let seen = seen.into_inner().expect("nobody panicked here");
    let seen = seen.expect("the pod ran");
    // The first process and its sleep, containerd, a shim, the sandbox.
    assert!(seen.processes.len() >= 5, "{:?}", seen.processes);
    for pid in seen.processes {
        assert!(!Path::new("/proc").join(pid.to_string()).exists());
    }
    assert_eq!(cgroups::groups(&seen.node), [] as [PathBuf; 0]);
    assert!(!seen.folder.exists());
    assert!(!Path::new(e2e::netns::FOLDER).join(&seen.node).exists());
}
