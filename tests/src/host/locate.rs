//! Where the executables are that tests run.

use std::env;
use std::path::{Path, PathBuf};

/// An executable of this project by name, for example `meta-cni`: in `META_CNI_BIN_DIR` if that is
/// set, else in the release folder of the target that the tests were built for.
///
/// # Panics
/// When it is not there, saying how to build it.
pub fn executable(name: &str) -> PathBuf {
    let folder = env::var_os("META_CNI_BIN_DIR").map_or_else(
        || {
            let target = profile_folder();
            target
                .parent()
                .expect("a profile folder has a parent")
                .join("release")
        },
        PathBuf::from,
    );
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not there: run `cargo build --release`, or set META_CNI_BIN_DIR to the folder that holds {name}",
        path.display(),
    );
    path
}

/// An executable of the previous release, in `E2E_PREVIOUS_BIN_DIR`.
///
/// # Panics
/// When it is not there.
pub fn previous_executable(name: &str) -> PathBuf {
    let folder = env::var_os("E2E_PREVIOUS_BIN_DIR").map(PathBuf::from);
    let path = folder.unwrap_or_default().join(name);
    assert!(
        path.is_absolute() && path.is_file(),
        "{} of the previous release is not there: run `make test-previous`",
        path.display(),
    );
    path
}

/// A program of `src/bin`, for example `recording-plugin`; Cargo builds them with every test of this crate.
///
/// # Panics
/// When it is not there.
pub fn test_program(name: &str) -> PathBuf {
    let path = profile_folder().join(name);
    assert!(
        path.is_file(),
        "{} is not there: run `cargo build -p e2e --bins`",
        path.display(),
    );
    path
}

/// The folder of what `tests/tools/install.sh` built: `E2E_TOOLS_DIR`, else `target/tools`.
pub fn tools() -> PathBuf {
    env::var_os("E2E_TOOLS_DIR").map_or_else(|| target().join("tools"), PathBuf::from)
}

/// The folder of the pinned reference plugins, which speak CNI 1.1.0.
///
/// # Panics
/// When it is not there, saying how to get it.
pub fn pinned_plugins() -> PathBuf {
    let folder = tools().join("cni-plugins");
    assert!(
        folder.join("bridge").is_file(),
        "{} holds no plugins: run `tests/tools/install.sh plugins`, or set E2E_TOOLS_DIR",
        folder.display(),
    );
    folder
}

/// The folder of the reference plugins of the distribution, which speak CNI 1.0.0.
///
/// # Panics
/// When it is not there, saying how to get it.
pub fn debian_plugins() -> PathBuf {
    let folder = PathBuf::from("/usr/lib/cni");
    assert!(
        folder.join("bridge").is_file(),
        "{} holds no plugins: run `tests/tools/install.sh packages`",
        folder.display(),
    );
    folder
}

/// The `target` folder of the workspace.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds this crate")
        .join("target")
}

/// `target/<triple>/<profile>`, which holds the `deps` folder of the running test.
fn profile_folder() -> PathBuf {
    let test = env::current_exe().expect("the path of the running test");
    let folder = test.parent().expect("an executable is in a folder");
    if folder.ends_with("deps") {
        folder.parent().expect("deps is in a folder").to_owned()
    } else {
        folder.to_owned()
    }
}
