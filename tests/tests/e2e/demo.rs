//! The demo, as a person runs it: it works twice in a row, and leaves nothing when it is interrupted.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

use e2e::locate;

/// The demo's namespaces have fixed names: one run at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn demo() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/demo.sh");
    let bin = locate::executable("meta-cni");
    let mut command = Command::new(script);
    command.env(
        "META_CNI_BIN_DIR",
        bin.parent().expect("a file has a folder"),
    );
    command
}

fn assert_nothing_left(output: &Output) {
    let namespaces = Command::new("ip")
        .args(["netns", "list"])
        .output()
        .expect("run ip");
    let namespaces = String::from_utf8_lossy(&namespaces.stdout).into_owned();
    assert!(
        !namespaces.contains("meta-cni-demo"),
        "{namespaces}{output:?}"
    );
}

#[test]
fn the_demo_works_twice_in_a_row() {
    let _one = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    for _ in 0..2 {
        let output = demo().output().expect("run the demo");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.matches("time=").count(), 12, "{text}");
        assert!(text.contains("no interface, no lease, no record"), "{text}");
        assert!(text.lines().count() <= 60, "more than a screen: {text}");
        assert_nothing_left(&output);
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let _one = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    // As Ctrl-C does: the signal goes to every process of the foreground group.
    for seconds in ["0.1", "0.3", "0.6", "1"] {
        let output = Command::new("timeout")
            .args(["--signal=INT", "--kill-after=30", seconds])
            .arg(demo().get_program())
            .envs(
                demo()
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .output()
            .expect("run timeout");
        assert_nothing_left(&output);
    }
}
