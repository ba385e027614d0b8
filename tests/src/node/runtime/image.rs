//! The image of all sandboxes and containers: busybox, which waits for its end. Nothing is pulled.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::node::runtime::containerd::distribution;

/// Its name; the host in it does not exist.
pub(super) const NAME: &str = "e2e.invalid/busybox:1";

/// Programs of busybox that tests run in containers.
const APPLETS: [&str; 4] = ["ip", "ping", "sh", "tail"];

/// The image as an archive of the form of `docker save`, which containerd imports; written into a folder
/// unless it is there.
pub(super) fn archive(folder: &Path) -> PathBuf {
    let work = folder.join("image");
    let archive = work.join("image.tar");
    if !archive.exists() {
        build(&work);
    }
    archive
}

fn build(folder: &Path) {
    let bin = folder.join("rootfs/bin");
    fs::create_dir_all(&bin).expect("make a folder");
    let busybox = distribution().join("bin/busybox");
    fs::copy(&busybox, bin.join("busybox"))
        .unwrap_or_else(|error| panic!("{}: {error}", busybox.display()));
    for applet in APPLETS {
        symlink("busybox", bin.join(applet)).expect("link a program");
    }
    run("tar", &["-C", "rootfs", "-cf", "layer.tar", "."], folder);
    let sum = run("sha256sum", &["layer.tar"], folder);
    let digest = sum.split_whitespace().next().expect("a digest");
    let write = |name: &str, value: Value| {
        fs::write(folder.join(name), value.to_string()).expect("write a part of the image");
    };
    write(
        "config.json",
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Env": ["PATH=/bin"],
                "Entrypoint": ["/bin/tail", "-f", "/dev/null"],
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        }),
    );
    write(
        "manifest.json",
        json!([{ "Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"] }]),
    );
    let parts = ["manifest.json", "config.json", "layer.tar"];
    run("tar", &[&["-cf", "image.tar"], &parts[..]].concat(), folder);
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
